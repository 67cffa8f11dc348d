"""From a point to a mask: a ladder of ROIs around it, and the rule that chooses among their masks.

Each rung's mask is run again, prompted with its own box. A rung is good if the network expects
its second mask to be right, if the second box is the first one (the prompt has found its object),
if the first mask was not cut off by the border of its crop, and, a little, if it is large: a
point on a wheel means the car more often than the wheel. Of a point between two rungs nothing is
lost, since the second run is prompted with the object's box and not with the rung.

The exponents were chosen on boxes of photographs that are not used for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from picosam_sdk.mask import Mask
from picosam_sdk.types import Roi

__all__ = ["SIDES", "best", "bbox_roi", "cut", "holds", "quality"]

SIDES = (0.03, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.75, 1.0)
"""Sides of the ladder's squares, as shares of the view's shorter side."""


def best(first: Sequence[Mask], second: Sequence[Mask], x: float, y: float) -> Mask | None:
    """The best of the second masks, or None if none of them holds the point.

    Args:
        first: masks of the rungs, each holding the point.
        second: masks of the first masks' boxes, in the same order.
        x, y: the point, as shares of the view.
    """
    chosen, highest = None, 0.0
    for rung, mask in zip(first, second, strict=True):
        if not holds(mask, x, y):
            continue
        value = quality(rung, mask)
        if value > highest:
            chosen, highest = mask, value
    return chosen


def quality(rung: Mask, mask: Mask) -> float:
    """How good a rung is: ``score**2 * stability * (1 - cut)**(1/4) * side**(1/8)``.

    They are the second mask's score, the IoU of the two masks' boxes, the share of the worst side
    of the first crop that its mask covers (sides on the picture's border do not count), and the
    side of the rung.

    Args:
        rung: the first mask, not empty.
        mask: the second, not empty.
    """
    stability = bbox_roi(rung).iou(bbox_roi(mask))
    side = max(rung.roi.width, rung.roi.height)
    return mask.score**2 * stability * (1 - cut(rung)) ** 0.25 * side**0.125


def holds(mask: Mask, x: float, y: float) -> bool:
    """Whether the mask holds a point given as shares of the view."""
    height, width = mask.logits.shape
    column = int((x - mask.roi.x) / mask.roi.width * width)
    row = int((y - mask.roi.y) / mask.roi.height * height)
    inside = 0 <= row < height and 0 <= column < width
    return inside and bool(mask.logits[row, column] > mask.threshold)


def bbox_roi(mask: Mask) -> Roi:
    """The tight box of a mask that is not empty, at the crop's resolution, as a ROI."""
    bits = mask.logits > mask.threshold
    rows, columns = np.flatnonzero(bits.any(1)), np.flatnonzero(bits.any(0))
    height, width = bits.shape
    roi = mask.roi
    return Roi(
        roi.x + roi.width * float(columns[0]) / width,
        roi.y + roi.height * float(rows[0]) / height,
        roi.width * float(columns[-1] - columns[0] + 1) / width,
        roi.height * float(rows[-1] - rows[0] + 1) / height,
    )


def cut(mask: Mask) -> float:
    """The largest share of a side of the crop that the mask covers, 0 to 1."""
    bits, roi = mask.logits > mask.threshold, mask.roi
    sides = (bits[0], bits[-1], bits[:, 0], bits[:, -1])
    inner = (roi.y > 0, roi.y + roi.height < 1 - 1e-9, roi.x > 0, roi.x + roi.width < 1 - 1e-9)
    return max((float(side.mean()) for side in compress(sides, inner)), default=0.0)
