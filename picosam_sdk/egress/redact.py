"""What is taken out of masks and pictures: pure functions, each gives something made anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.mask import Mask
from picosam_sdk.types import ImageArray, Roi

__all__ = [
    "BLUR_CELLS",
    "blank_zones",
    "blur_outside",
    "clear_zones",
    "coarsen",
    "cutout",
    "trim",
]

BLUR_CELLS = 6
"""Of how many colours the longer side of a blurred picture is made.

People recognise half of the faces that they know at 7 x 10 pixels (Sinha and others, "Face
recognition by humans", 2006, doi:10.1109/JPROC.2006.884093). A face that fills the whole view has
6 x 6 here, one of a tenth of the view not even one.
"""

_COLOR_BITS = np.uint8(0b1111_1000)
_OUTSIDE = np.float32(-10.0)


def clear_zones(mask: Mask, zones: Sequence[Roi]) -> Mask:
    """The mask without what lies in these parts of the view, or within a cell of them."""
    logits = mask.logits.copy()
    height, width = logits.shape
    for zone in zones:
        x0, x1 = _cells(zone.x, zone.width, mask.roi.x, mask.roi.width, width)
        y0, y1 = _cells(zone.y, zone.height, mask.roi.y, mask.roi.height, height)
        logits[y0:y1, x0:x1] = np.minimum(logits[y0:y1, x0:x1], mask.threshold + _OUTSIDE)
    return replace(mask, logits=logits)


def _cells(
    start: float, length: float, roi_start: float, roi_length: float, count: int
) -> tuple[int, int]:
    """The logits that a span of the view touches, and one more on each side.

    With that one, what is interpolated between logits does not reach into the span.
    """
    first = math.floor((start - roi_start) / roi_length * count) - 1
    last = math.ceil((start + length - roi_start) / roi_length * count) + 1
    return min(max(first, 0), count), min(max(last, 0), count)


def trim(mask: Mask) -> Mask:
    """The mask on the object's own box, with a cell around it, and without its prompt.

    A ROI that was made from a gaze has the gaze at its centre; the object's box has not. An empty
    mask becomes one of the whole view.
    """
    bits = mask.logits > mask.threshold
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if not len(rows):
        empty = np.full((1, 1), mask.threshold + _OUTSIDE, np.float32)
        return replace(mask, logits=empty, roi=Roi(0.0, 0.0, 1.0, 1.0), prompt=None)
    height, width = bits.shape
    y0, y1 = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, height)
    x0, x1 = max(int(columns[0]) - 1, 0), min(int(columns[-1]) + 2, width)
    roi = Roi(
        mask.roi.x + mask.roi.width * x0 / width,
        mask.roi.y + mask.roi.height * y0 / height,
        mask.roi.width * (x1 - x0) / width,
        mask.roi.height * (y1 - y0) / height,
    )
    return replace(mask, logits=mask.logits[y0:y1, x0:x1], roi=roi, prompt=None)


def coarsen(mask: Mask, cells: int) -> Mask:
    """The mask as cells of the whole view, and nothing finer: neither its ROI nor its prompt.

    Args:
        mask: any.
        cells: how many a side, at most one a pixel. One belongs to the object if at least half
            of its pixels do.
    """
    width_px, height_px = mask.size_px
    columns = _edges(width_px, cells)
    rows = _edges(height_px, cells)
    covered = np.add.reduceat(mask.paste(), rows[:-1], axis=0, dtype=np.int32)
    covered = np.add.reduceat(covered, columns[:-1], axis=1)
    area = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    return Mask.from_bits(2 * covered >= area, score=mask.score, size_px=mask.size_px)


def _edges(size_px: int, cells: int) -> NDArray[np.int64]:
    return np.rint(np.linspace(0, size_px, min(cells, size_px) + 1)).astype(np.int64)


def cutout(image: ImageArray, bits: NDArray[np.bool_]) -> ImageArray:
    """The picture inside the mask, black outside.

    Args:
        image: uint8 (H, W, 3).
        bits: bool (H, W).
    """
    import cv2

    return cv2.copyTo(image, bits.view(np.uint8), np.zeros_like(image))


def blur_outside(image: ImageArray, bits: NDArray[np.bool_]) -> ImageArray:
    """The picture inside the mask; outside, a few mean colours that run into each other.

    The means are of fixed parts of the view and of five bits, so that masks that move over a
    still scene, or a camera that moves a little, do not add up to a sharper picture. The mask's
    edge is hard: nothing of what is outside shines through it.

    Args:
        image: uint8 (H, W, 3).
        bits: bool (H, W).
    """
    import cv2

    height_px, width_px = bits.shape
    longer_px = max(height_px, width_px)
    size = tuple(max(1, round(BLUR_CELLS * px / longer_px)) for px in (width_px, height_px))
    means = cv2.resize(image, size, interpolation=cv2.INTER_AREA) & _COLOR_BITS
    blurred = cv2.resize(means, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return cv2.copyTo(image, bits.view(np.uint8), blurred)


def blank_zones(image: ImageArray, zones: Sequence[Roi]) -> None:
    """Makes these parts of the view black, in place.

    Args:
        image: uint8 (H, W, 3).
        zones: parts of the view; each pixel that one touches becomes black.
    """
    height_px, width_px = image.shape[:2]
    for zone in zones:
        x0, x1 = _cells(zone.x, zone.width, 0.0, 1.0, width_px)
        y0, y1 = _cells(zone.y, zone.height, 0.0, 1.0, height_px)
        image[y0:y1, x0:x1] = 0
