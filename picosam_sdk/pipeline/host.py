"""A camera whose pictures a backend on the host segments."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from picosam_sdk.errors import BackendError, CameraError, InputError
from picosam_sdk.interfaces import Camera
from picosam_sdk.mask import Mask
from picosam_sdk.pipeline.look import Ask, Ended, Eye, Look, Watch, recover
from picosam_sdk.retrying import Backoff
from picosam_sdk.segmenter import Segmenter
from picosam_sdk.stats import PartStats, Stats
from picosam_sdk.types import Frame, ImageArray, Prompt

__all__ = ["HostEye"]

_LIVE_TIMEOUT_S = 5.0
_PATIENT_TIMEOUT_S = 600.0
"""For cameras that have a pace of their own, such as a photograph every five minutes."""


class HostEye(Eye):
    """Reads a camera, and segments what it gives.

    Args:
        camera: not open yet.
        make_segmenter: opens the backend.
        stats: the loop's; "camera" and "backend" are counted apart.
        watch: see there.
        camera_name: of its stats.
    """

    def __init__(
        self,
        camera: Camera,
        make_segmenter: Callable[[], Segmenter],
        stats: Stats,
        watch: Watch,
        camera_name: str = "camera",
    ) -> None:
        self._camera, self._make_segmenter = camera, make_segmenter
        self._stats, self._watch = stats, watch
        self._camera_stats = stats.part("camera", camera_name, lambda: camera.stats)
        self._backend_stats: PartStats | None = None
        self._camera_backoff, self._backend_backoff = Backoff(), Backoff()
        self._segmenter: Segmenter | None = None
        self._timeout_s = _LIVE_TIMEOUT_S if camera.live else _PATIENT_TIMEOUT_S

    def open(self) -> None:
        self._open_segmenter()
        self._camera.open()
        self._camera_stats.state = "ready"

    def look(self, ask: Ask) -> Look | None:
        began_ns = time.perf_counter_ns()
        frame = self._read()
        if frame is None:
            return None
        camera_ms = (time.perf_counter_ns() - began_ns) / 1e6
        self._stats.time("camera", camera_ms)
        prompt = ask()
        if prompt is None or frame.image is None:
            return Look(frame, timings_ms={"camera": camera_ms})
        began_ns = time.perf_counter_ns()
        mask, timings_ms = self._segment(frame.image, prompt)
        if mask is not None:
            self._stats.time("inference", (time.perf_counter_ns() - began_ns) / 1e6)
        roi = prompt.roi
        if roi is None and mask is not None:
            roi = mask.prompt
        return Look(frame, mask, roi, prompt, {"camera": camera_ms, **timings_ms})

    def close(self) -> None:
        with suppress(Exception):  # a plugin's own code, and nothing is left to do
            self._camera.close()
        if self._segmenter is not None:
            segmenter, self._segmenter = self._segmenter, None
            segmenter.close()

    def _read(self) -> Frame | None:
        """A frame with an image; None if the camera had to be opened again."""
        self._watch.expect(self._timeout_s + 30)
        try:
            frame = self._camera.read(self._timeout_s)
            if frame is not None and frame.image is None:
                raise CameraError(
                    f"expected a picture of the camera '{self._camera.name}', got a frame without",
                    hint="Tell the author of that camera's plugin.",
                )
        except Exception as error:  # a plugin's own code: whatever it raises, we go on
            if self._watch.wait(0):
                raise Ended from error
            if not self._camera.live:  # opened again, it would begin again
                self._camera_stats.error(error)
                raise
            recover("camera", error, self._camera.close, self._camera.open,
                    self._camera_stats, self._camera_backoff, self._watch)  # fmt: skip
            return None
        if frame is None:
            raise Ended
        self._camera_stats.state = "ready"
        self._camera_stats.count("frames")
        self._camera_backoff.reset()
        return frame

    def _segment(self, image: ImageArray, prompt: Prompt) -> tuple[Mask | None, dict[str, float]]:
        assert self._segmenter is not None
        assert self._backend_stats is not None
        try:
            if prompt.roi is not None:
                mask = self._segmenter.segment(image, prompt.roi)
            else:
                assert prompt.point is not None
                x, y = prompt.point
                height_px, width_px = image.shape[:2]
                mask = self._segmenter.segment(image, point=(x * width_px, y * height_px))
        except InputError as error:  # the prompt or the picture cannot be used
            self._backend_stats.error(error)
            return None, {}
        except Exception as error:
            recover("backend", error, self._close_segmenter, self._open_segmenter,
                    self._backend_stats, self._backend_backoff, self._watch)  # fmt: skip
            return None, {}
        self._backend_stats.state = "ready"
        self._backend_backoff.reset()
        return mask, self._segmenter.timings_ms

    def _open_segmenter(self) -> None:
        self._segmenter = self._make_segmenter()
        backend = self._segmenter.backend
        self._backend_stats = self._stats.part("backend", backend.name, dict)

    def _close_segmenter(self) -> None:
        if self._segmenter is not None:
            segmenter, self._segmenter = self._segmenter, None
            with suppress(BackendError):
                segmenter.close()
