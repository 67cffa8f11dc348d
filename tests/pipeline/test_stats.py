"""Histograms, counts and rates; pauses between attempts."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import CameraError, ConfigError, MissingExtraError, PublishError, UnavailableError
from picosam_sdk.errors import BackendTimeoutError
from picosam_sdk.retrying import Backoff, is_permanent
from picosam_sdk.stats import BOUNDS_MS, Histogram, PartStats, Stats


@given(st.lists(st.floats(0, 1e5), min_size=1))
def test_a_histogram_loses_nothing_and_its_quantiles_bound_the_values(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    read = histogram.read()
    assert read.count == len(values)
    assert read.max_ms == max(values)
    assert read.sum_ms == pytest.approx(sum(values))
    for share in (0.5, 0.95, 1.0):
        bound = read.quantile_ms(share)
        assert sum(value <= bound for value in values) >= share * len(values) - 1e-9
        assert bound <= max(values)


def test_each_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram()
    for bound in BOUNDS_MS:
        histogram.add(bound)
    assert histogram.read().counts == (1,) * len(BOUNDS_MS) + (0,)
    histogram.add(-3)  # of clocks that differ
    assert histogram.read().counts[0] == 2


def test_an_empty_histogram() -> None:
    assert Histogram().read().summary() == {"count": 0, "mean": 0, "p50": 0, "p95": 0, "max": 0}


def test_threads_count_together() -> None:
    part = PartStats()

    def work() -> None:
        for _ in range(2000):
            part.count("sent")
            part.time("publish", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert part["sent"] == 8000
    assert part.distributions()["publish"].count == 8000


def test_frames_a_second_fall_when_frames_stay_away() -> None:
    now_ns = 0
    stats = Stats(lambda: now_ns)
    assert stats.fps == 0
    for _ in range(100):
        stats.frame()
        now_ns += 40_000_000
    assert stats.fps == pytest.approx(25)
    now_ns += 10_000_000_000
    assert stats.fps < 6
    now_ns += 1_000_000_000_000
    assert stats.fps < 0.1


def test_what_a_part_says_of_itself_may_fail() -> None:
    part = PartStats(lambda: {"a": 1 // 0})
    part.error(ValueError("wrong"))
    assert part.read() == {"errors": 1, "last_error": "ValueError: wrong"}


def test_an_error_is_kept_without_passwords() -> None:
    part = PartStats()
    part.error(OSError("cannot reach mqtts://desk:hunter2@broker:8883/x" + "!" * 1000))
    assert part.last_error.startswith("OSError: cannot reach mqtts://broker:8883/x!")
    assert len(part.last_error) == 500


def test_pauses_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause_s() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.reset()
    assert backoff.pause_s() == 0.5


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (PublishError("no broker"), False),
        (CameraError("unplugged"), False),
        (BackendTimeoutError("slow"), False),
        (ConnectionError("refused"), False),
        (UnavailableError("no such device"), True),
        (ConfigError("wrong key"), True),
        (MissingExtraError("zmq", "x"), True),
        (ModuleNotFoundError("zmq"), True),
    ],
)
def test_which_errors_no_attempt_will_mend(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent
