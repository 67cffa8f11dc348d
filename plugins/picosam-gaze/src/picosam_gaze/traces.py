"""Synthetic gaze whose truth is known: for tests, and for 'picosam gaze evaluate'.

A trace is a script of fixations, saccades, smooth pursuits and blinks, in degrees of visual
angle, sampled at a rate, with noise and lost samples. The same settings give the same trace.

What is modelled, and after whom:

- The duration of a saccade of A degrees is ``2.2 ms * A + 21 ms`` (Carpenter: Movements of the
  Eyes, 1988), its speed over time half a sine wave, whose peak is 1.57 times its mean (Becker,
  1989, reports about 1.6): 4 degrees peak at 211 degrees a second, 20 degrees at 483.
- Fixations last 150 ms to 1.5 s, log-normally with a median of 320 ms, and drift by up to half a
  degree a second. Pursuits move at 5 to 20 degrees a second.
- A blink takes 100 to 350 ms. While the lid covers the pupil in part, for 15 ms at both ends, the
  gaze seems to drop by up to 2 degrees; in between there is none.
- The noise is white and Gaussian. Its measure is the root mean square distance from the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from picosam_gaze.filters.angles import View
from picosam_sdk.config import check
from picosam_sdk.types import Gaze

__all__ = ["LABELS", "Segment", "Trace", "TraceConfig", "make_trace"]

LABELS = ("fixation", "saccade", "pursuit", "blink")
"""What the eye really does; a trace's labels are indices of these."""

_LID_S = 0.015
_LID_DEG = 2.0


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """What a trace is made of.

    Args:
        seconds: its length.
        rate_hz: samples a second.
        noise_deg: root mean square distance of a sample from where the eye looks.
        dropout: share of the samples that are lost, at random.
        blinks_hz: blinks a second, on average.
        pursuit: share of the fixations that are smooth pursuits instead.
        seed: another seed gives another trace.
        start_ns: when it begins, on the clock of ``Gaze.timestamp_ns``.
    """

    seconds: float = 60.0
    rate_hz: float = 120.0
    noise_deg: float = 0.3
    dropout: float = 0.0
    blinks_hz: float = 0.25
    pursuit: float = 0.0
    seed: int = 0
    start_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for key, low, high in (
            ("seconds", 0.1, 36_000), ("rate_hz", 1, 10_000), ("noise_deg", 0, 90),
            ("dropout", 0, 1), ("blinks_hz", 0, 5), ("pursuit", 0, 1),
        ):  # fmt: skip
            value = getattr(self, key)
            check(low <= value <= high, key, f"{low} to {high}", value)


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the script.

    Args:
        label: one of :data:`LABELS`.
        start_ns, end_ns: on the trace's clock.
        start_deg, end_deg: where the eye is pointed at both ends, degrees right of and below
            the optical axis.
    """

    label: str
    start_ns: int
    end_ns: int
    start_deg: tuple[float, float]
    end_deg: tuple[float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """Gaze with its truth.

    Args:
        config: what it was made of.
        times_ns: int64 (n,).
        deg: float64 (n, 2), as measured, degrees right of and below the optical axis; NaN where
            a sample is lost.
        true_deg: float64 (n, 2), where the eye is pointed, in a blink as well.
        labels: uint8 (n,), indices of :data:`LABELS`.
        segments: the script.
    """

    config: TraceConfig
    times_ns: NDArray[np.int64]
    deg: NDArray[np.float64]
    true_deg: NDArray[np.float64]
    labels: NDArray[np.uint8]
    segments: tuple[Segment, ...] = field(repr=False)

    def gazes(self, view: View | None = None) -> list[Gaze]:
        """The samples, as a tracker with this scene camera would give them."""
        view = view or View()
        out = []
        for time_ns, (right, down) in zip(self.times_ns.tolist(), self.deg.tolist(), strict=True):
            lost = math.isnan(right)
            x, y = (math.nan, math.nan) if lost else view.to_share(right, down)
            out.append(Gaze(x, y, time_ns, confidence=0.0 if lost else 1.0))
        return out


def make_trace(config: TraceConfig | None = None) -> Trace:
    """Makes a trace."""
    config = config or TraceConfig()
    rng = np.random.default_rng(config.seed)
    segments = _script(config, rng)
    count = int(config.seconds * config.rate_hz)
    times_ns = config.start_ns + np.rint(np.arange(count) * 1e9 / config.rate_hz).astype(np.int64)
    starts = np.array([segment.start_ns for segment in segments])
    owner = np.searchsorted(starts, times_ns, side="right") - 1
    places = [_place(segments[i], int(t)) for i, t in zip(owner, times_ns, strict=True)]
    true_deg = np.array(places)
    labels = np.array([LABELS.index(segments[i].label) for i in owner], dtype=np.uint8)
    # The noise has a generator of its own: another noise or rate keeps the same script.
    rng = np.random.default_rng([config.seed, 1])
    deg = true_deg + rng.normal(size=true_deg.shape) * config.noise_deg / math.sqrt(2)
    for i in np.flatnonzero(labels == LABELS.index("blink")):
        drop = _lid_drop(segments[owner[i]], int(times_ns[i]))
        deg[i] = np.nan if math.isnan(drop) else deg[i] + (0, drop)
    deg[rng.random(count) < config.dropout] = np.nan
    return Trace(config, times_ns, deg, true_deg, labels, tuple(segments))


def _script(config: TraceConfig, rng: np.random.Generator) -> list[Segment]:
    segments: list[Segment] = []
    now_ns, place = config.start_ns, (0.0, 0.0)
    end_ns = config.start_ns + round(config.seconds * 1e9)

    def add(label: str, seconds: float, to: tuple[float, float]) -> None:
        nonlocal now_ns, place
        after_ns = now_ns + round(seconds * 1e9)
        segments.append(Segment(label, now_ns, after_ns, place, to))
        now_ns, place = after_ns, to

    while now_ns < end_ns:
        moves = rng.random() < config.pursuit
        seconds = float(np.clip(rng.lognormal(math.log(0.32), 0.5), 0.15, 1.5))
        seconds = seconds * 2 if moves else seconds
        speed = rng.uniform(5, 20) if moves else rng.uniform(0, 0.5)
        label = "pursuit" if moves else "fixation"
        if rng.random() < config.blinks_hz * seconds:
            share = rng.uniform(0.3, 0.7)
            add(label, seconds * share, _towards(place, speed * seconds * share, rng))
            add("blink", rng.uniform(0.1, 0.35), place)
            seconds *= 1 - share
        add(label, seconds, _towards(place, speed * seconds, rng))
        amplitude = float(np.clip(rng.exponential(6.0), 1.5, 20.0))
        add("saccade", 0.021 + 0.0022 * amplitude, _towards(place, amplitude, rng))
    return segments


def _towards(
    place: tuple[float, float], distance_deg: float, rng: np.random.Generator
) -> tuple[float, float]:
    """A place so far away, in a direction that stays in the middle of the view if one does."""
    for _ in range(20):
        angle = rng.uniform(0, 2 * math.pi)
        to = (
            place[0] + distance_deg * math.cos(angle),
            place[1] + distance_deg * math.sin(angle),
        )
        if abs(to[0]) <= 25 and abs(to[1]) <= 18:
            return to
    length = max(math.hypot(*place), 1e-9)
    return place[0] * (1 - distance_deg / length), place[1] * (1 - distance_deg / length)


def _place(segment: Segment, time_ns: int) -> tuple[float, float]:
    """Where the eye is pointed at an instant of a segment."""
    share = (time_ns - segment.start_ns) / (segment.end_ns - segment.start_ns)
    if segment.label == "saccade":
        share = (1 - math.cos(math.pi * share)) / 2  # its speed is half a sine wave
    (x0, y0), (x1, y1) = segment.start_deg, segment.end_deg
    return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share


def _lid_drop(segment: Segment, time_ns: int) -> float:
    """How far the gaze seems to drop during a blink, in degrees; NaN while the eye is shut."""
    from_end_s = min(time_ns - segment.start_ns, segment.end_ns - time_ns) / 1e9
    return _LID_DEG * from_end_s / _LID_S if from_end_s < _LID_S else math.nan
