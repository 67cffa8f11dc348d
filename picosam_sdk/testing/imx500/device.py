"""The emulated camera as a user holds it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

from picosam_sdk.modelcard import DEFAULT_MODEL
from picosam_sdk.testing.imx500 import install
from picosam_sdk.testing.imx500.driver import Driver
from picosam_sdk.testing.imx500.faults import Faults
from picosam_sdk.testing.imx500.libcamera_camera import Camera
from picosam_sdk.testing.imx500.rpk import build_rpk
from picosam_sdk.testing.imx500.scene import Scene
from picosam_sdk.testing.imx500.sensor import Exposure, Sensor

__all__ = ["EmulatedImx500", "plugged_in"]


class EmulatedImx500:
    """A Raspberry Pi AI Camera that is not there, under the real picamera2.

    ::

        with EmulatedImx500(scene="photo.jpg") as device:
            with Segmenter("imx500", model=device.rpk()) as segmenter:
                mask = segmenter.segment(roi=Roi(0.3, 0.3, 0.4, 0.4))

    Args:
        scene: what the camera looks at, see :class:`~picosam_sdk.testing.imx500.scene.Scene`.
        fps: frames a second; None gives frames as fast as they are taken, for tests.
        roi_delay: frames until a written ROI reaches the network's input.
        dnn_ms, dsp_ms: the network's run times that the sensor reports.
        faults: what goes wrong.
        debugfs: who can read the progress of an upload: "root" (``cat``), "sudo", or "none";
            "no-sudo" is a machine that has no such program.
        upload_s: how long an upload takes.
        autosuspend_s: how long after a stream the power goes off.
        pisp: a Pi 5's image processor rather than a Pi 4's.
        only_mask, score_first: another set or order of outputs.
        port: number of the camera's connector, 0 or 1.
    """

    def __init__(
        self,
        scene: Any = None,
        *,
        fps: float | None = 30.0,
        roi_delay: int = 2,
        dnn_ms: float = 8.0,
        dsp_ms: float = 2.0,
        faults: Faults | None = None,
        debugfs: str = "root",
        upload_s: float = 0.5,
        autosuspend_s: float = 5.0,
        pisp: bool = False,
        only_mask: bool = False,
        score_first: bool = False,
        port: int = 0,
    ) -> None:
        self.faults = faults or Faults()
        self.driver = Driver(self.faults, upload_s, autosuspend_s)
        self.scene = Scene(scene)
        self.sensor = Sensor(
            self.driver, self.scene, 1 / (fps or 30), roi_delay, dnn_ms, dsp_ms,
            only_mask, score_first,
        )  # fmt: skip
        bus = (0x80000, 0x88000)[port]
        self.id = f"/base/axi/pcie@120000/rp1/i2c@{bus:x}/imx500@1a"
        self.camera = Camera(self.id, self.sensor, 1 / fps if fps else 0.0, pisp)
        self._debugfs = debugfs
        i2c = f"{10 + port}-001a"
        self._i2c, self._spi = i2c, i2c.replace("001a", "0040")
        base = f"/sys/class/video4linux/v4l-subdev{2 + 3 * port}/device"
        self._node = f"/dev/v4l-subdev{2 + 3 * port}"
        self.links = {
            base: f"../../../{i2c}",
            f"{base}/of_node": f"../../../../../../firmware/devicetree{self.id}",
            f"{base}/driver/module": "../../../../module/imx500",
        }
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def rpk(self, model: str | Path | None = None) -> Path:
        """A network file for this camera, made from an ONNX model (None: the one that ships)."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="picosam-imx500-")
        source = Path(model) if model is not None else DEFAULT_MODEL
        return build_rpk(source, Path(self._folder.name) / f"{source.stem}.rpk")

    @property
    def history(self) -> list[Exposure]:
        """The truth about the last frames, oldest first."""
        return list(self.sensor.history)

    def power_off(self) -> None:
        """Takes power and network away, as a loose cable does."""
        self.driver.power_off()

    def plug(self) -> None:
        """Makes picamera2 see this camera, and no other."""
        install.plug([self])

    def unplug(self) -> None:
        """Takes the camera away and ends what hangs in it."""
        self.driver.released.set()
        install.unplug()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *error: object) -> None:
        self.unplug()

    # What the stand-in for the system asks.

    def path_kind(self, path: str) -> str:
        """ "link", "node" or, where the path is none of this camera's, an empty text."""
        return "link" if path in self.links else "node" if path == self._node else ""

    def watches(self, path: str) -> bool:
        """Whether this is a file of this camera's progress."""
        return f"imx500-fw:{self._i2c}/" in path or f"rp2040-spi:{self._spi}/" in path

    def progress(self, command: list[str]) -> str | None:
        """What a program prints that reads the progress; None if it is not about this camera."""
        about_firmware = any(f"imx500-fw:{self._i2c}/" in word for word in command)
        about_bridge = any(f"rp2040-spi:{self._spi}/" in word for word in command)
        if command[0] == "sudo":
            about_firmware, about_bridge = command[-1] == self._i2c, command[-1] == self._spi
        if not (about_firmware or about_bridge):
            return None
        if command[0] == "sudo" and self._debugfs == "no-sudo":
            raise FileNotFoundError(2, "No such file or directory", "sudo")
        allowed = {"root": ("cat", "sudo"), "sudo": ("sudo",)}.get(self._debugfs, ())
        if command[0] not in allowed:
            raise subprocess.CalledProcessError(1, command)
        return self.driver.progress_text() if about_firmware else self.driver.chunk_text()


class plugged_in:  # noqa: N801 - a context manager that reads as a function
    """Several emulated cameras at once: ``with plugged_in(left, right): ...``."""

    def __init__(self, *devices: EmulatedImx500) -> None:
        self._devices = list(devices)

    def __enter__(self) -> list[EmulatedImx500]:
        install.plug(self._devices)
        return self._devices

    def __exit__(self, *exc: object) -> None:
        for device in self._devices:
            device.unplug()
