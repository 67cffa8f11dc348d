"""Parts that fail when a file tells them to: a plugin that the real pipeline loads.

The suite drops a file such as ``camera.raise`` into the folder that ``FAULTS_DIR`` names; the
part takes it away, and fails in that way once. So an event is seen from outside to have happened.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from picosam_sdk import Camera, Frame, MaskFilter, Prompt, Publisher, Roi, RoiSource, hookimpl
from picosam_sdk.backends.imx500.emulated import EmulatedImx500Backend
from picosam_sdk.interfaces import Backend, Context
from tests.egress.canary import picture
from tests.fakes import RedBackend

__all__ = ["REGIONS"]

REGIONS = {
    "exact": Roi(0.1, 0.25, 0.26, 0.42),
    "left": Roi(0.0, 0.1, 0.5, 0.8),
    "over": Roi(-0.1, 0.2, 0.6, 0.7),  # partly outside: clipped by the crop rule
    "whole": Roi(0.0, 0.0, 1.0, 1.0),
}
"""What the source asks for, by the region's name."""


class Orders:
    """Takes orders from the folder."""

    def __init__(self) -> None:
        self._folder = Path(os.environ["FAULTS_DIR"])

    def taken(self, role: str, how: str) -> bool:
        try:
            (self._folder / f"{role}.{how}").unlink()
        except FileNotFoundError:
            return False
        return True

    def obey(self, role: str) -> None:
        """What every role can do: raise, and take its time."""
        if self.taken(role, "raise"):
            raise RuntimeError(f"scripted: the {role} raises")
        if self.taken(role, "stall"):
            time.sleep(0.3)

    def refuse(self, role: str, step: str) -> None:
        """To be opened, closed, or whatever is asked for only now and then."""
        if self.taken(role, step):
            raise RuntimeError(f"scripted: the {role} raises in {step}")


class Clock:
    """Jumps Unix time, as a clock that is set does; the monotonic clock goes on."""

    def __init__(self) -> None:
        self._offset_ns = 0
        real = time.time_ns
        time.time_ns = lambda: real() + self._offset_ns
        time.time = lambda: time.time_ns() / 1e9

    def follow(self, orders: Orders) -> None:
        for how, jump_s in (("forward", 3600), ("back", -3600)):
            if orders.taken("clock", how):
                self._offset_ns += jump_s * 10**9


@dataclass(frozen=True)
class FaultyCameraConfig:
    """``beat_port``: UDP port that is told of each read."""

    beat_port: int
    period_s: float = 0.02


class FaultyCamera(Camera):
    """Shows the canary."""

    name: ClassVar[str] = "faulty"
    Config: ClassVar[type] = FaultyCameraConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._index, self._orders, self._clock = 0, Orders(), Clock()
        self._socket: socket.socket | None = None
        self._picture = picture()

    def open(self) -> None:
        self._orders.refuse("camera", "open")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._orders.refuse("camera", "close")

    def read(self, timeout_s: float) -> Frame | None:
        if self._socket is not None:
            self._socket.sendto(b"%d" % os.getpid(), ("127.0.0.1", self.config.beat_port))
        self._clock.follow(self._orders)
        time.sleep(self.config.period_s)
        self._orders.obey("camera")
        self._index += 1
        now_ns = time.monotonic_ns()
        if self._orders.taken("camera", "empty"):
            return Frame(None, now_ns, self._index)
        if self._orders.taken("camera", "shape"):
            return Frame(np.zeros((7, 5), np.uint8), now_ns, self._index)
        if self._orders.taken("camera", "small"):
            return Frame(np.zeros((1, 1, 3), np.uint8), now_ns, self._index)
        return Frame(self._picture, now_ns, self._index)


class FaultySource(RoiSource):
    """Goes through the regions."""

    name: ClassVar[str] = "faulty"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._orders, self._turn, self._raises = Orders(), 0, 0

    def open(self) -> None:
        self._orders.refuse("roi", "open")

    def close(self) -> None:
        self._orders.refuse("roi", "close")

    def observe(self, result: Any) -> None:
        self._orders.refuse("roi", "observe")

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        self._orders.obey("roi")
        if self._orders.taken("roi", "break"):
            self._raises = 3  # so many in a row, and it is opened again
        if self._raises:
            self._raises -= 1
            raise RuntimeError("scripted: the source is broken")
        if self._orders.taken("roi", "nan"):
            return Roi(float("nan"), 0.1, 0.2, 0.2)
        if self._orders.taken("roi", "outside"):
            return Prompt(roi=Roi(1.5, 1.5, 0.2, 0.2), region="outside")
        if self._orders.taken("roi", "wrong-type"):
            return "somewhere"  # type: ignore[return-value]
        if self._orders.taken("roi", "none"):
            return None
        self._turn += 1
        names = list(REGIONS)
        name = names[self._turn // 5 % len(names)]
        return Prompt(roi=REGIONS[name], region=name)


class FaultyFilter(MaskFilter):
    """Lets masks through."""

    name: ClassVar[str] = "faulty"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._orders = Orders()

    def reset(self) -> None:
        self._orders.refuse("filter", "reset")

    def close(self) -> None:
        self._orders.refuse("filter", "close")

    def apply(self, mask: Any, now_ns: int) -> Any:
        self._orders.obey("filter")
        if self._orders.taken("filter", "none"):
            return None
        return "no mask" if self._orders.taken("filter", "wrong-type") else mask


class FaultyPublisher(Publisher):
    """Sends nothing."""

    name: ClassVar[str] = "faulty"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._orders = Orders()

    def open(self) -> None:
        self._orders.refuse("publisher", "open")

    def flush(self, timeout_s: float) -> bool:
        self._orders.refuse("publisher", "flush")
        return True

    def close(self) -> None:
        self._orders.refuse("publisher", "close")

    def publish(self, result: Any) -> int | None:
        self._orders.obey("publisher")
        return None


class FaultyBackend(RedBackend):
    """Red is the object."""

    name: ClassVar[str] = "faulty"

    def __init__(self) -> None:
        super().__init__()
        self._orders = Orders()
        self._orders.refuse("backend", "open")

    def close(self) -> None:
        super().close()
        self._orders.refuse("backend", "close")

    def infer(self, crops: Any) -> Any:
        self.batches.clear()
        self._orders.obey("backend")
        logits, scores = super().infer(crops)
        if self._orders.taken("backend", "nan"):
            logits = np.full_like(logits, np.nan)
        if self._orders.taken("backend", "shape"):
            logits = logits[:, :3]
        return logits, scores


@functools.cache
def _sensor_scene() -> Any:
    from tests.imx500.conftest import red_scene

    return red_scene()[0]


class FaultySensor(EmulatedImx500Backend):
    """The emulated sensor; its faults are set at each turn, and last until it recovers."""

    name: ClassVar[str] = "faulty-sensor"

    def __init__(self, model: str) -> None:
        from picosam_sdk.testing.imx500 import EmulatedImx500

        self._orders = Orders()
        self._until_starts = 0
        self._orders.refuse("sensor", "open")
        super().__init__(
            model, device=EmulatedImx500(_sensor_scene(), fps=25.0, upload_s=0.05), frames=False,
            size_px=(507, 380), settle_frames=2, frame_timeout_s=0.5, inference_frames=10,
            backoff_s=0.05, progress=False, stall_timeout_s=2.0,
        )  # fmt: skip

    def close(self) -> None:
        super().close()
        self._orders.refuse("sensor", "close")

    def read(self, timeout_s: float) -> Any:
        self._orders.obey("sensor")
        faults, driver = self.device.faults, self.device.driver
        for how, change in SENSOR_FAULTS.items():
            if self._orders.taken("sensor", how):
                # What starts the stream anew mends it; where a start must fail, the one after.
                faults.starts = driver.starts + (how in UPLOADS)
                self._until_starts = driver.starts + 1 + (how in UPLOADS)
                for key, value in change.items():
                    setattr(faults, key, value)
                if how == "power-off":
                    self.device.power_off()
        if self._orders.taken("sensor", "heal"):
            fresh = type(faults)()
            for key in fresh.__slots__:
                setattr(faults, key, getattr(fresh, key))
        result = super().read(timeout_s)
        if driver.starts >= self._until_starts:
            self._orders.taken("sensor", "mended")
        return result


UPLOADS = ("upload-fails", "upload-hangs")
"""These need a start that fails."""

RESTARTS = (*UPLOADS, "network-refused", "power-off", "frames-stop", "network-lost")
"""After these the stream, or the whole sensor, is started again."""

SENSOR_FAULTS: dict[str, dict[str, Any]] = {
    "no-tensor": {"no_tensor": True},
    "no-info": {"no_info": True},
    "short-tensor": {"tensor_values": 100},
    "not-finite": {"not_finite": True},
    "no-kpi": {"no_kpi": True},
    "old-info": {"info_bytes": 708},
    "roi-refused": {"roi_errno": 5},
    "roi-shifted": {"roi_offset_px": 64},
    "frames-stop": {"frames_stop_after": 0},
    "network-lost": {"network_lost_after": 0},
    "network-refused": {"network_errno": 5, "frames_stop_after": 0},
    "upload-fails": {"upload_fails_at": 0.5, "frames_stop_after": 0},
    "upload-hangs": {"upload_hangs_at": 0.5, "frames_stop_after": 0},
    "power-off": {},
}


@hookimpl
def picosam_cameras() -> Sequence[type[Camera]]:
    return [FaultyCamera]


@hookimpl
def picosam_roi_sources() -> Sequence[type[RoiSource]]:
    return [FaultySource]


@hookimpl
def picosam_mask_filters() -> Sequence[type[MaskFilter]]:
    return [FaultyFilter]


@hookimpl
def picosam_publishers() -> Sequence[type[Publisher]]:
    return [FaultyPublisher]


class FaultyVerb:
    """``picosam faulty-verb``, which raises where the environment says so."""

    name: ClassVar[str] = "faulty-verb"

    def add_parser(self, verbs: Any) -> None:
        if os.environ.get("FAULTY_VERB") == "add_parser":
            raise RuntimeError("scripted: the verb cannot be added")
        verbs.add_parser(self.name).set_defaults(run=self.run)

    def run(self, args: Any) -> int:
        raise RuntimeError("scripted: the verb raises")


@hookimpl
def picosam_commands() -> Sequence[Any]:
    return [FaultyVerb()]


@hookimpl
def picosam_backends() -> Sequence[type[Backend]]:
    return [FaultyBackend, FaultySensor]
