"""The state machine of the eye: fixation, saccade, blink or lost, sample by sample."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from enum import Enum

from picosam_gaze.filters.angles import View
from picosam_gaze.filters.config import FilterConfig
from picosam_gaze.filters.detector import Detector, Sample, Still, mean_place
from picosam_gaze.filters.gating import Gate, Verdict
from picosam_gaze.filters.idt import DispersionDetector
from picosam_gaze.filters.ivt import VelocityDetector
from picosam_gaze.filters.one_euro import PointSmoother
from picosam_sdk.types import Gaze

__all__ = ["EyeState", "FixationTracker", "Sighting"]

_RECENT_NS = 200_000_000
"""Over how long the place of a fixation is averaged, to tell whether the eye has come back."""

_SLOWEST_NS = 200_000_000
"""The slowest rate that is taken for a tracker's own is 5 Hz."""


class EyeState(Enum):
    """What the eye does."""

    FIXATION = "fixation"
    """It rests, or follows something slow: a velocity threshold cannot tell the two apart."""
    SACCADE = "saccade"
    """It is in flight, or has not rested for long enough to call it a fixation."""
    BLINK = "blink"
    """It is missing, for no longer than a blink takes."""
    LOST = "lost"
    """It is missing for longer, has never been seen, or nobody wears the tracker."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known after a sample.

    Args:
        state: of the eye.
        gaze: the sample.
        x, y: the smoothed point, as shares of the scene camera's view: within a fixation, the
            One-Euro filter's; in flight the sample itself; else NaN.
        since_ns: when the state began, as far as is known now: of a fixation, its start. It may
            lie before the sample by which it was found; a fixation that goes on after an
            interruption keeps its start, and the interruption never was.
        dwell_ns: in a fixation, how long the eye has stayed there, blinks included; else 0.
    """

    state: EyeState
    gaze: Gaze
    x: float
    y: float
    since_ns: int
    dwell_ns: int = 0


class _Fixation:
    """The fixation that goes on, or the last one."""

    def __init__(self, still: Still, time_ns: int, dwell_since_ns: int, config: FilterConfig):
        self.since_ns = still.since_ns
        self.dwell_since_ns = dwell_since_ns
        self.phase_ns = still.since_ns  # the detector's phase in which it goes on
        self.last_ns = time_ns
        self.point = still.x_deg, still.y_deg
        self._recent: deque[Sample] = deque([(time_ns, *self.point)])
        self._smoother = PointSmoother(config.min_cutoff_hz, config.beta)
        self._smoother.push(time_ns, *self.point)

    def extend(self, time_ns: int, x_deg: float, y_deg: float) -> None:
        self.last_ns = time_ns
        self.point = self._smoother.push(time_ns, x_deg, y_deg)
        self._recent.append((time_ns, x_deg, y_deg))
        while self._recent[0][0] < time_ns - _RECENT_NS:
            self._recent.popleft()

    def leave(self, before_ns: int) -> None:
        """The eye has moved away; samples from ``before_ns`` on may show it under way already."""
        while len(self._recent) > 1 and self._recent[-1][0] >= before_ns:
            self._recent.pop()

    def distance(self, still: Still) -> float:
        """Degrees from where the eye rested last, as a mean."""
        return math.dist(mean_place(self._recent), (still.x_deg, still.y_deg))


class FixationTracker:
    """Turns samples into sightings; knows only what lies behind.

    Args:
        config: thresholds.
        view: of the scene camera, for degrees.
    """

    def __init__(self, config: FilterConfig | None = None, view: View | None = None) -> None:
        self._config = config = config or FilterConfig()
        self._view = view or View()
        self._gate = Gate(config.min_confidence)
        self._detector = make_detector(config)
        self.reset()

    def reset(self) -> None:
        """Forgets everything, as at the start."""
        self._detector.reset()
        self._fixation: _Fixation | None = None
        self._usable: Sighting | None = None
        self._steps_ns: deque[int] = deque(maxlen=7)
        self._last: Sighting | None = None

    @property
    def last(self) -> Sighting | None:
        """The newest sighting."""
        return self._last

    def push(self, gaze: Gaze) -> Sighting:
        """Takes a sample; one no later than the last is ignored, and the last answer given."""
        if self._last is not None and gaze.timestamp_ns <= self._last.gaze.timestamp_ns:
            return self._last
        verdict = self._gate.judge(gaze)
        if verdict is Verdict.USABLE:
            self._last = self._seen(gaze)
        else:
            self._last = self._missed(gaze, verdict)
        return self._last

    def _missed(self, gaze: Gaze, verdict: Verdict) -> Sighting:
        now_ns, before = gaze.timestamp_ns, self._last
        missing = before is not None and before.state in (EyeState.BLINK, EyeState.LOST)
        since_ns = before.since_ns if before is not None and missing else now_ns
        seen_ns = None if self._usable is None else self._usable.gaze.timestamp_ns
        if (
            verdict is Verdict.NOT_WORN
            or seen_ns is None
            or (now_ns - seen_ns) > self._config.blink_ms * 1e6
        ):
            self._forget()
            state = EyeState.LOST
        else:
            state = EyeState.BLINK
        return Sighting(state, gaze, math.nan, math.nan, since_ns)

    def _seen(self, gaze: Gaze) -> Sighting:
        now_ns, before = gaze.timestamp_ns, self._last
        if self._usable is not None:
            step_ns = now_ns - self._usable.gaze.timestamp_ns
            if self._is_hole(step_ns):
                self._detector.reset()
            else:
                before = self._usable  # what was missed in between was no blink
        place = self._view.to_deg(gaze.x, gaze.y)
        still = self._detector.push(now_ns, *place)
        fixation = self._fixation_of(still, now_ns)
        if fixation is None:
            self._usable = self._in_flight(gaze, before)
            return self._usable
        fixation.extend(now_ns, *place)
        x, y = self._view.to_share(*fixation.point)
        dwell_ns = now_ns - fixation.dwell_since_ns
        self._usable = Sighting(EyeState.FIXATION, gaze, x, y, fixation.since_ns, dwell_ns)
        return self._usable

    def _is_hole(self, step_ns: int) -> bool:
        """Whether too much time has passed to know what the eye did; a slow tracker is no hole."""
        usual_ns = statistics.median(self._steps_ns) if self._steps_ns else 0
        self._steps_ns.append(min(step_ns, _SLOWEST_NS))
        return step_ns > max(self._config.gap_ms * 1e6, 2.5 * usual_ns)

    def _fixation_of(self, still: Still | None, now_ns: int) -> _Fixation | None:
        """The fixation to which a sample belongs: the one before, or a new one."""
        config, before = self._config, self._fixation
        if before is not None and (still is None or still.since_ns != before.phase_ns):
            before.leave(2 * self._detector.judged_ns - now_ns)  # the start of its window
        if still is None:
            return None
        if before is not None:
            away_ms = (now_ns - before.last_ns) / 1e6
            if still.since_ns == before.phase_ns or (
                away_ms <= config.merge_ms and before.distance(still) <= config.merge_deg
            ):
                before.phase_ns = still.since_ns
                return before
        if (now_ns - still.since_ns) < config.min_fixation_ms * 1e6:
            return None
        dwell_since_ns = still.since_ns
        if before is not None:
            away_ms = (still.since_ns - before.last_ns) / 1e6
            if away_ms <= config.blink_ms and before.distance(still) <= config.dwell_deg:
                dwell_since_ns = before.dwell_since_ns
        self._fixation = _Fixation(still, now_ns, dwell_since_ns, config)
        return self._fixation

    def _in_flight(self, gaze: Gaze, before: Sighting | None) -> Sighting:
        since_ns = gaze.timestamp_ns
        if before is not None and before.state is EyeState.SACCADE:
            since_ns = before.since_ns
        elif before is not None and before.state is EyeState.FIXATION:
            since_ns = max(min(self._detector.judged_ns, since_ns), before.since_ns)
        return Sighting(EyeState.SACCADE, gaze, gaze.x, gaze.y, since_ns)

    def _forget(self) -> None:
        """What is lost has no past: neither a fixation nor a dwell goes on after it."""
        self._detector.reset()
        self._fixation = None
        self._usable = None


def make_detector(config: FilterConfig) -> Detector:
    """The detector that a configuration names."""
    if config.kind == "idt":
        return DispersionDetector(config.dispersion_deg, config.min_fixation_ms, config.average_ms)
    return VelocityDetector(config.velocity_deg_s, config.window_ms)
