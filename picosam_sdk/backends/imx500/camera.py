"""One session with the camera: picamera2's real helper and camera class, opened and closed.

What picamera2 does in these classes, and what is done about it here:

- The helper must exist before the camera; it sends the network. After a power-off both are made
  anew, so the network is sent again.
- The helper's ``camera_num`` is libcamera's number, which ``Picamera2()`` takes for a place in
  its own sorted list: with two cameras it may open the other one. The place is looked up.
- Without root, and without ``sudo`` installed, reading the progress raises where the helper
  expects a failed command.
- Its event loop dies of any exception in a callback, after which ``stop`` waits for ever: the
  callback lets nothing out, and opening and closing are given a time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picosam_sdk.backends.imx500.grid import SENSOR_BOX
from picosam_sdk.backends.imx500.upload import (
    UploadWatch,
    bar_process,
    progress_kind,
    run_within,
)
from picosam_sdk.errors import BackendError, BackendTimeoutError, ModelError, UnavailableError
from picosam_sdk.types import Box, ImageArray

__all__ = ["Arrival", "CameraOptions", "CameraSession"]

MODES = {"binned": (2028, 1520), "full": (4056, 3040)}
_CLOSE_S = 5.0
_NO_FRAMES_PX = (64, 48)


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a session is opened with; see :class:`~.backend.Imx500Backend`."""

    network: Path
    camera: str
    frames: bool
    mode: str
    fps: float | None
    size_px: tuple[int, int]
    view: Box
    input_tensor: bool
    progress: bool | Callable[[int, int], None]
    upload_timeout_s: float
    stall_timeout_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A frame as it arrived.

    Args:
        metadata: libcamera's, by name.
        timestamp_ns: start of its exposure, monotonic clock.
        picture: makes a copy of the picture, RGB; None where no pictures are streamed.
    """

    metadata: dict[str, Any]
    timestamp_ns: int
    picture: Callable[[], ImageArray] | None


class CameraSession:
    """The camera from open to close.

    Args:
        options: what to open.
        arrived: called with the session and each frame, in the camera's own thread.
    """

    def __init__(
        self, options: CameraOptions, arrived: Callable[[CameraSession, Arrival], None]
    ) -> None:
        self.options = options
        self.helper: Any = None
        self.size_px = options.size_px
        self.callback_errors: list[str] = []
        self._arrived = arrived
        self._camera: Any = None

    def open(self) -> None:
        """Finds the camera, uploads the network and streams.

        Raises:
            UnavailableError: there is no such camera, or another program has it.
            ModelError: the network file is not one.
            BackendTimeoutError: the upload or the start stalled.
            BackendError: the driver refused the network or the start.
        """
        with warnings.catch_warnings():
            # picamera2 0.3 uses what jsonschema and threading deprecate; not for users to see.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._construct()
            self._configure()
            self._start()

    def close(self) -> str:
        """Stops and releases the camera; returns "" or why it had to be left as it is."""
        camera, self._camera, self.helper = self._camera, None, None
        if camera is None:
            return ""
        try:
            return run_within(_CLOSE_S, camera.close, lambda: "")
        except Exception as error:  # a camera that broke while in use breaks in many ways
            return f"{type(error).__name__}: {error}"

    def _construct(self) -> None:
        try:
            from picamera2 import Picamera2
            from picamera2.devices.imx500.imx500 import IMX500
        except ImportError as error:
            raise UnavailableError(
                f"the sensor needs picamera2 and libcamera, which cannot be imported: {error}",
                hint="On Raspberry Pi OS: sudo apt install imx500-all python3-picamera2, and make "
                "the environment with: python3 -m venv --system-site-packages .venv",
            ) from error
        try:
            with contextlib.redirect_stdout(sys.stderr):  # the helper prints
                self.helper = _patient(IMX500)(str(self.options.network), self.options.camera)
        except (OSError, RuntimeError, StopIteration) as error:
            raise _explained(error, self.options.camera) from error
        except Exception as error:  # its readers of the file raise many kinds
            raise ModelError(
                f"expected picamera2 to read {self.options.network}, "
                f"got {type(error).__name__}: {error}",
                hint="Package the network again, or update picamera2.",
            ) from error
        number = self.helper.camera_num
        infos = Picamera2.global_camera_info()
        place = next(place for place, info in enumerate(infos) if info["Num"] == number)
        try:
            self._camera = Picamera2(place)
        except RuntimeError as error:
            raise UnavailableError(
                f"expected to open camera {infos[place]['Id']}, got: {error.__cause__ or error}",
                hint="Close the program that uses the camera (rpicam-*, another Python).",
            ) from error

    def _configure(self) -> None:
        options, camera = self.options, self._camera
        mode = MODES[options.mode]
        if options.frames:
            main: dict[str, Any] = {"size": options.size_px, "format": "BGR888"}
            raw: dict[str, Any] | None = {"size": mode}
        else:  # the image processor needs one output to run; nobody reads it
            main, raw = {"size": _NO_FRAMES_PX, "format": "YUV420"}, None
        duration_us = round(1e6 / options.fps) if options.fps else None
        controls = {"FrameDurationLimits": (duration_us, duration_us)} if duration_us else {}
        camera.configure(
            camera.create_preview_configuration(
                main=main | {"preserve_ar": False},
                raw=raw,
                sensor={"output_size": mode, "bit_depth": 10},
                controls=controls,
                buffer_count=6,
                queue=False,
                display=None,
                encode=None,
            )
        )
        view = options.view
        crop = (view.x0, view.y0, view.width, view.height)
        if "ScalerCrops" in camera.camera_controls:
            camera.set_controls({"ScalerCrops": [crop]})
        elif "ScalerCrop" in camera.camera_controls:
            camera.set_controls({"ScalerCrop": crop})
        if options.input_tensor:
            camera.set_controls({"CnnEnableInputTensor": True})
        if options.frames:
            self.size_px = tuple(camera.camera_configuration()["main"]["size"])
        camera.pre_callback = self._on_request

    def _start(self) -> None:
        progress = self.options.progress
        emulated = hasattr(sys.modules["libcamera"], "picosam_stub")
        bar = progress is True and sys.stderr.isatty() and progress_kind(self.helper) != 0
        report = progress if callable(progress) else _thread_bar() if bar and emulated else None
        watch = UploadWatch(self.helper, report)

        def stuck() -> str:
            if watch.stalled_s < self.options.stall_timeout_s:
                return ""
            done, total = watch.progress
            return f"the upload stalled at {done} of {total} bytes for {watch.stalled_s:.1f} s"

        separate = bar and not emulated and hasattr(self.helper, "imx500_device_id")
        with bar_process(self.helper) if separate else contextlib.nullcontext():
            watch.start()
            try:
                reason = run_within(self.options.upload_timeout_s, self._camera.start, stuck)
            except Exception as error:  # libcamera's errors come as RuntimeError, mostly
                raise BackendError(
                    f"expected the camera to start, got: {error}",
                    hint="See 'dmesg' for imx500 messages; check the camera's cable.",
                ) from error
            finally:
                watch.stop()
        if reason:
            raise BackendTimeoutError(
                f"expected the camera to start, but {reason}",
                hint="See 'dmesg' for imx500 messages; if it stays so, power the Pi off and on.",
            )

    def _on_request(self, request: Any) -> None:
        """picamera2's callback; its event loop would die of an exception."""
        try:
            metadata = request.get_metadata()

            def picture() -> ImageArray:
                array: Any = request.make_array("main")
                return np.ascontiguousarray(array[..., :3])

            self._arrived(
                self,
                Arrival(
                    metadata,
                    int(metadata["SensorTimestamp"]),
                    picture if self.options.frames else None,
                ),
            )
        except Exception as error:
            self.callback_errors.append(f"{type(error).__name__}: {error}")
            del self.callback_errors[:-8]


def scaler_crop(metadata: dict[str, Any]) -> Box | None:
    """The part of the sensor that the stream shows, as libcamera applied it."""
    crop = metadata.get("ScalerCrop")
    if crop is None:
        return None
    x, y, width, height = crop
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(x + width, SENSOR_BOX.x1), min(y + height, SENSOR_BOX.y1)
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _patient(cls: Any) -> Any:
    """The helper class, for which a program that is not there is a command that fails."""

    class PatientImx500(cls):  # type: ignore[misc]
        def _fw_progress_read(self) -> Any:
            try:
                return super()._fw_progress_read()
            except OSError as error:
                raise subprocess.CalledProcessError(1, "fw_progress") from error

        def _fw_progress_chunk_read(self) -> Any:
            try:
                return super()._fw_progress_chunk_read()
            except OSError as error:
                raise subprocess.CalledProcessError(1, "transfer_progress") from error

    return PatientImx500


def _explained(error: Exception, camera: str) -> BackendError:
    """The SDK's error for what the helper raised while it looked for the camera."""
    if isinstance(error, StopIteration) or "dev-node not found" in str(error):
        which = f" '{camera}'" if camera else ""
        return UnavailableError(
            f"expected a Raspberry Pi AI Camera{which}, found none",
            hint="Check 'rpicam-hello --list-cameras' and 'sudo apt install imx500-all'.",
        )
    if isinstance(error, OSError) and "/debug/" in str(error.filename):
        return UnavailableError(
            f"expected picamera2 to do without root, got: {error}",
            hint="This release of picamera2 reads debugfs as root only. Update it: "
            "pip install 'picamera2>=0.3.38'",
        )
    if isinstance(error, PermissionError):
        return UnavailableError(
            f"expected access to the camera's device node, got: {error}",
            hint="Add yourself to the group 'video': sudo usermod -aG video $USER, then log in.",
        )
    return BackendError(
        f"expected the driver to take the network, got: {error}",
        hint="Close other programs that use the camera; see 'dmesg' for imx500 messages.",
    )


def _thread_bar() -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc="Uploading the network", unit="B", unit_scale=True, unit_divisor=1024)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return report
