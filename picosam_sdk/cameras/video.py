"""A video file as a camera."""

from __future__ import annotations

import math
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.cameras.capture import check_frame, open_capture, rgb
from picosam_sdk.errors import CameraError
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.pacing import Pacer
from picosam_sdk.types import Frame, ImageArray

__all__ = ["VideoCamera", "VideoConfig"]

_READ_TIMEOUT_S = 30.0
_LONGEST_S = 10.0
"""The longest time between two frames that a file is believed."""


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """``kind = "video"``.

    Args:
        path: the file.
        realtime: frames come as they were recorded; else as fast as they are read.
        loop: begins again at the end.
    """

    path: Path
    realtime: bool = True
    loop: bool = False


class VideoCamera(Camera):
    """Gives every frame of a file, in order."""

    name: ClassVar[str] = "video"
    Config: ClassVar[type] = VideoConfig
    live: ClassVar[bool] = False

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._capture: Any = None
        self._pacer = Pacer(0)
        self._next: ImageArray | None = None
        self._period_s = self._last_s = 0.0
        self._index = 0

    def open(self) -> None:
        self.close()
        self._capture = self._start()
        self._pacer = Pacer(0)
        self._index = 0
        self._next = self._decode()
        if self._next is None:
            self.close()
            raise CameraError(
                f"expected frames in the video {self.config.path}, got none",
                hint="Check that the file is whole and that a player shows it.",
            )

    def read(self, timeout_s: float) -> Frame | None:
        if self._capture is None:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        if self._next is None:
            self._next = self._decode()
            if self._next is None:
                self._next = self._again()
            if self._next is None:
                return None
        if self.config.realtime:
            self._pacer.wait(timeout_s, self._period_s)
        frame = Frame(self._next, time.monotonic_ns(), self._index)
        self._next, self._index = None, self._index + 1
        return frame

    def close(self) -> None:
        self._pacer.close()
        self._next = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _start(self) -> Any:
        path: Path = self.config.path
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except OSError as error:
            raise CameraError(
                f"expected a video at {path}, got: {error.strerror}",
                hint="Check the path; relative ones start at the configuration's folder.",
            ) from error
        if not regular:
            raise CameraError(
                f"expected a video file at {path}, got something that is no regular file",
                hint="Use the camera 'photos' for a folder, 'webcam' for a device.",
            )
        # From its root, a name cannot be taken for a protocol or a pattern.
        source = str(path.absolute())
        self._last_s = -1.0
        return open_capture(source, "CAP_FFMPEG", f"the video {path}", _READ_TIMEOUT_S)

    def _decode(self) -> ImageArray | None:
        """The next picture, and how long after the one before it is due; None at the end."""
        import cv2

        ok, picture = self._capture.read()
        if not ok or picture is None:
            return None
        check_frame(picture.shape[1], picture.shape[0], f"the video {self.config.path}")
        at_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        passed_s = at_s - self._last_s
        if self._last_s < 0 or not 0 < passed_s <= _LONGEST_S:  # the file does not tell
            fps = self._capture.get(cv2.CAP_PROP_FPS)
            passed_s = 1 / fps if math.isfinite(fps) and 1 <= fps <= 1000 else 1 / 30
        self._period_s = passed_s
        self._last_s = at_s if math.isfinite(at_s) and at_s >= 0 else -1.0
        return rgb(picture)

    def _again(self) -> ImageArray | None:
        """The first picture again, if it is to begin again."""
        if not self.config.loop:
            return None
        self._capture.release()
        self._capture = self._start()
        return self._decode()
