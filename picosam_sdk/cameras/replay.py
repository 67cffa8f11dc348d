"""The pictures of a recording as a camera."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.errors import CameraError, InputError
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.pacing import Pacer
from picosam_sdk.recording import Entry, Recording
from picosam_sdk.types import Frame

__all__ = ["ReplayCamera", "ReplayCameraConfig"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayCameraConfig:
    """``kind = "replay"``.

    Args:
        path: folder of the recording.
        realtime: frames come as they were recorded; else as fast as they are read.
        loop: begins again at the end.
    """

    path: Path
    realtime: bool = True
    loop: bool = False


class ReplayCamera(Camera):
    """Gives the recorded pictures again, in order. A frame's number is that of its line.

    A picture that cannot be read is left out and counted.
    """

    name: ClassVar[str] = "replay"
    Config: ClassVar[type] = ReplayCameraConfig
    live: ClassVar[bool] = False

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._entries: list[Entry] = []
        self._lines = 0
        self._next = 0
        self._round = 0
        self._last_ns: int | None = None
        self._waiting: tuple[Frame, float] | None = None
        self._unreadable = 0
        self._pacer = Pacer(0)

    def open(self) -> None:
        self.close()
        try:
            recording = Recording(self.config.path)
        except InputError as error:
            raise CameraError(str(error), hint=error.hint) from error
        self._entries = [entry for entry in recording.entries if entry.image is not None]
        self._lines = len(recording.entries)
        self._next = self._round = self._unreadable = 0
        self._last_ns = self._waiting = None
        self._pacer = Pacer(0)
        if not self._entries:
            raise CameraError(
                f"expected pictures in the recording {self.config.path}, got none in "
                f"{self._lines} results",
                hint="Record with --frames; or leave out [camera] and set "
                "[segmenter] backend = 'replay' to see its masks again.",
            )

    def read(self, timeout_s: float) -> Frame | None:
        if not self._entries:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        if self._waiting is None:
            self._waiting = self._load()
            if self._waiting is None:
                return None
        frame, period_s = self._waiting
        if self.config.realtime:
            self._pacer.wait(timeout_s, period_s)
        self._waiting = None
        return Frame(frame.image, time.monotonic_ns(), frame.index)

    def close(self) -> None:
        self._pacer.close()
        self._entries = []
        self._waiting = None

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"frames": len(self._entries), "unreadable": self._unreadable}

    def _load(self) -> tuple[Frame, float] | None:
        """The next frame that can be read, and how long after the one before it is due."""
        unread = 0
        while unread < len(self._entries):
            if self._next == len(self._entries):
                if not self.config.loop:
                    return None
                self._next, self._round, self._last_ns = 0, self._round + 1, None
            entry = self._entries[self._next]
            self._next += 1
            try:
                image = load_image(entry.image)
            except InputError as error:
                unread += 1
                self._unreadable += 1
                _LOG.warning("left out of the replay: %s", error)
                continue
            period_s = 0.0 if self._last_ns is None else (entry.t_ns - self._last_ns) / 1e9
            self._last_ns = entry.t_ns
            return Frame(image, 0, entry.number + self._round * self._lines), max(0.0, period_s)
        if self._next == len(self._entries) and not self.config.loop:
            return None
        raise CameraError(
            f"expected pictures in the recording {self.config.path}, but none can be read",
            hint="Check the files in its folder 'frames'.",
        )
