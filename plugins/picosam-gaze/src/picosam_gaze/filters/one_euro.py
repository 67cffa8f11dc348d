"""The One-Euro filter: little lag where the signal is fast, little jitter where it is slow.

Casiez, Roussel and Vogel: "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012, algorithm 1.
"""

from __future__ import annotations

import math

__all__ = ["D_CUTOFF_HZ", "OneEuro", "PointSmoother"]

D_CUTOFF_HZ = 1.0
"""Cutoff of the low-pass on the speed, as in the paper."""


class OneEuro:
    """The filter of one coordinate.

    It is a first-order low-pass whose cutoff is ``min_cutoff_hz + beta * speed``; the speed is
    itself low-passed. As in the paper, it is taken between the sample and the filtered value
    before it, so that a filter that lags behind opens.

    Args:
        min_cutoff_hz: cutoff at rest. Lower means less jitter and more lag. The paper's
            implementations start with 1.0.
        beta: how fast the cutoff rises with the speed, in Hz for each unit a second. The paper's
            implementations start with 0, a plain low-pass.
    """

    def __init__(self, min_cutoff_hz: float = 1.0, beta: float = 0.0) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._value: float | None = None
        self._speed = 0.0
        self._time_ns = 0

    def push(self, time_ns: int, value: float) -> float:
        """Takes a sample and gives the filtered one; a sample no later than the last is skipped.

        Args:
            time_ns: when it was measured.
            value: finite.
        """
        if self._value is None:
            self._value, self._time_ns = value, time_ns
            return value
        step_s = (time_ns - self._time_ns) / 1e9
        if step_s <= 0:
            return self._value
        speed = (value - self._value) / step_s
        self._speed += _alpha(step_s, D_CUTOFF_HZ) * (speed - self._speed)
        cutoff_hz = self._min_cutoff_hz + self._beta * abs(self._speed)
        self._value += _alpha(step_s, cutoff_hz) * (value - self._value)
        self._time_ns = time_ns
        return self._value


class PointSmoother:
    """One :class:`OneEuro` for each of two coordinates.

    Args:
        min_cutoff_hz, beta: as there.
    """

    def __init__(self, min_cutoff_hz: float = 1.0, beta: float = 0.0) -> None:
        self._x = OneEuro(min_cutoff_hz, beta)
        self._y = OneEuro(min_cutoff_hz, beta)

    def push(self, time_ns: int, x: float, y: float) -> tuple[float, float]:
        """Takes a point and gives the smoothed one."""
        return self._x.push(time_ns, x), self._y.push(time_ns, y)


def _alpha(step_s: float, cutoff_hz: float) -> float:
    """Weight of a new sample in a first-order low-pass."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))
