"""The sensor backend on an emulated camera: every example runs on a laptop."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from picosam_sdk.backends.imx500.backend import Imx500Backend

if TYPE_CHECKING:
    from picosam_sdk.testing.imx500 import EmulatedImx500

__all__ = ["EmulatedImx500Backend"]


class EmulatedImx500Backend(Imx500Backend):
    """The same backend, the real picamera2, and under it a camera that is not there.

    Args:
        model: an ONNX model, its card beside it; None for the one that ships.
        scene: what the camera looks at: a path of a photo or video, a picture, a function of
            the frame's number, or None for a sample photograph. A picture of another shape than
            the sensor's (4:3) is shown whole, with black bars.
        device: an :class:`~picosam_sdk.testing.imx500.EmulatedImx500` of your own, instead.
        fps: frames a second; None for as many as can be made.
        upload_s: how long the emulated upload takes.
        frames, mode, size_px, view, settle_frames, settling, progress, frame_timeout_s,
        inference_frames, restarts, backoff_s, input_tensor, upload_timeout_s,
        stall_timeout_s: as for the real camera.

    Raises:
        UnavailableError: picamera2 is missing, or an emulated camera is in use already.
    """

    name: ClassVar[str] = "imx500-emulated"

    def __init__(
        self,
        model: str | Path | None = None,
        scene: Any = None,
        device: EmulatedImx500 | None = None,
        fps: float | None = 30.0,
        upload_s: float = 0.5,
        frames: bool = True,
        mode: str = "binned",
        size_px: tuple[int, int] = (1014, 760),
        view: tuple[int, int, int, int] | None = None,
        settle_frames: int = 4,
        settling: str = "drop",
        progress: bool | Callable[[int, int], None] = False,
        frame_timeout_s: float = 2.0,
        inference_frames: int = 90,
        restarts: int = 3,
        backoff_s: float = 0.5,
        input_tensor: bool = False,
        upload_timeout_s: float = 300.0,
        stall_timeout_s: float = 30.0,
    ) -> None:
        from picosam_sdk.testing.imx500 import EmulatedImx500

        self.device = device or EmulatedImx500(scene, fps=fps, upload_s=upload_s)
        network = self.device.rpk(model)
        self.device.plug()
        try:
            super().__init__(
                network, frames=frames, mode=mode, fps=None, size_px=size_px, view=view,
                settle_frames=settle_frames, settling=settling, progress=progress,
                frame_timeout_s=frame_timeout_s, inference_frames=inference_frames,
                restarts=restarts, backoff_s=backoff_s, input_tensor=input_tensor,
                upload_timeout_s=upload_timeout_s, stall_timeout_s=stall_timeout_s,
            )  # fmt: skip
        except BaseException:
            self.device.unplug()
            raise
        self._plugged = True

    @classmethod
    def unavailable(cls) -> str:
        return "" if find_spec("picamera2") else "the package picamera2 is not installed"

    def close(self) -> None:
        super().close()
        if self._plugged:
            self._plugged = False
            self.device.unplug()
