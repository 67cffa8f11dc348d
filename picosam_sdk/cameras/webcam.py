"""A camera at this machine: USB, or whatever Video4Linux drives."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from picosam_sdk.cameras.capture import NewestFrame, open_capture
from picosam_sdk.config import check
from picosam_sdk.errors import CameraError
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.types import Frame

__all__ = ["WebcamCamera", "WebcamConfig"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebcamConfig:
    """``kind = "webcam"``.

    Args:
        device: its number, 0 for /dev/video0, or its file, such as /dev/v4l/by-id/...
        size_px: width and height to ask for; the camera takes the nearest that it has.
            None leaves it as it is.
        fps: frames a second to ask for; 0 leaves it as it is.
        fourcc: pixel format to ask for, such as "MJPG", which many cameras need for more than
            640 x 480 at 30 frames a second; "" leaves it as it is.
        timeout_s: how long opening may take.
    """

    device: Any = 0
    size_px: tuple[int, int] | None = None
    fps: float = 0.0
    fourcc: str = ""
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        number = isinstance(self.device, int) and not isinstance(self.device, bool)
        file = isinstance(self.device, str) and self.device.startswith("/dev/")
        check(file or (number and 0 <= self.device < 1000), "device",
              "a number from 0, or a file such as '/dev/video0'", self.device)  # fmt: skip
        if self.size_px is not None:
            check(all(1 <= side <= 16384 for side in self.size_px), "size_px",
                  "a width and height in px", self.size_px)  # fmt: skip
        check(0 <= self.fps <= 1000, "fps", "a rate from 0 to 1000", self.fps)
        check(self.fourcc == "" or (len(self.fourcc) == 4 and self.fourcc.isascii()), "fourcc",
              "four letters such as 'MJPG', or none", self.fourcc)  # fmt: skip
        check(0 < self.timeout_s < 1e6, "timeout_s", "seconds above 0", self.timeout_s)

    def settings(self) -> dict[str, float]:
        """What OpenCV is to set, in the order in which drivers want it."""
        wanted: dict[str, float] = {}
        if self.fourcc:
            wanted["CAP_PROP_FOURCC"] = int.from_bytes(self.fourcc.encode("ascii"), "little")
        if self.size_px is not None:
            wanted["CAP_PROP_FRAME_WIDTH"], wanted["CAP_PROP_FRAME_HEIGHT"] = self.size_px
        if self.fps:
            wanted["CAP_PROP_FPS"] = self.fps
        # Frames that wait in the driver are old ones.
        wanted["CAP_PROP_BUFFERSIZE"] = 2
        return wanted


class WebcamCamera(Camera):
    """Gives the newest frame of a webcam."""

    name: ClassVar[str] = "webcam"
    Config: ClassVar[type] = WebcamConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._reader: NewestFrame | None = None
        self._checked_size = False

    def open(self) -> None:
        self.close()
        config, name = self.config, f"the webcam {self.config.device}"
        open_it = partial(open_capture, config.device, "CAP_V4L2", name, config.timeout_s,
                          config.settings())  # fmt: skip
        reader = NewestFrame(open_it, name, exposed_ns)
        reader.open(config.timeout_s)
        self._reader, self._checked_size = reader, False

    def read(self, timeout_s: float) -> Frame | None:
        if self._reader is None:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        frame = self._reader.read(timeout_s)
        if not self._checked_size and frame.image is not None:
            self._checked_size = True
            got = (frame.image.shape[1], frame.image.shape[0])
            if self.config.size_px not in (None, got):
                _LOG.warning("the webcam was asked for %d x %d px and gives %d x %d",
                             *self.config.size_px, *got)  # fmt: skip
        return frame

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def stats(self) -> Mapping[str, Any]:
        reader = self._reader  # read in other threads, too, while it is being closed
        return {} if reader is None else reader.stats


def exposed_ns(capture: Any) -> int | None:
    """When Video4Linux dated the frame just read, on the monotonic clock.

    Drivers date frames on that clock (V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC); what is not within the
    last second is on another one, and not used.
    """
    import cv2

    stamp_ns = int(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
    return stamp_ns if 0 <= time.monotonic_ns() - stamp_ns <= 1_000_000_000 else None
