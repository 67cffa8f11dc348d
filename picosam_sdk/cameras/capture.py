"""What the cameras on OpenCV have in common: opening, checking, and keeping the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from picosam_sdk.errors import CameraError
from picosam_sdk.types import Frame, ImageArray

__all__ = ["MAX_FRAME_PX", "NewestFrame", "check_frame", "open_capture", "rgb"]

MAX_FRAME_PX = 67_108_864
"""The largest frame that is taken, 8192 x 8192: twice what 8K video has."""

_JOIN_S = 1.0
"""How long closing waits for a driver or a network to give the thread back."""


def open_capture(
    source: str | int,
    api: str,
    name: str,
    timeout_s: float,
    settings: Mapping[str, float] | None = None,
) -> Any:
    """Opens a cv2.VideoCapture.

    Args:
        source: what OpenCV is to open.
        api: its backend that is to do it and no other, such as "CAP_FFMPEG".
        name: what errors call the source; it holds no secret.
        timeout_s: after how long opening or reading fails, where the backend knows limits.
        settings: properties to set, such as {"CAP_PROP_FPS": 30}.

    Raises:
        CameraError: it cannot be opened, or its pictures are too large.
    """
    import cv2

    timeout_ms = int(timeout_s * 1000)
    limits = []
    if api == "CAP_FFMPEG":
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms,
                  cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]  # fmt: skip
    capture = cv2.VideoCapture(source, getattr(cv2, api), limits)
    if not capture.isOpened():
        capture.release()
        raise CameraError(
            f"expected to open {name}, got nothing that can be read",
            hint="Check that it is there, switched on, and not in use elsewhere.",
        )
    for key, value in (settings or {}).items():
        capture.set(getattr(cv2, key), value)
    try:
        check_frame(
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            name,
        )
    except CameraError:
        capture.release()
        raise
    return capture


def check_frame(width_px: int, height_px: int, name: str) -> None:
    """Refuses pictures of a size that no camera has.

    Raises:
        CameraError: it has more than MAX_FRAME_PX.
    """
    if width_px * height_px > MAX_FRAME_PX:
        raise CameraError(
            f"expected pictures of at most {MAX_FRAME_PX} pixels, "
            f"got {width_px} x {height_px} from {name}",
            hint="Set a smaller size in the camera.",
        )


def rgb(bgr: Any) -> ImageArray:
    """A picture of its own in RGB of what OpenCV read: BGR, or gray."""
    import cv2

    code = cv2.COLOR_GRAY2RGB if bgr.ndim == 2 or bgr.shape[2] == 1 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(bgr, code)


class NewestFrame:
    """Reads a camera in a thread of its own as fast as frames come, and keeps the newest.

    So a frame is never older than the camera made it, however slow its reader is; the numbers
    of frames that were not asked for in time are left out.

    Args:
        open_it: opens the capture; called in that thread.
        name: what errors call it.
        timestamp_ns: when the frame just read was exposed, by the capture; None if it cannot
            tell. Then it is the time at which the frame arrived.
    """

    def __init__(
        self,
        open_it: Callable[[], Any],
        name: str,
        timestamp_ns: Callable[[Any], int | None] = lambda _: None,
    ) -> None:
        self._open_it, self._name, self._timestamp_ns = open_it, name, timestamp_ns
        self._changed = threading.Condition()
        self._opened = self._closed = False
        self._failure: CameraError | None = None
        self._newest: tuple[Any, int, int] | None = None
        self._count = 0
        self._given = 0
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Frames that came, and those of them that nobody asked for in time."""
        with self._changed:
            return {"captured": self._count, "skipped": self._count - self._given}

    def open(self, timeout_s: float) -> None:
        """Starts reading.

        Raises:
            CameraError: it cannot be opened, or not in time.
        """
        self._thread.start()
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._opened or self._failure or self._closed, timeout_s
            )
            failure = self._failure
        if failure is not None or not done or self._closed:
            self.close()
            raise failure or CameraError(
                f"expected {self._name} to open within {timeout_s:g} s, and it did not",
                hint="Check that it can be reached, or allow more time.",
            )

    def read(self, timeout_s: float) -> Frame:
        """The newest frame that was not given yet.

        Raises:
            CameraError: none came in time, or the camera is gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._failure or self._closed, timeout_s)
            newest, self._newest = self._newest, None
            if newest is not None and not self._closed:
                self._given += 1
            elif self._failure is not None:
                raise self._failure
            else:
                raise CameraError(
                    f"expected a frame of {self._name} within {timeout_s:g} s, got none",
                    hint="Check its plug, its network and whether it is in use elsewhere.",
                )
        picture, timestamp_ns, index = newest
        return Frame(rgb(picture), timestamp_ns, index)

    def close(self) -> None:
        """Stops reading. A driver that hangs is left behind, and frees itself when it wakes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            capture = self._open_it()
        except Exception as error:
            failure = error if isinstance(error, CameraError) else CameraError(
                f"expected to open {self._name}, got {type(error).__name__}",
                hint="Check that OpenCV works on this machine.",
            )  # fmt: skip
            self._fail(failure)
            return
        try:
            with self._changed:
                self._opened = True
                self._changed.notify_all()
            while not self._closed:
                self._take(capture)
        except CameraError as error:
            self._fail(error)
        except Exception as error:
            self._fail(CameraError(
                f"expected a frame of {self._name}, got {type(error).__name__}",
                hint="Check the camera; it is opened again.",
            ))  # fmt: skip
        finally:
            capture.release()

    def _take(self, capture: Any) -> None:
        ok, picture = capture.read()
        now_ns = time.monotonic_ns()
        if not ok or picture is None:
            raise CameraError(
                f"expected the next frame of {self._name}, but it ended or was lost",
                hint="Check its plug and its network.",
            )
        check_frame(picture.shape[1], picture.shape[0], self._name)
        exposed_ns = self._timestamp_ns(capture)
        with self._changed:
            index, self._count = self._count, self._count + 1
            self._newest = (picture, now_ns if exposed_ns is None else exposed_ns, index)
            self._changed.notify_all()

    def _fail(self, failure: CameraError) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()
