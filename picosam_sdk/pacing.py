"""Waiting until the next frame of something that has no clock of its own."""

from __future__ import annotations

import threading
import time

from picosam_sdk.errors import CameraError

__all__ = ["Pacer"]


class Pacer:
    """Lets frames through at a steady rate; one that comes late does not make the next hurry.

    Args:
        fps: frames a second; 0 for as fast as they are asked for.
    """

    def __init__(self, fps: float) -> None:
        self._period_s = 1 / fps if fps > 0 else 0.0
        self._due_s = 0.0
        self._closed = threading.Event()

    def wait(self, timeout_s: float, period_s: float | None = None) -> None:
        """Returns when the next frame is due.

        Args:
            timeout_s: the longest that may pass.
            period_s: time since the frame before, where frames tell it themselves.

        Raises:
            CameraError: it is not due within that time, and still to come; or close() was called.
        """
        period_s = self._period_s if period_s is None else period_s
        now_s = time.monotonic()
        due_s = max(self._due_s + period_s, now_s - period_s) if self._due_s else now_s
        rest_s = due_s - now_s
        if rest_s > timeout_s:
            self._closed.wait(max(0.0, timeout_s))
            raise CameraError(
                f"expected a frame within {timeout_s:g} s, but the next is due in {rest_s:.2f} s",
                hint="Set a higher rate for this camera, or wait longer.",
            )
        if rest_s > 0 and self._closed.wait(rest_s):
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        self._due_s = due_s

    def close(self) -> None:
        """Ends a wait that is going on."""
        self._closed.set()
