"""What comes in from a page: prompts and the pointer, checked."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from picosam_sdk.errors import InputError
from picosam_sdk.types import Gaze, Prompt, Roi

__all__ = ["RateLimit", "is_number", "read_object", "to_gaze", "to_prompt"]

_LARGEST = sys.float_info.max
_HINT = 'Send {"roi": [x, y, width, height]} or {"point": [x, y]}, as shares of the view.'


def read_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: it is none, or holds NaN or infinity.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, got something else: {error}", hint=_HINT) from error
    if not isinstance(value, dict):
        raise InputError(f"expected a JSON object, got a {type(value).__name__}", hint=_HINT)
    return value


def to_prompt(raw: Mapping[str, Any], now_ns: int) -> Prompt:
    """The prompt in a message.

    Args:
        raw: with "roi" (x, y, width, height) or "point" (x, y), as shares of the view.
        now_ns: the monotonic clock.

    Raises:
        InputError: there is neither or both, or it cannot be a prompt.
    """
    given = [key for key in ("roi", "point") if raw.get(key) is not None]
    if len(given) != 1:
        raise InputError(f"expected a roi or a point, got {given or 'neither'}", hint=_HINT)
    if given == ["point"]:
        x, y = _numbers(raw["point"], 2, "point")
        return Prompt(point=(x, y), timestamp_ns=now_ns)
    roi = Roi(*_numbers(raw["roi"], 4, "roi"))
    if not roi.overlaps_view():
        raise InputError(f"expected a ROI that overlaps the view, got {raw['roi']}", hint=_HINT)
    return Prompt(roi=roi, timestamp_ns=now_ns)


def to_gaze(place: Any, now_ns: int) -> Gaze:
    """Where the pointer is, as a gaze; a lost one where it has left the view.

    Args:
        place: x, y as shares of the view, or None.
        now_ns: the monotonic clock.

    Raises:
        InputError: it is something else.
    """
    if place is None:
        return Gaze(math.nan, math.nan, now_ns, confidence=0.0)
    x, y = _numbers(place, 2, "at")
    return Gaze(x, y, now_ns)


def is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold, and neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -_LARGEST <= value <= _LARGEST  # an int of 400 digits cannot become a float


class RateLimit:
    """A bucket of tokens: so many at once, and so many a second."""

    def __init__(self, rate_hz: float, burst: int) -> None:
        self._rate_hz, self._burst = rate_hz, float(burst)
        self._left, self._at_s = float(burst), time.monotonic()

    @property
    def empty(self) -> bool:
        """Whether there is none now."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        return self._left < 1

    def exceeded(self) -> bool:
        """Takes one; whether there was none."""
        if self.empty:
            return True
        self._left -= 1
        return False


def _numbers(value: Any, count: int, key: str) -> list[float]:
    ok = isinstance(value, list) and len(value) == count
    if not ok or not all(is_number(one) and abs(one) < 1e3 for one in value):
        raise InputError(f"expected {count} numbers as {key}, got {value!r:.80}", hint=_HINT)
    return [float(one) for one in value]


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
