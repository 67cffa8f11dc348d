"""Between the thread that receives gaze and the loop that reads it: bounded, in order, counted."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from picosam_sdk.types import Gaze

__all__ = ["COUNTS", "Inbox"]

COUNTS = (
    "received",
    "dropped",
    "malformed",
    "late",
    "duplicates",
    "clock_refused",
    "reconnects",
)
"""What every source counts; ``late`` came after a newer sample had been read."""

_AHEAD_NS = 500_000_000


class Inbox:
    """Holds samples until they are read.

    Order and duplicates are told by a key, such as the peer's own timestamp: an estimate of the
    clock's offset that changes in between does not turn two samples around.

    Args:
        capacity: samples it holds; beyond, the one that came first is dropped and counted.
        clock: of the host, in nanoseconds.
    """

    def __init__(self, capacity: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[tuple[int, int], Gaze]] = deque()
        self._keys: set[tuple[int, int]] = set()
        self._capacity = capacity
        self._epoch = 0
        self._read: tuple[int, int] = (0, -(2**63))
        self._read_ns = -(2**63)
        self._arrived_ns: int | None = None
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))

    def put(self, gaze: Gaze, key: int | None = None, arrived_ns: int | None = None) -> bool:
        """Adds a sample.

        Args:
            gaze: its ``timestamp_ns`` on the host's clock. One that lies ahead of its arrival by
                less than 0.5 s becomes its arrival, since offsets are estimates.
            key: by which samples are ordered and told apart; ``timestamp_ns`` if None.
            arrived_ns: when it came, on the host's clock; now if None.

        Returns:
            False if it does not fit: it lies further ahead, and is refused, since all after it
            would be taken for late; or it is late itself. Both are counted. Many of these say
            that the peer's clock was set.
        """
        arrived_ns = self._clock() if arrived_ns is None else arrived_ns
        if gaze.timestamp_ns > arrived_ns + _AHEAD_NS:
            self.count("clock_refused")
            return False
        if gaze.timestamp_ns > arrived_ns:
            gaze = replace(gaze, timestamp_ns=arrived_ns)
        with self._lock:
            self._counts["received"] += 1
            place = (self._epoch, gaze.timestamp_ns if key is None else key)
            if place in self._keys or place == self._read:
                self._counts["duplicates"] += 1
            elif place < self._read:
                self._counts["late"] += 1
                return False
            else:
                if len(self._waiting) >= self._capacity:
                    self._keys.discard(self._waiting.popleft()[0])
                    self._counts["dropped"] += 1
                self._arrived_ns = arrived_ns
                self._waiting.append((place, gaze))
                self._keys.add(place)
        return True

    def restart(self) -> None:
        """Starts a new order: the peer's clock was set, so that its keys may run back."""
        with self._lock:
            self._epoch += 1

    def count(self, name: str) -> None:
        """Counts something, such as "malformed"."""
        with self._lock:
            self._counts[name] += 1

    def drain(self) -> list[Gaze]:
        """All that waits, in order; timestamps rise strictly, from call to call as well."""
        with self._lock:
            waiting = sorted(self._waiting, key=lambda item: item[0])
            self._waiting.clear()
            self._keys.clear()
            samples = []
            for place, gaze in waiting:
                self._read = place
                if gaze.timestamp_ns <= self._read_ns:
                    gaze = replace(gaze, timestamp_ns=self._read_ns + 1)
                self._read_ns = gaze.timestamp_ns
                samples.append(gaze)
            return samples

    @property
    def age_s(self) -> float | None:
        """Seconds since the last sample came that was of use; None before the first."""
        with self._lock:
            arrived_ns = self._arrived_ns
        return None if arrived_ns is None else max(0, self._clock() - arrived_ns) / 1e9

    @property
    def stats(self) -> dict[str, Any]:
        """The counts, how many wait, and ``last_sample_age_s``."""
        with self._lock:
            counts: dict[str, Any] = dict(self._counts)
            counts["waiting"] = len(self._waiting)
        return {**counts, "last_sample_age_s": self.age_s}
