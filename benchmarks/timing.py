"""Timing in turns: what is compared runs alternately, so that noise meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["race", "summary"]

_MOST_A_TURN = 50


def race(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 3,
    turn_ms: float = 0.0,
) -> dict[str, list[float]]:
    """Runs all contestants in turns.

    Args:
        contestants: what to call, by name.
        rounds: turns of each.
        warm_up: turns before those that count.
        turn_ms: a fast contestant is called again within its turn until this has passed (at most
            50 times), so that it is not only measured with caches that a slow one has emptied.

    Returns:
        Milliseconds of each call, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(-warm_up, rounds):
        for name, call in contestants.items():
            spent_ms = 0.0
            for _ in range(_MOST_A_TURN):
                began_ns = time.perf_counter_ns()
                call()
                took_ms = (time.perf_counter_ns() - began_ns) / 1e6
                spent_ms += took_ms
                if number >= 0:
                    times[name].append(took_ms)
                if spent_ms >= turn_ms:
                    break
    return times


def summary(times_ms: list[float]) -> dict[str, float]:
    """``ms``, the median, and ``best_ms``, which other programs disturb least."""
    return {"ms": statistics.median(times_ms), "best_ms": min(times_ms)}
