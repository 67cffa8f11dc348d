"""I-DT, fixations by a threshold of dispersion, in a causal form.

Salvucci and Goldberg: "Identifying Fixations and Saccades in Eye-Tracking Protocols", ETRA 2000:
samples belong to a fixation while the sum of their horizontal and their vertical range is at most
1 degree, for at least 100 ms. The window grows from its first sample on, so the algorithm looks
only back as it is.

The ranges grow with noise, and with every sample that is taken of it. So each sample may be
averaged with those shortly before it; the published algorithm does not.
"""

from __future__ import annotations

from collections import deque

from picosam_gaze.filters.detector import Detector, Sample, Still, mean_place

__all__ = ["DispersionDetector"]


class DispersionDetector(Detector):
    """The eye is still while its samples lie close together.

    Args:
        dispersion_deg: how far apart, horizontally and vertically together.
        min_fixation_ms: a window that has lasted so long is a fixation; it ends as a whole with
            the first sample that does not fit. A shorter one only loses its oldest samples.
        average_ms: each sample is averaged with those up to so long before it; 0 for none.
    """

    def __init__(
        self, dispersion_deg: float = 1.0, min_fixation_ms: float = 100.0, average_ms: float = 0.0
    ) -> None:
        self._dispersion_deg = dispersion_deg
        self._min_ns = round(min_fixation_ms * 1e6)
        self._average_ns = round(average_ms * 1e6)
        self._judged_ns = 0
        self._raw: deque[Sample] = deque()
        self._window: deque[Sample] = deque()
        self._sum = (0.0, 0.0)
        self._ranges: tuple[float, float, float, float] | None = None

    def push(self, time_ns: int, x_deg: float, y_deg: float) -> Still | None:
        self._raw.append((time_ns, x_deg, y_deg))
        # A microsecond of tolerance, for timestamps that are rounded.
        while self._raw[0][0] < time_ns - self._average_ns - 1000:
            self._raw.popleft()
        return self._push(time_ns, *mean_place(self._raw))

    def _push(self, time_ns: int, x_deg: float, y_deg: float) -> Still | None:
        window = self._window
        lasted_ns = window[-1][0] - window[0][0] if window else 0
        window.append((time_ns, x_deg, y_deg))
        self._judged_ns = time_ns
        self._stretch(x_deg, y_deg)
        if self._dispersion() > self._dispersion_deg:
            if lasted_ns >= self._min_ns:
                self._restart([window[-1]])
            else:
                self._shorten()
        else:
            self._sum = (self._sum[0] + x_deg, self._sum[1] + y_deg)
        count = len(self._window)
        if count < 2:
            return None
        return Still(self._window[0][0], self._sum[0] / count, self._sum[1] / count)

    @property
    def judged_ns(self) -> int:
        return self._judged_ns

    def reset(self) -> None:
        self._judged_ns = 0
        self._raw.clear()
        self._restart([])

    def _restart(self, samples: list[Sample]) -> None:
        self._window = deque(samples)
        xs, ys = [sample[1] for sample in samples], [sample[2] for sample in samples]
        self._sum = (sum(xs), sum(ys))
        self._ranges = (min(xs), max(xs), min(ys), max(ys)) if samples else None

    def _shorten(self) -> None:
        """Drops the oldest samples until the rest fits; the window is short, at most 100 ms."""
        samples = list(self._window)
        while True:
            samples = samples[1:]
            self._restart(samples)
            if self._dispersion() <= self._dispersion_deg:
                return

    def _stretch(self, x: float, y: float) -> None:
        if self._ranges is None:
            self._ranges = (x, x, y, y)
            return
        x0, x1, y0, y1 = self._ranges
        self._ranges = (min(x0, x), max(x1, x), min(y0, y), max(y1, y))

    def _dispersion(self) -> float:
        assert self._ranges is not None
        x0, x1, y0, y1 = self._ranges
        return (x1 - x0) + (y1 - y0)
