"""From gaze to prompts: a point first, then the box of the object that was found there.

A pure state machine: it is told what the eye does and what the network found, and says what to
look at. It has no clock and no thread.

::

    nothing ──dwell──> point ──the object was found there──> object
       ^                 │                                     │
       └───── gaze gone for leave_ms, lost, or stale ──────────┤
                       point <──object lost, gaze still on it──┘

While the gaze stays in the box or near it, the prompt stays as it is: neither the eye's jitter nor
its small movements on the object re-aim a sensor, which needs several frames for that. Only an
object that has itself moved does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from picosam_gaze.filters import EyeState
from picosam_sdk.config import check
from picosam_sdk.mask import Mask, Result
from picosam_sdk.points import bbox_roi, holds
from picosam_sdk.types import Gaze, Prompt, Roi

__all__ = ["Look", "PromptConfig", "Prompter"]


@dataclass(frozen=True, slots=True)
class PromptConfig:
    """``[roi.prompt]``: when gaze becomes a prompt, and how long it stays one.

    Args:
        dwell_ms: how long the eye must rest on a place before it is prompted with; 600 ms is
            comfortable, 200 ms prompts with nearly every fixation.
        leave_ms: how long the gaze may be elsewhere, or missing, before its object is left.
        max_age_ms: a gaze older than this is stale, and gives no prompt.
        near: the gaze still counts as on the object in its box grown on each side by this share
            of the box's size.
        point_near: and as on a point within this share of the view's width and height.
        grow: the prompt is the object's box grown on each side by this share of its size.
        reaim_iou: a new box is prompted with when its IoU with the old one falls below this; 1
            follows every change.
        min_score: a mask of which the network expects less is not the object.
        max_area: nor is one whose box covers more than this share of the view.
        misses: so many masks in a row that do not show the object, and it is lost.
    """

    dwell_ms: float = 600.0
    leave_ms: float = 500.0
    max_age_ms: float = 300.0
    near: float = 0.25
    point_near: float = 0.05
    grow: float = 0.1
    reaim_iou: float = 0.75
    min_score: float = 0.4
    max_area: float = 0.8
    misses: int = 5

    def __post_init__(self) -> None:
        for key, low, high in (
            ("dwell_ms", 0, 60_000), ("leave_ms", 0, 60_000), ("max_age_ms", 1, 10_000),
            ("near", 0, 10), ("point_near", 0.001, 1), ("grow", 0, 10), ("reaim_iou", 0, 1),
            ("min_score", 0, 1), ("max_area", 0.001, 1), ("misses", 1, 1000),
        ):  # fmt: skip
            value = getattr(self, key)
            check(low <= value <= high, key, f"{low} to {high}", value)


@dataclass(frozen=True, slots=True)
class Look:
    """What the eye does, in the view that is segmented.

    Args:
        state: of the eye.
        gaze: its smoothed place there; NaN where there is none.
        dwell_ns: how long it has stayed there, if it rests.
    """

    state: EyeState
    gaze: Gaze
    dwell_ns: int = 0


@dataclass(slots=True)
class _Target:
    """What is prompted with: a point, or an object's box.

    Args:
        near: in which the gaze counts as on it.
        gaze: the newest one that was on it.
        point: of a point.
        aim: of an object: the prompt.
        box: of an object: where it was seen last.
        misses: masks in a row that did not show it.
    """

    near: Roi
    gaze: Gaze
    point: tuple[float, float] | None = None
    aim: Roi | None = None
    box: Roi | None = None
    misses: int = 0


class Prompter:
    """The state machine.

    Args:
        config: its parameters.
    """

    def __init__(self, config: PromptConfig | None = None) -> None:
        self._config = config or PromptConfig()
        self.counts: Counter[str] = Counter(dict.fromkeys(
            ("points", "objects", "left", "objects_lost", "reaims"), 0
        ))  # fmt: skip
        self._look: Look | None = None
        self._target: _Target | None = None

    @property
    def state(self) -> str:
        """ "nothing", "point" or "object"."""
        if self._target is None:
            return "nothing"
        return "object" if self._target.point is None else "point"

    def reset(self) -> None:
        """Forgets the eye and its target; the counts stay."""
        self._look = self._target = None

    def see(self, look: Look) -> None:
        """Is told what the eye does; in order of time."""
        self._look = look
        if look.state is EyeState.LOST:
            self._leave()
            return
        gaze, target = look.gaze, self._target
        if target is not None and gaze.inside and _contains(target.near, gaze):
            target.gaze = gaze
            return
        rests = look.state is EyeState.FIXATION and gaze.inside
        if rests and look.dwell_ns >= self._config.dwell_ms * 1e6:
            self._leave()
            self._ask(gaze)
        elif target is not None and self._gone(gaze.timestamp_ns):
            self._leave()

    def prompt(self, now_ns: int) -> Prompt | None:
        """What to look at now.

        Returns:
            None without a target, and while the gaze is stale or outside the view. A target
            outlives that for ``leave_ms``, so that the eye may come back to it; an eye that is
            lost has left it.
        """
        look = self._look
        if self._target is not None and self._gone(now_ns):
            self._leave()
        target = self._target
        if look is None or target is None:
            return None
        if now_ns - look.gaze.timestamp_ns > self._config.max_age_ms * 1e6:
            return None
        if look.state is not EyeState.BLINK and not look.gaze.inside:
            return None
        gaze = target.gaze
        return Prompt(roi=target.aim, point=target.point, timestamp_ns=gaze.timestamp_ns, gaze=gaze)

    def observe(self, result: Result) -> None:
        """Is shown what the network found; results of other prompts are passed over."""
        target = self._target
        # What it was prompted with is shown only where the user grants this source "gaze"; that
        # it was a gaze is always told.
        ours = result.gaze is not None or "gaze" in result.ages_ns
        if target is None or not ours or result.settling:
            return
        if target.point is not None:
            self._find(target, result.mask)
        elif result.roi is None or _same(result.roi, target.aim):
            self._follow(target, result.mask)

    def _ask(self, gaze: Gaze) -> None:
        side = 2 * self._config.point_near
        near = Roi(gaze.x - side / 2, gaze.y - side / 2, side, side)
        self._target = _Target(near, gaze, point=(gaze.x, gaze.y))
        self.counts["points"] += 1

    def _find(self, target: _Target, mask: Mask | None) -> None:
        """Takes the object that was found at the point."""
        box = self._box(mask)
        if mask is None or box is None or target.point is None or not holds(mask, *target.point):
            return
        self._target = _Target(
            near=box.grow(self._config.near), gaze=target.gaze,
            aim=box.grow(self._config.grow), box=box,
        )  # fmt: skip
        self.counts["objects"] += 1

    def _follow(self, target: _Target, mask: Mask | None) -> None:
        """Learns where the object is now."""
        box = self._box(mask)
        if box is None or target.box is None or box.iou(target.box) <= 0:
            target.misses += 1
            if target.misses >= self._config.misses:
                self._lose(target)
            return
        target.misses, target.box = 0, box
        target.near = box.grow(self._config.near)
        aim = box.grow(self._config.grow)
        if target.aim is None or aim.iou(target.aim) < self._config.reaim_iou:
            target.aim = aim
            self.counts["reaims"] += 1

    def _lose(self, target: _Target) -> None:
        """The object is lost; if the eye still rests there, it is looked for again."""
        self.counts["objects_lost"] += 1
        self._target = None
        look = self._look
        rests = look is not None and look.state is EyeState.FIXATION and look.gaze.inside
        if look is not None and rests and look.dwell_ns >= self._config.dwell_ms * 1e6:
            self._ask(look.gaze)

    def _leave(self) -> None:
        if self._target is not None:
            self.counts["left"] += 1
        self._target = None

    def _gone(self, now_ns: int) -> bool:
        """Whether the gaze has been off its target for too long."""
        target = self._target
        return target is not None and (
            now_ns - target.gaze.timestamp_ns > self._config.leave_ms * 1e6
        )

    def _box(self, mask: Mask | None) -> Roi | None:
        """The box of a mask that may be an object; None if it is none."""
        if mask is None or not mask.score >= self._config.min_score:
            return None
        if not (mask.logits > mask.threshold).any():
            return None
        box = bbox_roi(mask)
        return box if box.width * box.height <= self._config.max_area else None


def _contains(roi: Roi, gaze: Gaze) -> bool:
    return 0 <= gaze.x - roi.x <= roi.width and 0 <= gaze.y - roi.y <= roi.height


def _same(asked: Roi, aim: Roi | None) -> bool:
    """Whether a result answers this prompt; a sensor may lay a ROI on its own grid."""
    return aim is not None and asked.iou(aim) > 0.9
