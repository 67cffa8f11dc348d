"""Draws a mask into a picture: functions on arrays, which write into the window they are given.

A window is the part of a picture that a mask covers, as a view into it: uint8 (h, w, 3) RGB; its
``bits`` are bool (h, w). :mod:`picosam_sdk.annotators` and :class:`picosam_sdk.mask.Mask` use them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.geometry import resize
from picosam_sdk.images import load_image
from picosam_sdk.types import Box, ImageArray, size_of

__all__ = [
    "Color",
    "blurred_around",
    "check_color",
    "copy_object",
    "flat",
    "glow",
    "outline",
    "picture_of",
    "pixelated_around",
    "tint",
    "view_of",
]

Color = tuple[int, int, int]
"""RGB, 0 to 255 each."""


def picture_of(image: Any, size_px: tuple[int, int]) -> ImageArray:
    """The picture that belongs to a mask, not copied if it is an array already.

    Args:
        image: anything :func:`picosam_sdk.images.load_image` takes.
        size_px: width and height of the mask's frame.

    Raises:
        InputError: it has another size.
    """
    picture = load_image(image)
    if size_of(picture) != size_px:
        width_px, height_px = size_of(picture)
        raise InputError(
            f"expected the mask's picture of {size_px[0]} x {size_px[1]} pixels, "
            f"got {width_px} x {height_px}",
            hint="Pass the picture that was segmented, or paste() the mask to this size.",
        )
    return picture


def check_color(color: Color, alpha: float = 1.0) -> None:
    """Raises InputError if a colour or its strength is out of range."""
    if len(color) != 3 or not all(0 <= value <= 255 for value in color) or not 0 <= alpha <= 1:
        raise InputError(
            f"expected an RGB color of 0 to 255 and alpha of 0 to 1, got {color} and {alpha}",
            hint="Try color=(255, 64, 32), alpha=0.45.",
        )


def view_of(picture: ImageArray, box: Box) -> ImageArray:
    """A window of a picture, which shares its memory."""
    return picture[box.y0 : box.y1, box.x0 : box.x1]


def copy_object(source: ImageArray, bits: NDArray[np.bool_], window: ImageArray) -> None:
    """Copies the object's pixels from one window into another of the same size."""
    import cv2

    cv2.copyTo(source, bits.view(np.uint8), window)


def flat(color: Color, shape: tuple[int, ...]) -> ImageArray:
    """A picture of one colour, uint8 (h, w, 3); NumPy takes twenty times as long for it."""
    import cv2

    return np.asarray(cv2.merge([np.full(shape[:2], value, np.uint8) for value in color]))


def tint(window: ImageArray, bits: NDArray[np.bool_], color: Color, alpha: float) -> None:
    """Mixes a colour into the object: ``(1 - alpha) * pixel + alpha * color``, rounded."""
    import cv2

    values = np.arange(256, dtype=np.float32)[:, None] * np.float32(1 - alpha)
    mixed = np.rint(values + np.array(color, np.float32) * np.float32(alpha))
    copy_object(cv2.LUT(window, mixed.astype(np.uint8)[None]), bits, window)


def outline(window: ImageArray, bits: NDArray[np.bool_], color: Color, line_px: int) -> None:
    """Draws a line along the inner edge of the object; where a window ends, so does the object.

    Args:
        line_px: how many of the object's pixels it takes from its edge, diagonals included.
    """
    import cv2

    inner = cv2.erode(
        bits.view(np.uint8),
        np.ones((2 * line_px + 1, 2 * line_px + 1), dtype=np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    window[bits & (inner == 0)] = color


def glow(
    window: ImageArray, bits: NDArray[np.bool_], color: Color, radius_px: float, alpha: float
) -> None:
    """Mixes a colour into what lies around the object, the less the farther from it.

    At a distance d of 1 px or more (to the nearest pixel of the object, approximately Euclidean)
    the share of the colour is ``alpha * (1 - d / (radius_px + 1)) ** 2``, and nothing from
    ``radius_px + 1`` on; the object itself is left alone.
    """
    import cv2

    share = cv2.distanceTransform((~bits).view(np.uint8), cv2.DIST_L2, 3)
    share *= np.float32(-1 / (radius_px + 1))
    share += 1  # from 1 at the object to 0 where the glow ends, and below
    np.maximum(share, 0, out=share)
    share *= share
    share *= np.float32(alpha)
    share[bits] = 0
    mixed = cv2.blendLinear(window, flat(color, window.shape), 1 - share, share)
    copy_object(mixed, share > 0, window)


def blurred_around(picture: ImageArray, box: Box, bits: NDArray[np.bool_], sigma_px: float) -> Any:
    """A blurred picture into which the object's own colours do not run.

    The mean of what is outside the object, weighted by a Gaussian. It is computed at a quarter of
    sigma a pixel, and interpolated.

    Args:
        picture: uint8 (H, W, 3), not changed.
        box, bits: where the mask lies, and the mask there.
        sigma_px: standard deviation of the Gaussian.

    Returns:
        uint8 (H, W, 3), of no meaning where the object is.
    """
    import cv2

    height, width = picture.shape[:2]
    step = max(1.0, sigma_px / 4)
    small = max(1, round(width / step)), max(1, round(height / step))
    around, outside = _without_object(picture, box, bits)
    colors = cv2.GaussianBlur(resize(around, *small).astype(np.float32), (0, 0), sigma_px / step)
    shares = cv2.GaussianBlur(resize(outside, *small).astype(np.float32), (0, 0), sigma_px / step)
    mean = colors * (255 / np.maximum(shares, 1))[..., None]
    return resize(np.rint(np.minimum(mean, 255)).astype(np.uint8), width, height)


def pixelated_around(
    picture: ImageArray, box: Box, bits: NDArray[np.bool_], block_px: int
) -> ImageArray:
    """A picture of squares, each of the mean colour of those of its pixels that are no object.

    Args:
        picture: uint8 (H, W, 3), not changed.
        box, bits: where the mask lies, and the mask there.
        block_px: side of a square, the first one in the top left corner. Those at the right and
            the lower border are cut off, and count the last pixels more than once.

    Returns:
        uint8 (H, W, 3), of no meaning where the object is.
    """
    import cv2

    height, width = picture.shape[:2]
    block_px = min(block_px, max(height, width))
    columns, rows = math.ceil(width / block_px), math.ceil(height / block_px)
    missing = rows * block_px - height, columns * block_px - width

    def sums(array: NDArray[np.uint8]) -> NDArray[np.uint64]:
        whole = cv2.copyMakeBorder(array, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        by_row = whole.reshape(rows, block_px, -1).sum(axis=1, dtype=np.uint32)
        return by_row.reshape(rows, columns, block_px, -1).sum(axis=2, dtype=np.uint64)

    around, outside = (sums(array) for array in _without_object(picture, box, bits))
    mean = np.rint(around / np.maximum(outside // 255, 1)).astype(np.uint8)
    size = columns * block_px, rows * block_px
    blocks = cv2.resize(mean, size, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(blocks[:height, :width])


def _without_object(
    picture: ImageArray, box: Box, bits: NDArray[np.bool_]
) -> tuple[ImageArray, NDArray[np.uint8]]:
    """A picture whose object is black; and 255 where no object is, uint8 (H, W)."""
    around = picture.copy()
    window = view_of(around, box)
    copy_object(np.zeros_like(window), bits, window)
    outside = np.full(picture.shape[:2], 255, np.uint8)
    outside[box.y0 : box.y1, box.x0 : box.x1] = (~bits).view(np.uint8) * np.uint8(255)
    return around, outside
