"""From a point to a mask on a sensor, which takes one ROI at a time: a short ladder over frames.

:mod:`picosam_sdk.points` runs many rungs of a ladder at once and chooses among them. A sensor
needs several frames for each ROI, so here are fewer rungs, the likeliest first, and the climb ends
with the first that is good enough. Then the sensor stays on the object's own box, which follows
the object, as long as its mask holds the point.
"""

from __future__ import annotations

from picosam_sdk.geometry import point_rois
from picosam_sdk.mask import Mask
from picosam_sdk.points import bbox_roi, cut, holds, quality
from picosam_sdk.types import Roi

__all__ = ["SensorLadder"]

SIDES = (0.32, 0.13, 0.75)
"""Sides of the rungs, as shares of the view's shorter side, in the order of their turn."""

GOOD = 0.5
"""The :func:`picosam_sdk.points.quality` from which no other rung is tried."""

MISSES = 3
"""So many masks in a row that do not hold the point, and the climb begins again."""

CUT = 0.2
"""It is aimed anew, too, if the mask covers more than this share of a side of its crop."""

SAME = 0.8
"""The box is aimed at anew when its IoU with the object's box falls below this."""


class SensorLadder:
    """Where to aim for a point, and which masks are the answer. For one object at a time.

    Args:
        aspect: width of the view over its height in pixels, until a mask tells it.
    """

    def __init__(self, aspect: float = 4 / 3) -> None:
        self._aspect = aspect
        self._point = (0.0, 0.0)
        self._region = ""
        self._roi: Roi | None = None  # aimed at
        self.reset()

    def reset(self) -> None:
        """Forgets the object: there is no point now."""
        self._roi = None
        self._left: list[Roi] = []  # rungs to try
        self._rung: Mask | None = None  # the rung's own mask, while its box is tried
        self._best: tuple[float, Roi] | None = None  # quality and box of the best rung so far
        self._held = False  # the climb is over
        self._misses = 0

    def aim(self, point: tuple[float, float], region: str = "") -> Roi:
        """The ROI to aim at.

        Args:
            point: on the object, as shares of the view, inside it; it may move a little.
            region: of the prompt; another one is another object.
        """
        if region != self._region:
            self.reset()
        self._point, self._region = point, region
        if self._roi is None:
            self._climb()
        assert self._roi is not None
        return self._roi

    def take(self, mask: Mask) -> Mask | None:
        """Learns from a mask.

        Args:
            mask: computed under the ROI ``mask.prompt``.

        Returns:
            It, if it is the object's; None while the ladder is climbed.
        """
        self._aspect = mask.size_px[0] / mask.size_px[1]
        roi = self._roi
        if roi is None or mask.prompt != roi:
            return None  # of a ROI that was left already
        found = holds(mask, *self._point)
        if self._held:
            return self._follow(mask, found)
        if not found:
            self._next_rung()
            return None
        if self._rung is None:
            self._rung, self._roi = mask, bbox_roi(mask)
            return None
        value = quality(self._rung, mask)
        if self._best is None or value > self._best[0]:
            self._best = (value, roi)
        if value >= GOOD:
            self._hold(roi)
            return self._follow(mask, found)
        self._next_rung()
        return None

    def _climb(self) -> None:
        """Begins at the first rung, around the newest point."""
        self.reset()
        self._left = point_rois(*self._point, self._aspect, SIDES)
        self._next_rung()

    def _next_rung(self) -> None:
        self._rung = None
        if self._left:
            self._roi = self._left.pop(0)
        elif self._best is not None:
            self._hold(self._best[1])
        else:
            self._climb()

    def _hold(self, roi: Roi) -> None:
        self.reset()
        self._roi, self._held = roi, True

    def _follow(self, mask: Mask, found: bool) -> Mask | None:
        if not found:
            self._misses += 1
            if self._misses >= MISSES:
                self._climb()
            return None
        self._misses = 0
        box = bbox_roi(mask)
        if self._roi is None or box.iou(self._roi) < SAME or cut(mask) > CUT:
            self._roi = box
        return mask
