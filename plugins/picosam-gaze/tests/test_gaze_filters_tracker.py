"""The state machine of the eye: what it says, and from when on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picosam_gaze.filters import EyeState, FilterConfig, FixationTracker, Sighting, View
from picosam_gaze.scoring import events_of

from picosam_sdk.types import Gaze

MS = 1_000_000
VIEW = View(90, 1.0)
RATE_HZ = 200
KINDS = ["ivt", "idt"]


class Eye:
    """An eye that a test moves; gives samples at 200 Hz."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self.place = (0.0, 0.0)

    def rest(self, ms: float, at: tuple[float, float] | None = None) -> Iterable[Gaze]:
        self.place = at or self.place
        for _ in range(round(ms / 5)):
            yield self._gaze(*VIEW.to_share(*self.place))

    def jump(self, to: tuple[float, float], ms: float = 40) -> Iterable[Gaze]:
        count, start = round(ms / 5), self.place
        for index in range(count):
            share = (1 - math.cos(math.pi * (index + 1) / count)) / 2
            here = [a + (b - a) * share for a, b in zip(start, to, strict=True)]
            yield self._gaze(*VIEW.to_share(*here))
        self.place = to

    def shut(self, ms: float, **changes: object) -> Iterable[Gaze]:
        for _ in range(round(ms / 5)):
            yield self._gaze(math.nan, math.nan, **changes)

    def _gaze(self, x: float, y: float, **changes: object) -> Gaze:
        self.now_ns += 5 * MS
        return Gaze(x, y, self.now_ns, **changes)  # type: ignore[arg-type]


@pytest.fixture
def eye() -> Eye:
    return Eye()


def tracker(kind: str = "ivt", **changes: object) -> FixationTracker:
    return FixationTracker(FilterConfig(kind=kind, **changes), VIEW)  # type: ignore[arg-type]


def feed(one: FixationTracker, *parts: Iterable[Gaze]) -> list[Sighting]:
    return [one.push(gaze) for part in parts for gaze in part]


def states(sightings: Iterable[Sighting]) -> list[EyeState]:
    """The states in order, each once in a row."""
    found: list[EyeState] = []
    for sighting in sightings:
        if not found or found[-1] is not sighting.state:
            found.append(sighting.state)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixation_is_told_after_its_least_duration_and_dated_back(kind: str, eye: Eye) -> None:
    said = feed(tracker(kind, window_ms=20), eye.rest(300))
    first = next(s for s in said if s.state is EyeState.FIXATION)
    assert 100 <= (first.gaze.timestamp_ns - said[0].gaze.timestamp_ns) / MS <= 115
    assert abs(first.since_ns - said[0].gaze.timestamp_ns) / MS <= 10
    assert states(said) == [EyeState.SACCADE, EyeState.FIXATION]
    assert said[-1].dwell_ns == said[-1].gaze.timestamp_ns - first.since_ns


@pytest.mark.parametrize("kind", KINDS)
def test_fixation_saccade_fixation(kind: str, eye: Eye) -> None:
    said = feed(tracker(kind), eye.rest(300), eye.jump((8, 0)), eye.rest(300))
    events = events_of(said)
    kinds = [event.state for event in events]
    assert kinds[-3:] == [EyeState.FIXATION, EyeState.SACCADE, EyeState.FIXATION]
    began_ms = (events[-2].start_ns - 1_000_000_000) / MS
    assert 285 <= began_ms <= 330
    assert said[-1].x == pytest.approx(VIEW.to_share(8, 0)[0], abs=2e-3)


def test_in_flight_the_point_is_the_sample_itself(eye: Eye) -> None:
    said = feed(tracker(), eye.rest(300), eye.jump((15, 5)))
    last = said[-1]
    assert last.state is EyeState.SACCADE
    assert (last.x, last.y) == (last.gaze.x, last.gaze.y)
    assert last.dwell_ns == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_wild_sample_does_not_end_a_fixation(kind: str, eye: Eye) -> None:
    said = feed(
        tracker(kind, window_ms=20, average_ms=0), eye.rest(400), eye.jump((3, 0), 5),
        eye.jump((0, 0), 5), eye.rest(400),
    )  # fmt: skip
    assert EyeState.SACCADE in states(said[80:]), "at the time it looks like a saccade"
    assert said[-1].state is EyeState.FIXATION
    assert said[-1].since_ns == said[79].since_ns
    assert said[-1].dwell_ns > 700 * MS
    fixations = [e for e in events_of(said) if e.state is EyeState.FIXATION]
    assert len(fixations) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_saccade_that_stays_is_no_interruption_to_be_merged(kind: str, eye: Eye) -> None:
    said = feed(tracker(kind), eye.rest(400), eye.jump((2.5, 0), 25), eye.rest(400))
    assert said[-1].since_ns > said[79].gaze.timestamp_ns - 20 * MS
    assert said[-1].dwell_ns < 420 * MS


def test_the_dwell_goes_on_over_a_blink_but_the_fixation_does_not(eye: Eye) -> None:
    said = feed(tracker(), eye.rest(500), eye.shut(200), eye.rest(300))
    assert states(said) == [
        EyeState.SACCADE, EyeState.FIXATION, EyeState.BLINK, EyeState.SACCADE, EyeState.FIXATION
    ]  # fmt: skip
    assert said[-1].dwell_ns == pytest.approx(1000 * MS, abs=20 * MS)
    assert said[-1].gaze.timestamp_ns - said[-1].since_ns == pytest.approx(300 * MS, abs=20 * MS)


def test_the_dwell_begins_anew_if_the_eye_comes_back_elsewhere(eye: Eye) -> None:
    said = feed(tracker(), eye.rest(500), eye.shut(200), eye.rest(300, at=(3, 0)))
    assert said[-1].dwell_ns == pytest.approx(300 * MS, abs=20 * MS)


def test_a_long_blink_is_a_loss_with_nothing_left(eye: Eye) -> None:
    said = feed(tracker(blink_ms=400), eye.rest(500), eye.shut(500), eye.rest(300))
    shut = said[100:200]
    assert states(shut) == [EyeState.BLINK, EyeState.LOST]
    lost = next(s for s in shut if s.state is EyeState.LOST)
    assert lost.gaze.timestamp_ns - lost.since_ns == pytest.approx(400 * MS, abs=10 * MS)
    assert math.isnan(lost.x)
    assert said[-1].dwell_ns < 310 * MS


def test_without_blinks_every_missing_sample_is_a_loss(eye: Eye) -> None:
    said = feed(tracker(blink_ms=0), eye.rest(300), eye.shut(5), eye.rest(5))
    assert [s.state for s in said[-2:]] == [EyeState.LOST, EyeState.SACCADE]


def test_taken_off_is_lost_at_once(eye: Eye) -> None:
    said = feed(tracker(), eye.rest(500), eye.shut(5, worn=False), eye.rest(50))
    assert said[100].state is EyeState.LOST
    assert said[-1].state is EyeState.SACCADE, "it needs a whole fixation again"


def test_an_eye_never_seen_is_lost(eye: Eye) -> None:
    said = feed(tracker(), eye.shut(20))
    assert {s.state for s in said} == {EyeState.LOST}
    assert {s.since_ns for s in said} == {said[0].gaze.timestamp_ns}


def test_a_sample_that_was_dropped_is_no_blink_in_the_end(eye: Eye) -> None:
    said = feed(tracker(), eye.rest(300), eye.shut(5), eye.rest(300))
    assert said[60].state is EyeState.BLINK, "at the time it might become one"
    assert said[61].state is EyeState.FIXATION
    assert said[61].since_ns == said[59].since_ns
    assert [event.state for event in events_of(said)] == [EyeState.SACCADE, EyeState.FIXATION]


def test_no_velocity_is_taken_over_a_hole(eye: Eye) -> None:
    """10 degrees in 500 ms are no 20 degrees a second: nobody knows how the eye got there."""
    one = tracker()
    feed(one, eye.rest(300))
    eye.now_ns += 500 * MS
    said = feed(one, eye.rest(5, at=(10, 0)))
    assert said[-1].state is EyeState.SACCADE


def test_samples_that_are_not_newer_change_nothing(eye: Eye) -> None:
    one = tracker()
    said = feed(one, eye.rest(300))
    again = one.push(Gaze(0.9, 0.9, said[-1].gaze.timestamp_ns))
    assert again is said[-1]
    assert one.push(Gaze(0.9, 0.9, 5)) is one.last
    one.reset()
    assert one.last is None


def test_a_pursuit_is_followed_as_a_fixation(eye: Eye) -> None:
    one = tracker()
    said = []
    for index in range(200):
        said += feed(one, eye.rest(5, at=(-10 + index * 0.1, 0)))  # 20 degrees a second
    assert states(said) == [EyeState.SACCADE, EyeState.FIXATION]
    point = VIEW.to_deg(said[-1].x, said[-1].y)
    assert point[0] == pytest.approx(eye.place[0], abs=0.6), "the smoother does not lag far"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 600),
            st.one_of(st.floats(-1, 2), st.just(math.nan), st.just(math.inf)),
            st.one_of(st.floats(-1, 2), st.just(math.nan)),
            st.floats(0, 1),
            st.booleans(),
        ),
        max_size=80,
    ),
    st.sampled_from(KINDS),
)
def test_whatever_comes_what_is_said_holds_together(
    samples: list[tuple[int, float, float, float, bool]], kind: str
) -> None:
    one, now_ns = tracker(kind), 0
    said = []
    for step_ms, x, y, confidence, worn in samples:
        now_ns += step_ms * MS
        said.append(one.push(Gaze(x, y, now_ns, confidence, worn)))
        last = said[-1]
        assert last.since_ns <= last.gaze.timestamp_ns
        seen = last.state in (EyeState.FIXATION, EyeState.SACCADE)
        assert seen == math.isfinite(last.x) == math.isfinite(last.y)
        if seen:
            assert last.gaze.worn
            assert last.gaze.valid
            assert last.gaze.confidence >= 0.6
        if last.state is EyeState.FIXATION:
            assert last.dwell_ns >= last.gaze.timestamp_ns - last.since_ns >= 100 * MS
        else:
            assert last.dwell_ns == 0
    events = events_of(said)
    for one_event, next_event in pairwise(events):
        assert one_event.start_ns <= one_event.end_ns == next_event.start_ns


@pytest.mark.parametrize("rate_hz", [5.5, 10, 15])
def test_a_slow_tracker_is_no_tracker_full_of_holes(rate_hz: float) -> None:
    one, now_ns = tracker(), 0
    for _ in range(30):
        now_ns += round(1e9 / rate_hz)
        last = one.push(Gaze(0.4, 0.4, now_ns))
    assert last.state is EyeState.FIXATION
    assert last.dwell_ns > 1_000 * MS
