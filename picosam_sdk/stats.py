"""What an application counts and measures while it runs, for people, JSON and metrics."""

from __future__ import annotations

import bisect
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BOUNDS_MS", "Distribution", "Histogram", "PartStats", "Stats"]

BOUNDS_MS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
"""Upper bounds of the buckets of every histogram, in milliseconds; one more holds the rest."""

_FPS_FRAMES = 61
_LONGEST_ERROR = 500
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram held at one moment.

    Args:
        counts: in each bucket of :data:`BOUNDS_MS`, and in the last one what is above.
        sum_ms: of all values.
        max_ms: the largest.
    """

    counts: tuple[int, ...]
    sum_ms: float
    max_ms: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile_ms(self, share: float) -> float:
        """A value that ``share`` of the values do not exceed: a bucket's bound, or the largest."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*BOUNDS_MS, self.max_ms), self.counts, strict=True):
            seen += count
            if seen >= wanted:
                return min(bound, self.max_ms)
        return self.max_ms

    def summary(self) -> dict[str, float]:
        """Count, mean, median, 95 % quantile and maximum, for people."""
        count = self.count
        return {
            "count": count,
            "mean": round(self.sum_ms / count, 3) if count else 0.0,
            "p50": round(self.quantile_ms(0.5), 3),
            "p95": round(self.quantile_ms(0.95), 3),
            "max": round(self.max_ms, 3),
        }


class Histogram:
    """Counts durations in fixed buckets. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = self._max_ms = 0.0

    def add(self, value_ms: float) -> None:
        """Counts one duration; a negative one, as of clocks that differ, counts as 0."""
        value_ms = max(0.0, value_ms)
        with self._lock:
            self._counts[bisect.bisect_left(BOUNDS_MS, value_ms)] += 1
            self._sum_ms += value_ms
            self._max_ms = max(self._max_ms, value_ms)

    def read(self) -> Distribution:
        """What it holds now."""
        with self._lock:
            return Distribution(tuple(self._counts), self._sum_ms, self._max_ms)


class PartStats:
    """Counts, durations and the last error of one part. Threads may share it.

    Args:
        own: the part's own ``stats``, or None; what it raises is left out.
    """

    def __init__(self, own: Callable[[], Mapping[str, Any]] | None = None) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._histograms: dict[str, Histogram] = {}
        self._own = own
        self.state = ""
        self.last_error = ""

    def count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[name] += amount

    def error(self, error: BaseException) -> None:
        """Counts an error and keeps what it said, without what a URL may hold of passwords."""
        text = _USERINFO.sub("", f"{type(error).__name__}: {error}")[:_LONGEST_ERROR]
        with self._lock:
            self._counts["errors"] += 1
            self.last_error = text

    def time(self, stage: str, value_ms: float) -> None:
        """Counts a duration."""
        self.histogram(stage).add(value_ms)

    def histogram(self, stage: str) -> Histogram:
        with self._lock:
            return self._histograms.setdefault(stage, Histogram())

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def distributions(self) -> dict[str, Distribution]:
        with self._lock:
            histograms = dict(self._histograms)
        return {stage: histogram.read() for stage, histogram in histograms.items()}

    def own(self) -> dict[str, Any]:
        """What the part says of itself."""
        if self._own is None:
            return {}
        try:
            return dict(self._own())
        except Exception:  # a plugin's own code: numbers are not worth a failure
            return {}

    def read(self) -> dict[str, Any]:
        """All of it, ready for JSON where the part's own is."""
        read: dict[str, Any] = {"state": self.state} if self.state else {}
        read |= self.counts()
        distributions = self.distributions()
        if distributions:
            read["ms"] = {stage: one.summary() for stage, one in distributions.items()}
        if self.last_error:
            read["last_error"] = self.last_error
        own = self.own()
        return read | ({"own": own} if own else {})


class Stats(PartStats):
    """Of the loop itself, and of all parts by role and name.

    Args:
        clock_ns: the monotonic clock.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__()
        self._clock_ns = clock_ns
        self._began_ns = clock_ns()
        self._frames_ns: deque[int] = deque(maxlen=_FPS_FRAMES)
        self._parts: dict[tuple[str, str], PartStats] = {}

    def part(
        self, role: str, name: str, own: Callable[[], Mapping[str, Any]] | None = None
    ) -> PartStats:
        """The stats of a part, made when they are first asked for."""
        with self._lock:
            return self._parts.setdefault((role, name), PartStats(own))

    def parts(self) -> dict[tuple[str, str], PartStats]:
        with self._lock:
            return dict(self._parts)

    def frame(self) -> None:
        """Counts a frame whose result has been handed over."""
        with self._lock:
            self._counts["frames"] += 1
            self._frames_ns.append(self._clock_ns())

    @property
    def fps(self) -> float:
        """Frames a second over the last frames; it falls while none come."""
        with self._lock:
            stamps, now_ns = list(self._frames_ns), self._clock_ns()
        if len(stamps) < 2:
            return 0.0
        interval_ns = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
        overdue_ns = max(interval_ns, now_ns - stamps[-1])
        span_ns = stamps[-1] - stamps[0] + overdue_ns - interval_ns
        return (len(stamps) - 1) * 1e9 / span_ns if span_ns > 0 else 0.0

    @property
    def uptime_s(self) -> float:
        return (self._clock_ns() - self._began_ns) / 1e9

    def read(self) -> dict[str, Any]:
        """All of it: of the loop, and under each role's name of its parts."""
        read = super().read()
        read |= {"uptime_s": round(self.uptime_s, 3), "fps": round(self.fps, 2)}
        for (role, name), part in self.parts().items():
            read.setdefault(role, {})[name] = part.read()
        return read
