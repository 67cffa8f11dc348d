"""Offsets of a peer's clock, and the order of samples."""

from __future__ import annotations

import random
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_gaze.clock import OneWayOffset, RoundTripOffset
from picosam_gaze.sources.inbox import Inbox

from picosam_sdk.types import Gaze

MS = 1_000_000
S = 1_000_000_000
HOUR = 3600 * S


@pytest.mark.parametrize("offset_ns", [0, 7 * HOUR, -7 * HOUR, 1_700_000_000 * S])
@pytest.mark.parametrize("drift", [0.0, 1e-4, -1e-4])
def test_arrival_times_tell_the_offset_within_the_shortest_delay(
    offset_ns: int, drift: float
) -> None:
    rng = random.Random(3)
    offset = OneWayOffset()
    worst_ns = 0
    for step in range(200 * 120):  # two minutes at 200 Hz
        made_ns = 10**12 + step * 5 * MS
        peer_ns = made_ns + offset_ns + int(drift * (made_ns - 10**12))
        arrival_ns = made_ns + 1 * MS + int(rng.expovariate(1 / (5 * MS)))
        host_ns = offset.to_host(peer_ns, arrival_ns)
        assert host_ns is not None
        assert host_ns <= arrival_ns
        if step > 200:
            worst_ns = max(worst_ns, abs(host_ns - made_ns))
    assert worst_ns < 5 * MS
    assert offset.steps == 0


def test_a_clock_that_was_set_forward_is_followed_within_a_second() -> None:
    offset = OneWayOffset()
    for step in range(100):
        assert offset.to_host(step * 5 * MS, step * 5 * MS + MS) is not None
    lost = 0
    for step in range(100, 400):
        host_ns = offset.to_host(step * 5 * MS + HOUR, step * 5 * MS + MS)
        lost += host_ns is None
        assert host_ns is None or abs(host_ns - step * 5 * MS) <= MS
    assert 0 < lost <= 200
    assert offset.steps == 1


def test_one_wrong_time_does_not_spoil_the_estimate() -> None:
    offset = OneWayOffset()
    for step in range(500):
        peer_ns = step * 5 * MS + (HOUR if step % 50 == 7 else 0)
        host_ns = offset.to_host(peer_ns, step * 5 * MS + MS)
        assert (host_ns is None) == (step % 50 == 7)
    assert offset.steps == 0


def test_a_stalled_network_does_not_make_old_gaze_look_new() -> None:
    offset = OneWayOffset()
    for step in range(200):
        assert offset.to_host(step * 5 * MS, step * 5 * MS + MS) is not None
    burst_ns = 200 * 5 * MS + 8 * S  # what was sent in 8 s comes at once
    for step in range(200, 200 + 1600):
        made_ns = step * 5 * MS
        host_ns = offset.to_host(made_ns, burst_ns + (step - 200) * 10_000)
        assert host_ns is None or abs(host_ns - made_ns) <= 2 * MS
    after_ns = burst_ns + 20 * MS
    assert offset.to_host(after_ns, after_ns + MS) == after_ns + MS
    assert offset.steps == 0


def test_a_clock_that_was_set_back_is_followed_after_three_seconds() -> None:
    offset = OneWayOffset()
    for step in range(100):
        offset.to_host(HOUR + step * 5 * MS, step * 5 * MS + MS)
    answers = [offset.to_host(step * 5 * MS, step * 5 * MS + MS) for step in range(100, 1000)]
    first = next(i for i, answer in enumerate(answers) if answer is not None)
    assert 3.0 <= first * 0.005 <= 3.1
    assert None not in answers[first:]
    assert offset.steps == 1


@given(
    st.integers(-(10**18), 10**18),
    st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1, max_size=40),
)
def test_round_trips_hold_the_truth_within_their_error(
    offset_ns: int, delays: list[tuple[int, int]]
) -> None:
    offset = RoundTripOffset()
    now_ns = 10**12
    for there_ns, back_ns in delays:
        answered_ns = now_ns + there_ns + back_ns
        offset.add(now_ns, now_ns + there_ns - offset_ns, answered_ns)
        now_ns = answered_ns + S
    estimate_ns, error_ns = offset.offset_ns(now_ns), offset.error_ns(now_ns)
    assert estimate_ns is not None
    assert error_ns is not None
    assert abs(estimate_ns - offset_ns) <= error_ns + 1
    assert offset.steps == 0


def test_round_trips_follow_a_drifting_clock_and_one_that_was_set() -> None:
    offset = RoundTripOffset()
    for second in range(100):
        now_ns = second * S
        offset.add(now_ns, int(now_ns * 1.001) + HOUR, now_ns + 2 * MS)
        estimate_ns = offset.offset_ns(now_ns + 2 * MS)
        assert estimate_ns is not None
        assert abs(estimate_ns + HOUR + int(now_ns * 0.001)) < 5 * MS
    assert offset.steps == 0
    offset.add(200 * S, 0, 200 * S + MS)
    assert offset.steps == 1
    assert offset.offset_ns(200 * S) == 200 * S + MS // 2


def test_nothing_is_known_before_the_first_measurement() -> None:
    assert OneWayOffset().offset_ns is None
    assert RoundTripOffset().offset_ns(0) is None
    assert RoundTripOffset().error_ns(0) is None


def gaze(timestamp_ns: int, x: float = 0.5) -> Gaze:
    return Gaze(x, 0.5, timestamp_ns)


@given(st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=8))
def test_samples_come_in_order_and_once(batches: list[list[int]]) -> None:
    inbox = Inbox(1000, clock=lambda: 10**12)
    given_out: list[Gaze] = []
    for batch in batches:
        for key in batch:
            inbox.put(gaze(key * MS, x=key / 100), key)
        given_out += inbox.drain()
    stamps = [sample.timestamp_ns for sample in given_out]
    keys = [round(sample.x * 100) for sample in given_out]
    assert stamps == sorted(set(stamps))
    assert keys == sorted(set(keys))
    stats = inbox.stats
    assert stats["received"] == sum(map(len, batches))
    assert stats["received"] == len(given_out) + stats["late"] + stats["duplicates"]


def test_the_oldest_gives_way() -> None:
    inbox = Inbox(3, clock=lambda: 10**12)
    for key in range(5):
        inbox.put(gaze(key))
    assert inbox.stats["waiting"] == 3
    assert [sample.timestamp_ns for sample in inbox.drain()] == [2, 3, 4]
    assert inbox.stats["dropped"] == 2


def test_repeated_late_and_refused_samples_are_no_sign_of_life() -> None:
    now_ns = 10**12
    inbox = Inbox(3, clock=lambda: now_ns)
    assert inbox.age_s is None
    inbox.put(gaze(now_ns))
    inbox.drain()
    for stamp_ns in (now_ns, now_ns - S, now_ns + HOUR):
        now_ns += S
        inbox.put(gaze(stamp_ns))
    assert inbox.age_s == 3
    assert inbox.drain() == []


def test_a_sample_from_the_future_is_refused_and_one_slightly_ahead_is_now() -> None:
    inbox = Inbox(3, clock=lambda: 10**12)
    assert not inbox.put(gaze(10**12 + HOUR))
    assert inbox.put(gaze(10**12 + 20 * MS))
    (sample,) = inbox.drain()
    assert sample.timestamp_ns == 10**12
    assert inbox.stats["clock_refused"] == 1


def test_a_new_order_begins_after_the_peers_clock_was_set() -> None:
    inbox = Inbox(10, clock=lambda: 10**12)
    inbox.put(gaze(100), key=5000)
    inbox.drain()
    inbox.put(gaze(110, x=0.1), key=5010)
    inbox.restart()
    inbox.put(gaze(120, x=0.2), key=10)
    assert [sample.x for sample in inbox.drain()] == [0.1, 0.2]
    inbox.put(gaze(130), key=11)
    assert len(inbox.drain()) == 1
    assert inbox.stats["late"] == 0


def test_statistics_are_read_while_another_thread_measures() -> None:
    offset = RoundTripOffset()
    done = threading.Event()

    def measure() -> None:
        for step in range(20_000):  # each of a hundred begins anew
            offset.add_measured(step // 100 * 10**9, 1000, step)
        done.set()

    thread = threading.Thread(target=measure)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while not done.is_set():
            assert offset.error_ns(0) is None or offset.error_ns(0) >= 1000
            assert offset.offset_ns(0) is None or offset.offset_ns(0) % 10**9 == 0
    finally:
        sys.setswitchinterval(interval_s)
        thread.join()
    assert offset.steps == 199
