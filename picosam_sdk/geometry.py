"""The one crop rule and its inverse: pure functions on boxes and pictures.

Training, evaluation, calibration and every backend call these and nothing else, so the network
is always shown what it was trained on.

The rule: grow the ROI on each side by ``padding`` of its own size, make it square about its
centre if the rule says so, clip it to the picture, resize to ``size_px`` x ``size_px``.
Downscaling averages pairs, then interpolates; upscaling is bilinear (:func:`resize`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.types import Box, CropRule, ImageArray, Roi

__all__ = [
    "crop",
    "crop_box",
    "paste",
    "point_rois",
    "region_of",
    "resize",
]


def crop_box(roi: Roi, width_px: int, height_px: int, rule: CropRule) -> Box:
    """The pixels of a picture that the network sees for a ROI.

    Raises:
        InputError: the ROI itself (before padding) lies wholly outside the picture.
    """
    if not roi.overlaps_view():
        roi.to_pixels(width_px, height_px)  # raises
    padded = roi.grow(rule.padding)
    if rule.square:
        padded = padded.square(width_px / height_px)
    return padded.to_pixels(width_px, height_px)


def region_of(box: Box, width_px: int, height_px: int) -> Roi:
    """The ROI in force: a pixel box as shares of the view. Its ``to_pixels`` gives the box back."""
    return Roi(box.x0 / width_px, box.y0 / height_px, box.width / width_px, box.height / height_px)


def crop(image: ImageArray, box: Box, size_px: int, out: ImageArray | None = None) -> ImageArray:
    """Cuts a box out of a picture and resizes it to the network's input.

    Args:
        image: uint8 (H, W, 3).
        box: inside the picture.
        size_px: side of the result.
        out: where to write, uint8 (size_px, size_px, 3); made anew if None.

    Returns:
        uint8 (size_px, size_px, 3).
    """
    # Reading a large box takes most of the time. Every second row of it is enough to average.
    every = 2 if box.height >= 4 * size_px else 1
    return resize(image[box.y0 : box.y1 : every, box.x0 : box.x1], size_px, size_px, out)


def paste(
    values: NDArray[np.float32], box: Box, width_px: int, height_px: int, threshold: float = 0.0
) -> NDArray[np.bool_]:
    """The inverse of :func:`crop` for a map of logits: a mask as large as the picture.

    Args:
        values: logits, float32 (h, w).
        box: the pixels that the logits cover.
        threshold: a pixel belongs to the mask where the resized logit is above it.

    Returns:
        bool (height_px, width_px), False outside the box.
    """
    full = np.zeros((height_px, width_px), dtype=np.bool_)
    full[box.y0 : box.y1, box.x0 : box.x1] = resize(values, box.width, box.height) > threshold
    return full


def resize(
    array: NDArray[Any], width_px: int, height_px: int, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Resizes: an axis is halved while it is over twice too long, then interpolated.

    Halving averages pairs of pixels, and interpolation at up to twice the length takes the two
    neighbours of each new pixel, so every pixel of the old picture counts, or nearly so. OpenCV
    averages squares of 2 x 2, and only these, with vector instructions: the exact mean over
    each new pixel's area (its INTER_AREA) takes ten times as long. So does halving one axis by
    it; interpolating that axis to half its length averages the same pairs, and may as well
    bring the other axis to its final length. Halving an odd length drops its last pixel, less
    than 1/192 of the side for a crop of 96 px; one pixel over twice is none too many.
    """
    import cv2

    height, width = array.shape[:2]
    while True:
        too_wide, too_high = width > 2 * width_px + 1, height > 2 * height_px + 1
        if not (too_wide or too_high):
            return cv2.resize(array, (width_px, height_px), dst=out, interpolation=cv2.INTER_LINEAR)
        array = array[: height // 2 * 2 if too_high else height]
        array = array[:, : width // 2 * 2 if too_wide else width]
        width = width // 2 if too_wide else width_px
        height = height // 2 if too_high else height_px
        how = cv2.INTER_AREA if too_wide and too_high else cv2.INTER_LINEAR
        array = cv2.resize(array, (width, height), interpolation=how)


def point_rois(x: float, y: float, aspect: float, sides: Sequence[float]) -> list[Roi]:
    """A ladder of ROIs around a point, square in pixels.

    Args:
        x, y: the point, as shares of the view.
        aspect: width of the view over its height, in pixels.
        sides: side of each square as a share of the view's shorter side.

    Raises:
        InputError: the point is not finite or lies outside the view.
    """
    if not (math.isfinite(x) and math.isfinite(y) and 0 <= x < 1 and 0 <= y < 1):
        raise InputError(
            f"expected a point inside the picture, got ({x:g}, {y:g}) as shares of it",
            hint="Give x, y in pixels of this picture, from its top left corner.",
        )
    rois = []
    for side in sides:
        width = side * min(1.0, 1 / aspect)
        height = side * min(1.0, aspect)
        rois.append(Roi(x - width / 2, y - height / 2, width, height))
    return rois
