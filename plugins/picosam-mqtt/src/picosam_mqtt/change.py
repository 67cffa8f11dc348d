"""Which results are worth sending: those whose mask differs from the one sent last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from picosam_sdk import Mask, Result, Roi

__all__ = ["ChangeDetector", "view_iou"]

_GRID = 192
"""Cells a side of the grid on which masks under different ROIs are compared."""

_MAX_REGIONS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """What is remembered of a result that was sent: nothing that leads to a picture."""

    bits: NDArray[np.bool_] | None
    roi: Roi | None
    settling: bool
    now_ns: int


class ChangeDetector:
    """Compares each result with the last one that was sent of the same region.

    ::

        if detector.wants(result, now_ns):
            ...  # send it
            detector.sent(result, now_ns)

    A result is wanted if it is the first of its region; if an object appeared or vanished (a
    mask without pixels is no object); if the IoU of the two masks fell below ``iou_below``; if
    the sensor has settled since; or if the last one is older than ``max_interval_s``. A slow
    drift is not missed, since the comparison is with what was sent, not with the frame before.

    Args:
        iou_below: 0 to 1; 1 sends whatever is not exactly equal, 0 only coming and going.
        max_interval_s: heartbeat of each region; 0 for none.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, iou_below: float = 0.9, max_interval_s: float = 10.0) -> None:
        if not 0 <= iou_below <= 1:
            raise ValueError(f"expected iou_below from 0 to 1, got {iou_below}")
        if not max_interval_s >= 0:
            raise ValueError(f"expected max_interval_s from 0, got {max_interval_s}")
        self._iou_below = iou_below
        self._max_interval_ns = max_interval_s * 1e9
        self._sent: dict[str, _Sent] = {}

    def wants(self, result: Result, now_ns: int) -> bool:
        """Whether to send it. Remembers nothing: a delivery that fails is wanted again.

        Args:
            result: its mask, ROI in force, region and settling are looked at.
            now_ns: the monotonic clock.
        """
        last = self._sent.get(result.region)
        if last is None or (0 < self._max_interval_ns <= now_ns - last.now_ns):
            return True
        if last.settling and not result.settling:
            return True
        bits, roi = _object(result.mask)
        if bits is None or roi is None or last.bits is None or last.roi is None:
            return (bits is None) != (last.bits is None)
        iou = view_iou(bits, roi, last.bits, last.roi)
        return iou < self._iou_below

    def sent(self, result: Result, now_ns: int) -> None:
        """Remembers a result that was sent."""
        bits, roi = _object(result.mask)
        self._sent.pop(result.region, None)
        self._sent[result.region] = _Sent(bits, roi, result.settling, now_ns)
        if len(self._sent) > _MAX_REGIONS:  # of names without end, the one silent longest goes
            del self._sent[next(iter(self._sent))]


def view_iou(bits_a: NDArray[np.bool_], roi_a: Roi, bits_b: NDArray[np.bool_], roi_b: Roi) -> float:
    """IoU of two masks in the view, each bool (h, w) covering its own ROI.

    Masks under the same ROI are compared pixel by pixel, others on a grid of 192 x 192 cells
    over what the two ROIs cover together.
    """
    if roi_a == roi_b and bits_a.shape == bits_b.shape:
        both, either = bits_a & bits_b, bits_a | bits_b
    elif roi_a.iou(roi_b) == 0:
        return 0.0
    else:
        x0, y0 = min(roi_a.x, roi_b.x), min(roi_a.y, roi_b.y)
        x1 = max(roi_a.x + roi_a.width, roi_b.x + roi_b.width)
        y1 = max(roi_a.y + roi_a.height, roi_b.y + roi_b.height)
        centres = (np.arange(_GRID) + 0.5) / _GRID
        xs, ys = x0 + centres * (x1 - x0), y0 + centres * (y1 - y0)
        a, b = _sampled(bits_a, roi_a, xs, ys), _sampled(bits_b, roi_b, xs, ys)
        both, either = a & b, a | b
    union = int(np.count_nonzero(either))
    return int(np.count_nonzero(both)) / union if union else 1.0


def _sampled(
    bits: NDArray[np.bool_], roi: Roi, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The mask at the places (ys x xs) of the view; False outside its ROI."""
    height, width = bits.shape
    columns = np.floor((xs - roi.x) / roi.width * width).astype(np.intp)
    rows = np.floor((ys - roi.y) / roi.height * height).astype(np.intp)
    inside_x, inside_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    picked = bits[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    return picked & inside_y[:, None] & inside_x


def _object(mask: Mask | None) -> tuple[NDArray[np.bool_] | None, Roi | None]:
    """The hard mask and its ROI; None for both if there is no object."""
    if mask is None:
        return None, None
    bits: NDArray[np.bool_] = mask.logits > mask.threshold
    return (bits, mask.roi) if bits.any() else (None, None)
