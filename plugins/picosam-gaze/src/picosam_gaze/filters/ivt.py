"""I-VT, fixations by a threshold of velocity, in a causal form.

Salvucci and Goldberg: "Identifying Fixations and Saccades in Eye-Tracking Protocols", ETRA 2000:
a sample whose angular velocity lies below a threshold belongs to a fixation. Olsen: "The Tobii
I-VT Fixation Filter", Tobii Technology 2012: the threshold of 30 degrees a second, the velocity
over a window of 20 ms, against noise.

Olsen's window is centred on the sample; a live filter does not have the half that is still to
come. Here the window ends with the newest sample, its velocity is the slope of the straight line
through its samples (least squares), and the answer is dated to its middle, to which it belongs.
"""

from __future__ import annotations

import math
from collections import deque

from picosam_gaze.filters.detector import Detector, Sample, Still

__all__ = ["VelocityDetector"]


class VelocityDetector(Detector):
    """The eye is still while it is slower than a threshold.

    Args:
        velocity_deg_s: the threshold.
        window_ms: over which the velocity is taken. It holds two samples at least, so a slow
            tracker's velocity is that between neighbours.
    """

    def __init__(self, velocity_deg_s: float = 30.0, window_ms: float = 20.0) -> None:
        self._velocity_deg_s = velocity_deg_s
        self._window_ns = round(window_ms * 1e6)
        self._samples: deque[Sample] = deque()
        self._judged_ns = 0
        self._since_ns: int | None = None
        self._sum = (0.0, 0.0)
        self._count = 0

    def push(self, time_ns: int, x_deg: float, y_deg: float) -> Still | None:
        samples = self._samples
        samples.append((time_ns, x_deg, y_deg))
        # A microsecond of tolerance: a window of 20 ms holds five samples of 200 Hz, always.
        oldest_ns = time_ns - self._window_ns - 1000
        while len(samples) > 2 and samples[0][0] < oldest_ns:
            samples.popleft()
        self._judged_ns = (samples[0][0] + time_ns) // 2
        if len(samples) < 2 or _speed(samples) >= self._velocity_deg_s:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns, self._sum, self._count = self._judged_ns, (0.0, 0.0), 0
        self._sum = (self._sum[0] + x_deg, self._sum[1] + y_deg)
        self._count += 1
        return Still(self._since_ns, self._sum[0] / self._count, self._sum[1] / self._count)

    @property
    def judged_ns(self) -> int:
        return self._judged_ns

    def reset(self) -> None:
        self._samples.clear()
        self._since_ns = None


def _speed(samples: deque[Sample]) -> float:
    """Degrees a second: the slope of the line through the samples."""
    start_ns = samples[0][0]
    times_s = [(time_ns - start_ns) / 1e9 for time_ns, _, _ in samples]
    mean_s = sum(times_s) / len(times_s)
    below = along_x = along_y = 0.0
    for time_s, (_, x_deg, y_deg) in zip(times_s, samples, strict=True):
        lever = time_s - mean_s
        below += lever * lever
        along_x += lever * x_deg
        along_y += lever * y_deg
    return math.hypot(along_x, along_y) / below
