"""When something may leave: times of day, and so many a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

__all__ = ["Rate", "Windows"]

_CLOCK_UNSET_BEFORE = 2025
"""A year before this program was written: the device has no battery clock, and no time yet."""


class Windows:
    """Times of day, on the clock on the wall.

    Where summer time begins or ends, what that clock shows counts: a window inside the hour that
    is left out does not come that day, and one inside the hour that is repeated comes twice.

    Args:
        windows: such as "08:00-18:00", the end not included; "22:00-06:00" is over midnight.
            None: always.
        wall_clock: the local time.
    """

    def __init__(self, windows: Sequence[str], wall_clock: Callable[[], datetime]) -> None:
        self._spans = [(_minute(text[:5]), _minute(text[6:])) for text in windows]
        self._wall_clock = wall_clock

    def closed(self) -> str:
        """Why nothing may leave now: "window", "clock" (it was never set); "" if it may."""
        if not self._spans:
            return ""
        now = self._wall_clock()
        if now.year < _CLOCK_UNSET_BEFORE:
            return "clock"
        minute = now.hour * 60 + now.minute
        for start, end in self._spans:
            if start <= minute < end or (end < start and not end <= minute < start):
                return ""
        return "window"


class Rate:
    """At most so many a second, on the monotonic clock: in a time t at most rate_hz * t + 1.5.

    Those let through follow a grid of time, so that a camera whose rate is a multiple of the
    limit is let through at the limit, though its frames come a little early or late.

    Args:
        rate_hz: 0 for no limit.
    """

    def __init__(self, rate_hz: float) -> None:
        self._interval_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        self._due_ns: int | None = None

    def too_soon(self, now_ns: int) -> str:
        """ "rate" if this one would be too many; else it counts as let through, and ""."""
        if not self._interval_ns:
            return ""
        due_ns = now_ns if self._due_ns is None else self._due_ns
        if now_ns < due_ns:
            return "rate"
        off_the_grid = 2 * (now_ns - due_ns) >= self._interval_ns
        self._due_ns = (now_ns if off_the_grid else due_ns) + self._interval_ns
        return ""


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
