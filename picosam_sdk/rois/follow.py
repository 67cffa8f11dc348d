"""Follows an object: the last mask's box, grown, is where to look next.

The rule, in the order in which it is applied to each result:

1. A result is a *find* if it has a mask with a score of at least ``min_score`` whose box covers
   ``min_area`` to ``max_area`` of the view. What is marked as settling is not looked at.
2. A find of somebody else's prompt (``start``, or another source of the chain) is taken up
   as the object at once; but not if this source had the word in that frame, since then it is a
   sensor's late answer.
3. A find of the own prompt is the object again if its box overlaps the one before by at least
   ``min_iou``; else it is a jump, and counts as a miss.
4. Whatever else comes of the own prompt is a miss. ``misses`` of them in a row, or ``max_age_s``
   without a find, and the object is lost: there is no prompt, and the next source of the chain
   is asked. Until then the box stays where it was.

A prompt set by hand (``context.prompt``) ends the following when it is set, and when it is taken
back: whoever points elsewhere, or clears it, means no longer what was followed.

The box is smoothed: each side moves by ``smoothing`` less than it should, as an exponential
moving average, s = s + (1 - smoothing) (x - s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_sdk.config import check
from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.mask import Mask, Result
from picosam_sdk.rois.places import Unit, box_of, check_unit
from picosam_sdk.types import Prompt, Roi

__all__ = ["FollowConfig", "FollowSource"]


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """``kind = "follow"``.

    Args:
        start: x, y, width, height of a box to begin with; None leaves the beginning to the next
            source of the chain.
        region: name of what is followed, which results carry; "" keeps that of the prompt that
            it was found with.
        unit, size_px: of ``start``: "share", "percent", or "px" of a picture of ``size_px``.
        restart_s: how long after a loss ``start`` is prompted with again; 0 for never.
        grow: share of the box's own size added on each of its four sides, for the object's
            movement until the next frame.
        smoothing: 0 to 0.95: how little of a change of the box is followed at once.
        min_score: the score below which a mask does not count.
        min_area, max_area: share of the view that the object's box may cover.
        min_iou: overlap with the box before, below which it is another object.
        misses: how many in a row are a loss.
        max_age_s: after how long without a find it is lost.
    """

    start: tuple[float, float, float, float] | None = None
    region: str = ""
    unit: Unit = "share"
    size_px: tuple[int, int] | None = None
    restart_s: float = 2.0
    grow: float = 0.15
    smoothing: float = 0.3
    min_score: float = 0.5
    min_area: float = 0.0005
    max_area: float = 0.8
    min_iou: float = 0.1
    misses: int = 3
    max_age_s: float = 1.0

    def __post_init__(self) -> None:
        check_unit(self.unit, self.size_px)
        self.first_box()
        check(0 <= self.restart_s < 1e9, "restart_s", "seconds, or 0", self.restart_s)
        check(0 <= self.grow <= 5, "grow", "a share from 0 to 5", self.grow)
        check(0 <= self.smoothing <= 0.95, "smoothing", "0 to 0.95", self.smoothing)
        check(0 <= self.min_score <= 1, "min_score", "a score from 0 to 1", self.min_score)
        check(0 <= self.min_area < self.max_area <= 1, "min_area",
              "0 <= min_area < max_area <= 1", (self.min_area, self.max_area))  # fmt: skip
        check(0 <= self.min_iou < 1, "min_iou", "an overlap from 0 to 1", self.min_iou)
        check(self.misses >= 1, "misses", "at least 1", self.misses)
        check(0 < self.max_age_s < 1e9, "max_age_s", "seconds above 0", self.max_age_s)

    def first_box(self) -> Roi | None:
        """``start`` as a ROI."""
        if self.start is None:
            return None
        return box_of(self.start, self.unit, self.size_px, "start")


@dataclass(slots=True)
class _Track:
    """The object that is followed."""

    box: Roi
    found_ns: int
    region: str
    misses: int = 0


class FollowSource(RoiSource):
    """Prompts with the box of the last mask; see the module for its rule."""

    name: ClassVar[str] = "follow"
    Config: ClassVar[type] = FollowConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._start: Roi | None = config.first_box()
        self._track: _Track | None = None
        # A sensor answers some frames later: what was asked for of late is still our own.
        self._own: deque[Roi] = deque(maxlen=32)
        self._losses = 0
        self._lost_ns: int | None = None
        self._clock_lost = False
        self._has_word = False
        self._by_hand: Prompt | None = None

    def open(self) -> None:
        self._forget()

    def close(self) -> None:
        self._forget()

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        self._notice_hand()
        track = self._track
        if track is not None and now_ns - track.found_ns > self.config.max_age_s * 1e9:
            self._lose()
            track = None
        if track is None:
            return self._first(now_ns)
        roi = track.box.grow(self.config.grow)
        self._own.append(roi)
        self._has_word = True
        return Prompt(roi=roi, timestamp_ns=min(track.found_ns, now_ns), region=track.region)

    def observe(self, result: Result) -> None:
        has_word, self._has_word = self._has_word, False
        taken_back = self._notice_hand()
        if result.settling or taken_back:
            return
        mask, track = result.mask, self._track
        asked = result.roi if mask is None else mask.prompt
        own = track is not None and asked in self._own
        box = None if mask is None else self._find(mask)
        if box is None or mask is None:
            if own and track is not None:
                self._miss(track)
        elif track is None or not own:
            if track is None or not has_word:
                region = self.config.region or result.region
                self._track = _Track(box, result.frame.timestamp_ns, region)
        elif box.iou(_inside(track.box)) < self.config.min_iou:
            self._miss(track)
        else:
            track.box = _between(track.box, box, 1 - self.config.smoothing)
            track.found_ns, track.misses = result.frame.timestamp_ns, 0

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"following": self._track is not None, "losses": self._losses}

    def _forget(self) -> None:
        self._track = None
        self._own.clear()
        self._losses = 0
        self._lost_ns = None
        self._clock_lost = self._has_word = False
        self._by_hand = self.context.prompt.get()

    def _notice_hand(self) -> bool:
        """Lets go of the object if the prompt by hand has changed; whether it was taken back."""
        before, self._by_hand = self._by_hand, self.context.prompt.get()
        if self._by_hand is not before:
            self._track = None
        return before is not None and self._by_hand is None

    def _first(self, now_ns: int) -> Prompt | None:
        """The first box, unless it is too soon after a loss."""
        if self._clock_lost:
            self._clock_lost, self._lost_ns = False, now_ns
        if self._start is None:
            return None
        if self._lost_ns is not None:
            waited_s = (now_ns - self._lost_ns) / 1e9
            if not self.config.restart_s or waited_s < self.config.restart_s:
                return None
        return Prompt(roi=self._start, region=self.config.region)

    def _find(self, mask: Mask) -> Roi | None:
        """The box of a mask that counts as a find."""
        pixels = mask.bbox() if mask.score >= self.config.min_score else None
        if pixels is None:
            return None
        box = Roi.from_pixels(*pixels, mask.size_px)
        share = box.width * box.height
        return box if self.config.min_area <= share <= self.config.max_area else None

    def _miss(self, track: _Track) -> None:
        track.misses += 1
        if track.misses >= self.config.misses:
            self._lose()

    def _lose(self) -> None:
        self._track = None
        self._losses += 1
        self._clock_lost = True  # latest() knows the time


def _inside(box: Roi) -> Roi:
    """The part of a box that lies in the view."""
    x0, y0 = max(0.0, box.x), max(0.0, box.y)
    x1, y1 = min(1.0, box.x + box.width), min(1.0, box.y + box.height)
    return Roi(x0, y0, x1 - x0, y1 - y0)


def _between(old: Roi, new: Roi, weight: float) -> Roi:
    """The old box, moved towards the new one by a weight from 0 to 1."""
    return Roi(
        old.x + weight * (new.x - old.x),
        old.y + weight * (new.y - old.y),
        old.width + weight * (new.width - old.width),
        old.height + weight * (new.height - old.height),
    )
