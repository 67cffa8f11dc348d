"""Synthetic traces, the measures, and how well the filters do by them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from picosam_gaze.filters import EyeState, FilterConfig, FixationTracker, Sighting, View
from picosam_gaze.scoring import Counts, Event, Score, events_of, match, score, true_events
from picosam_gaze.traces import LABELS, Trace, TraceConfig, make_trace

from picosam_sdk.errors import ConfigError
from picosam_sdk.types import Gaze

MS = 1_000_000
FIXATION, SACCADE, BLINK = EyeState.FIXATION, EyeState.SACCADE, EyeState.BLINK


def run(config: FilterConfig, trace: Trace) -> Score:
    tracker, view = FixationTracker(config, View()), View()
    return score(trace, [tracker.push(gaze) for gaze in trace.gazes(view)])


def test_a_trace_is_what_was_asked_for() -> None:
    config = TraceConfig(seconds=30, rate_hz=200, noise_deg=0.4, dropout=0.03, pursuit=0.2, seed=3)
    trace = make_trace(config)
    assert len(trace.times_ns) == 6000
    assert set(np.unique(trace.labels)) == set(range(len(LABELS)))
    quiet = np.isfinite(trace.deg[:, 0]) & (trace.labels != LABELS.index("blink"))
    error = np.linalg.norm((trace.deg - trace.true_deg)[quiet], axis=1)
    assert np.sqrt((error**2).mean()) == pytest.approx(0.4, rel=0.05)
    awake = trace.labels != LABELS.index("blink")
    assert np.isnan(trace.deg[awake, 0]).mean() == pytest.approx(0.03, abs=0.01)
    assert np.abs(trace.true_deg).max() < 45


def test_the_same_settings_give_the_same_trace_and_noise_does_not_change_the_script() -> None:
    one, same = make_trace(TraceConfig(seconds=5)), make_trace(TraceConfig(seconds=5))
    assert np.array_equal(one.deg, same.deg, equal_nan=True)
    noisy = make_trace(TraceConfig(seconds=5, noise_deg=1.0, rate_hz=30))
    assert noisy.segments == one.segments
    assert make_trace(TraceConfig(seconds=5, seed=1)).segments != one.segments


def test_saccades_follow_the_main_sequence() -> None:
    trace = make_trace(TraceConfig(seconds=60, rate_hz=2000, noise_deg=0, blinks_hz=0))
    speeds = np.linalg.norm(np.diff(trace.true_deg, axis=0), axis=1) * 2000
    for segment in trace.segments[1:-2:2]:
        assert segment.label == "saccade"
        amplitude = math.dist(segment.start_deg, segment.end_deg)
        seconds = (segment.end_ns - segment.start_ns) / 1e9
        assert seconds == pytest.approx(0.021 + 0.0022 * amplitude)
        inside = (trace.times_ns[:-1] > segment.start_ns) & (trace.times_ns[1:] < segment.end_ns)
        assert speeds[inside].max() == pytest.approx(math.pi / 2 * amplitude / seconds, rel=0.02)


def test_a_blink_has_no_gaze_in_it_and_a_drop_at_its_ends() -> None:
    trace = make_trace(TraceConfig(seconds=60, rate_hz=500, noise_deg=0, blinks_hz=1))
    blink = next(segment for segment in trace.segments if segment.label == "blink")
    inside = (trace.times_ns >= blink.start_ns) & (trace.times_ns < blink.end_ns)
    seen = trace.deg[inside]
    assert np.isnan(seen[len(seen) // 2]).all()
    drop = seen[:, 1] - trace.true_deg[inside][:, 1]
    assert 1 < np.nanmax(drop) <= 2


def test_the_samples_are_a_trackers() -> None:
    trace = make_trace(TraceConfig(seconds=20, noise_deg=0))
    view = View(70, 16 / 9)
    gazes = trace.gazes(view)
    assert [gaze.timestamp_ns for gaze in gazes] == trace.times_ns.tolist()
    for gaze, place in zip(gazes, trace.deg.tolist(), strict=True):
        if math.isnan(place[0]):
            assert not gaze.valid
            assert gaze.confidence == 0
        else:
            assert view.to_deg(gaze.x, gaze.y) == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize(("key", "value"), [("rate_hz", 0), ("dropout", 1.5), ("noise_deg", -1)])
def test_a_trace_that_cannot_be_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        TraceConfig(**{key: value})  # type: ignore[arg-type]


def test_f1_by_hand() -> None:
    assert Counts(hits=3, false=1, missed=2).f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert Counts().f1 == 1
    assert Counts(false=1).f1 == 0


def test_events_match_if_they_share_half_of_their_union() -> None:
    truth = [Event(FIXATION, 0, 100), Event(FIXATION, 200, 300), Event(FIXATION, 400, 500)]
    found = [Event(FIXATION, 10, 100), Event(FIXATION, 260, 300), Event(FIXATION, 300, 900)]
    assert match(truth, found) == [(truth[0], found[0])]
    assert match(truth, found, iou=0.1) == list(zip(truth, found, strict=True))


def test_one_found_event_is_no_two() -> None:
    truth = [Event(FIXATION, 0, 100), Event(FIXATION, 100, 200)]
    assert len(match(truth, [Event(FIXATION, 0, 200)])) == 1


def sighting(state: EyeState, since_ns: int, now_ns: int) -> Sighting:
    return Sighting(state, Gaze(0.5, 0.5, now_ns), 0.5, 0.5, since_ns)


def test_what_is_dated_back_replaces_what_was_said() -> None:
    said = [
        sighting(SACCADE, 0, 0), sighting(SACCADE, 0, 10), sighting(FIXATION, 5, 20),
        sighting(SACCADE, 25, 30), sighting(FIXATION, 5, 40), sighting(BLINK, 50, 50),
    ]  # fmt: skip
    assert events_of(said) == [
        Event(SACCADE, 0, 5), Event(FIXATION, 5, 50), Event(BLINK, 50, 50)
    ]  # fmt: skip


def test_the_truth_itself_scores_1() -> None:
    trace = make_trace(TraceConfig(seconds=20, pursuit=0.3, rate_hz=500))
    events = true_events(trace)
    said = []
    for time_ns in trace.times_ns.tolist():
        event = next(event for event in reversed(events) if event.start_ns <= time_ns)
        said.append(sighting(event.state, event.start_ns, time_ns))
    result = score(trace, said)
    assert all(counts.f1 == 1 for counts in result.samples.values())
    assert all(counts.f1 == 1 for counts in result.events.values())
    assert max(result.delays_ms) <= 2


def test_one_who_always_says_fixation_scores_little() -> None:
    trace = make_trace(TraceConfig(seconds=20))
    said = [sighting(FIXATION, int(trace.times_ns[0]), t) for t in trace.times_ns.tolist()]
    result = score(trace, said)
    assert result.events[FIXATION].f1 < 0.1
    assert result.events[SACCADE].f1 == 0


# The floors lie 0.02 to 0.04 under what 'picosam gaze evaluate' prints; seeds 100 to 102, on
# which the windows were chosen, are not among those used here.
@pytest.mark.parametrize(
    ("config", "rate_hz", "noise_deg", "floor"),
    [
        (FilterConfig(), 30, 0.3, 0.93),
        (FilterConfig(), 66, 0.3, 0.94),
        (FilterConfig(), 120, 0.3, 0.95),
        (FilterConfig(), 200, 0.5, 0.94),
        (FilterConfig(window_ms=20), 200, 0.1, 0.95),
        (FilterConfig(kind="idt"), 120, 0.3, 0.94),
        (FilterConfig(kind="idt", average_ms=0), 66, 0.1, 0.95),
    ],
)
def test_the_filters_find_the_fixations(
    config: FilterConfig, rate_hz: float, noise_deg: float, floor: float
) -> None:
    trace = make_trace(TraceConfig(seconds=40, rate_hz=rate_hz, noise_deg=noise_deg, seed=5))
    assert run(config, trace).events[FIXATION].f1 >= floor


def test_lost_samples_do_not_break_it() -> None:
    trace = make_trace(TraceConfig(seconds=40, rate_hz=120, dropout=0.05, seed=5))
    result = run(FilterConfig(), trace)
    assert result.events[FIXATION].f1 >= 0.94
    assert result.events[BLINK].f1 >= 0.9


def test_scores_add_up() -> None:
    total = Score.empty()
    for seed in (5, 6):
        trace = make_trace(TraceConfig(seconds=10, seed=seed))
        total.add(run(FilterConfig(), trace))
    counts = total.samples[FIXATION]
    assert counts.hits + counts.missed > 1200
    assert len(total.delays_ms) == total.events[FIXATION].hits
    assert events_of([]) == []
