"""Recorded gaze in place of an eye tracker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from picosam_gaze.source import GazeSource, SourceConfig
from picosam_gaze.sources.inbox import COUNTS
from picosam_gaze.sources.recordings import GazeRecording, load_gaze, recording_file
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

__all__ = ["ReplayConfig", "ReplaySource"]

_PAUSE_NS = 5_000_000
"""Between two laps at least, as between two samples of Neon."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig(SourceConfig):
    """``{kind = "replay", ...}``.

    Args:
        path: the recording, see :func:`picosam_gaze.sources.recordings.load_gaze`.
        pacing: "realtime": as time passes, beginning when it is opened. "step": each call of
            ``samples`` gives the next ``step_s``, for work without a clock; timestamps keep the
            recording's spacing and may lie ahead of the host's clock, ``now_ns`` says where it
            stands.
        speed: of "realtime"; 2 is twice as fast.
        step_s: of "step".
        loop: whether it starts again at the end.
        keep_blinks: whether gaze during a blink counts; otherwise the eye is lost meanwhile.
    """

    path: Path
    pacing: Literal["realtime", "step"] = "realtime"
    speed: float = 1.0
    step_s: float = 1 / 30
    loop: bool = False
    keep_blinks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.speed <= 1000, "speed", "a factor, up to 1000", self.speed)
        check(0 < self.step_s <= 3600, "step_s", "seconds, up to 3600", self.step_s)


class ReplaySource(GazeSource):
    """Replays a recording. It has no thread: what is due is found when it is asked for."""

    name: ClassVar[str] = "replay"
    Config: ClassVar[type] = ReplayConfig

    def __init__(self, config: ReplayConfig, context: Context) -> None:
        super().__init__(config, context)
        self._recording: GazeRecording | None = None
        self._opened_ns = self._stepped_ns = 0
        self._next = 0
        self._laps = 0
        self._last_ns: int | None = None
        self._counts: Counter[str] = Counter()

    def open(self) -> None:
        config = self.config
        recording = load_gaze(config.path, config.view_px, keep_blinks=config.keep_blinks)
        self._counts = Counter(malformed=recording.malformed)
        self._opened_ns, self._stepped_ns = time.monotonic_ns(), 0
        self._next = int(recording.times_ns.searchsorted(recording.start_ns))
        self._laps, self._last_ns = 0, None
        self._recording = recording

    def close(self) -> None:
        self._recording = None

    @property
    def view_px(self) -> tuple[int, int] | None:
        recording = self._recording
        return super().view_px if recording is None else recording.view_px

    @property
    def in_view(self) -> bool:
        """Gaze in recordings of ours was mapped before it was recorded."""
        file = recording_file(self.config.path)
        return file is not None and file.suffix != ".csv"

    @property
    def clock_ns(self) -> int | None:
        return self.now_ns if self.config.pacing == "step" else None

    @property
    def now_ns(self) -> int:
        """Where it stands, on the clock of its timestamps."""
        if self.config.pacing == "step":
            return self._opened_ns + self._stepped_ns
        return time.monotonic_ns()

    @property
    def ended(self) -> bool:
        """Whether all has been replayed."""
        recording = self._recording
        return recording is None or (self._next >= len(recording) and not self.config.loop)

    def samples(self) -> list[Gaze]:
        recording, config = self._recording, self.config
        if recording is None:
            return []
        if config.pacing == "step":
            self._stepped_ns += int(config.step_s * 1e9)
        now_ns = self.now_ns
        samples: list[Gaze] = []
        while not self.ended:
            due_ns = self._due_ns(recording)
            if due_ns > now_ns:
                break
            samples.append(recording.gaze(self._next, due_ns))
            self._last_ns = due_ns
            self._next += 1
            if self._next == len(recording) and config.loop:
                self._next = int(recording.times_ns.searchsorted(recording.start_ns))
                self._laps += 1
        self._counts["received"] += len(samples)
        self._counts["dropped"] += max(0, len(samples) - config.buffer)
        return samples[-config.buffer :]

    @property
    def connected(self) -> bool:
        """False before the first sample, while the recording has a gap, and at its end."""
        age_s = self._age_s()
        return not self.ended and age_s is not None and age_s <= self.config.timeout_s

    @property
    def stats(self) -> Mapping[str, Any]:
        return {
            **dict.fromkeys(COUNTS, 0),
            **self._counts,
            "connected": self.connected,
            "ended": self.ended,
            "laps": self._laps,
            "last_sample_age_s": self._age_s(),
        }

    def _due_ns(self, recording: GazeRecording) -> int:
        """When the next sample is due. A lap ends one typical pause after its last sample."""
        times = recording.times_ns
        since_ns = int(times[self._next]) - recording.start_ns
        if self._laps:
            span_ns = int(times[-1]) - recording.start_ns
            pause_ns = max(_PAUSE_NS, span_ns // max(1, len(times) - 1))
            since_ns += self._laps * (span_ns + pause_ns)
        speed = self.config.speed if self.config.pacing == "realtime" else 1.0
        return self._opened_ns + int(since_ns / speed)

    def _age_s(self) -> float | None:
        return None if self._last_ns is None else max(0, self.now_ns - self._last_ns) / 1e9
