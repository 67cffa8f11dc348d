"""The prompts of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.mask import Result
from picosam_sdk.recording import Recording
from picosam_sdk.types import Gaze, Prompt, Roi

__all__ = ["ReplaySource", "ReplaySourceConfig"]


@dataclass(frozen=True, slots=True)
class ReplaySourceConfig:
    """``kind = "replay"``.

    Args:
        path: folder of the recording.
        loop: begins again at the end; set it like that of the camera.
    """

    path: Path
    loop: bool = False


class ReplaySource(RoiSource):
    """Prompts frame n with what frame n of the recording was prompted with.

    Which frame is next it learns from the results that it is shown, so it keeps step with the
    camera, or the backend, "replay", and prompts a live camera with the recorded sequence.
    """

    name: ClassVar[str] = "replay"
    Config: ClassVar[type] = ReplaySourceConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._recording: Recording | None = None
        self._next = 0

    def open(self) -> None:
        self._recording = Recording(self.config.path)
        self._next = 0

    def close(self) -> None:
        self._recording = None

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        if self._recording is None or not self._recording.entries:
            return None
        entries = self._recording.entries
        number = self._next % len(entries) if self.config.loop else self._next
        if number >= len(entries):
            return None
        entry = entries[number]
        if entry.prompt is None or not entry.prompt.overlaps_view():
            return None
        # As old as it was when the frame was exposed, which is about now.
        age_ns = entry.roi_age_ns
        since_ns = 0 if age_ns is None else min(now_ns, now_ns - age_ns)
        gaze = entry.gaze
        if gaze is not None:
            when_ns = min(now_ns, now_ns + gaze.timestamp_ns)
            gaze = Gaze(gaze.x, gaze.y, when_ns, gaze.confidence, gaze.worn)
        return Prompt(roi=entry.prompt, timestamp_ns=since_ns, region=entry.region, gaze=gaze)

    def observe(self, result: Result) -> None:
        self._next = result.frame.index + 1
