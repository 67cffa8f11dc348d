"""Steadies a mask over time: what is doubtful stays as it was.

For each pixel of the newest mask, with L its logit above the mask's threshold, held to ±``limit``:

    E[t] = E[t-1] + (1 - smoothing) (L[t] - E[t-1])            exponential moving average
    on[t] = E[t] > margin  or  (on[t-1] and E[t] >= -margin)   two thresholds

The average is Brown's simple exponential smoothing (R. G. Brown, Statistical Forecasting for
Inventory Control, 1959); the two thresholds are a Schmitt trigger (O. H. Schmitt, A Thermionic
Trigger, J. Sci. Instrum. 15, 1938). Each weighs frames, not seconds, so that a recording gives
the same masks again at any speed.

E[t-1] and on[t-1] are those of the same place in the view: both are warped from the ROI in force
of the frame before to that of this one. Where the ROI before did not reach, this frame alone
counts. All is forgotten (``reset``) where the object cannot be the same: the mask before and
this one overlap by less than ``min_iou``, the ROIs in force do so, more than ``max_gap_s`` have
passed, or the picture's or the network's size is another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.config import check
from picosam_sdk.interfaces import Context, MaskFilter
from picosam_sdk.mask import Mask
from picosam_sdk.types import Roi

__all__ = ["HysteresisConfig", "HysteresisFilter"]

_SURE = 0.05
"""How far on its side of the threshold a pixel's logit is put at least."""


@dataclass(frozen=True, slots=True)
class HysteresisConfig:
    """``kind = "hysteresis"``.

    Args:
        smoothing: weight of the frames before, 0 to 0.95; 0 leaves the two thresholds alone.
        margin: how far beyond the threshold, in logits, a pixel must be to change; 1 is a
            probability of 0.27 or 0.73.
        limit: logits are held to ± this, so that one very sure frame does not rule the next.
        min_iou: overlap of the mask, and of the ROI in force, with the one before, below which
            it is another object.
        max_gap_s: time between two masks after which the older one is forgotten.
    """

    smoothing: float = 0.5
    margin: float = 1.0
    limit: float = 4.0
    min_iou: float = 0.3
    max_gap_s: float = 0.5

    def __post_init__(self) -> None:
        check(0 <= self.smoothing <= 0.95, "smoothing", "0 to 0.95", self.smoothing)
        check(0 <= self.margin < self.limit <= 100, "margin", "0 <= margin < limit <= 100",
              (self.margin, self.limit))  # fmt: skip
        check(0 <= self.min_iou < 1, "min_iou", "an overlap from 0 to 1", self.min_iou)
        check(0 < self.max_gap_s < 1e6, "max_gap_s", "seconds above 0", self.max_gap_s)


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What is left of the frame before."""

    mean: NDArray[np.float32]
    on: NDArray[np.bool_]
    roi: Roi
    size_px: tuple[int, int]
    now_ns: int


class HysteresisFilter(MaskFilter):
    """Keeps masks from flickering; see the module for its formula."""

    name: ClassVar[str] = "hysteresis"
    Config: ClassVar[type] = HysteresisConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._memory: _Memory | None = None

    def open(self) -> None:
        self._memory = None

    def close(self) -> None:
        self._memory = None

    def reset(self) -> None:
        self._memory = None

    def apply(self, mask: Mask, now_ns: int) -> Mask | None:
        config = self.config
        logits = mask.logits - np.float32(mask.threshold)
        level = np.clip(logits, -config.limit, config.limit)
        seen = logits > 0
        before = self._before(mask, seen, now_ns)
        if before is None:
            mean, on = level, seen
        else:
            known, old_mean, old_on = before
            smoothed = old_mean + np.float32(1 - config.smoothing) * (level - old_mean)
            mean = np.where(known, smoothed, level)
            kept = np.where(known, old_on, seen) & (mean >= -config.margin)
            on = (mean > config.margin) | kept
        self._memory = _Memory(mean, on, mask.roi, mask.size_px, now_ns)
        value = np.where(on, np.maximum(mean, _SURE), np.minimum(mean, -_SURE))
        return replace(mask, logits=(value + np.float32(mask.threshold)).astype(np.float32))

    def _before(
        self, mask: Mask, seen: NDArray[np.bool_], now_ns: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.bool_]] | None:
        """Where the frame before is known, and its average and state there; None after a jump."""
        old, config = self._memory, self.config
        if (
            old is None
            or old.size_px != mask.size_px
            or old.mean.shape != seen.shape
            or not 0 <= now_ns - old.now_ns <= config.max_gap_s * 1e9
            or old.roi.iou(mask.roi) < config.min_iou
        ):
            return None
        known, mean, on = _warp(old, mask.roi)
        both = np.count_nonzero(on & seen)
        either = np.count_nonzero((on | seen) & known)
        # An object that is not seen for once is no other object: it fades.
        if seen.any() and on.any() and both < config.min_iou * either:
            return None
        return known, mean, on


def _warp(
    old: _Memory, roi: Roi
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.bool_]]:
    """What the pixels under another ROI were: known (h, w), average and state."""
    height, width = old.mean.shape
    if old.roi == roi:
        return np.ones((height, width), np.bool_), old.mean, old.on
    import cv2

    # Centre of pixel i of the new grid, in pixels of the old one: scale * i + shift.
    scale_x, scale_y = roi.width / old.roi.width, roi.height / old.roi.height
    shift_x = ((roi.x - old.roi.x) / old.roi.width) * width + 0.5 * scale_x - 0.5
    shift_y = ((roi.y - old.roi.y) / old.roi.height) * height + 0.5 * scale_y - 0.5
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    flags = cv2.WARP_INVERSE_MAP
    size, border = (width, height), cv2.BORDER_REPLICATE
    mean = cv2.warpAffine(old.mean, matrix, size, flags=flags | cv2.INTER_LINEAR, borderMode=border)
    on = cv2.warpAffine(old.on.view(np.uint8), matrix, size, flags=flags | cv2.INTER_NEAREST,
                        borderMode=border)  # fmt: skip
    columns = scale_x * np.arange(width) + shift_x
    rows = scale_y * np.arange(height) + shift_y
    known_x = (columns >= -0.5) & (columns < width - 0.5)
    known_y = (rows >= -0.5) & (rows < height - 0.5)
    known = known_y[:, None] & known_x[None, :]
    return known, np.asarray(mean, np.float32), (on > 0) & known
