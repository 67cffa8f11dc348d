"""Times of day and rates: over midnight, where summer time begins and ends, and at any jitter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk.egress.schedule import Rate, Windows


def _at(text: str) -> Callable[[], datetime]:
    return lambda: datetime.fromisoformat(f"2026-05-04T{text}")


@pytest.mark.parametrize(
    ("windows", "now", "closed"),
    [
        ((), "03:00:00", ""),
        (("08:00-18:00",), "08:00:00", ""),
        (("08:00-18:00",), "07:59:59", "window"),
        (("08:00-18:00",), "17:59:59", ""),
        (("08:00-18:00",), "18:00:00", "window"),
        (("22:00-06:00",), "23:30:00", ""),
        (("22:00-06:00",), "00:00:00", ""),
        (("22:00-06:00",), "05:59:59", ""),
        (("22:00-06:00",), "06:00:00", "window"),
        (("22:00-06:00",), "21:59:59", "window"),
        (("18:00-00:00",), "23:59:59", ""),
        (("18:00-00:00",), "00:00:00", "window"),
        (("08:00-09:00", "12:00-13:00"), "12:30:00", ""),
        (("08:00-09:00", "12:00-13:00"), "10:00:00", "window"),
    ],
)
def test_windows(windows: tuple[str, ...], now: str, closed: str) -> None:
    assert Windows(windows, _at(now)).closed() == closed


def test_a_clock_that_was_never_set_opens_no_window() -> None:
    never_set = datetime(1970, 1, 1, 12)
    assert Windows(("08:00-18:00",), lambda: never_set).closed() == "clock"
    assert Windows((), lambda: never_set).closed() == ""


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # needs no database of time zones
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _open_minutes(window: str, first: datetime, hours: int) -> list[str]:
    """The minutes of universal time in which a window is open."""
    start = int(first.timestamp())
    found = []
    for second in range(start, start + hours * 3600, 60):
        windows = Windows((window,), lambda second=second: datetime.fromtimestamp(second))
        if not windows.closed():
            found.append(datetime.fromtimestamp(second, UTC).strftime("%H:%M"))
    return found


@pytest.mark.usefixtures("berlin")
def test_summer_time() -> None:
    begins, ends = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    assert _open_minutes("02:00-03:00", begins, 12) == []  # that hour is left out
    assert len(_open_minutes("01:30-03:30", begins, 12)) == 60
    repeated = _open_minutes("02:00-03:00", ends, 12)
    assert (len(repeated), repeated[0], repeated[-1]) == (120, "00:00", "01:59")
    morning = _open_minutes("08:00-09:00", begins, 12)
    assert (morning[0], len(morning)) == ("06:00", 60)


def test_rate_lets_through_the_limit_of_a_multiple_of_it_at_any_jitter() -> None:
    rate, period_ns = Rate(10.0), 33_333_333
    late_ns = (0, 4_000_000, -3_000_000, 9_000_000, -8_000_000)
    through = [
        frame
        for frame in range(300)
        if not rate.too_soon(frame * period_ns + late_ns[frame % len(late_ns)])
    ]
    assert len(through) in (100, 101)


@given(
    st.floats(0.1, 1000),
    st.lists(st.integers(1, 2_000_000_000), min_size=2, max_size=200),
)
def test_rate_never_lets_more_through(rate_hz: float, pauses_ns: list[int]) -> None:
    rate, now_ns, sent = Rate(rate_hz), 0, []
    for pause_ns in pauses_ns:
        now_ns += pause_ns
        if not rate.too_soon(now_ns):
            sent.append(now_ns)
    assert sent
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            seconds = (sent[last] - sent[first]) / 1e9
            assert last - first + 1 <= rate_hz * seconds + 1.5 + 1e-6


def test_no_rate_is_no_limit() -> None:
    rate = Rate(0.0)
    assert not any(rate.too_soon(5) for _ in range(100))
