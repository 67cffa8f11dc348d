"""libcamera's cameras: the manager, requests and buffers, and the loop that fills them."""

from __future__ import annotations

import enum
import os
import threading
import time
from collections import deque
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from picosam_sdk.testing.imx500.geometry_types import Rectangle, Size
from picosam_sdk.testing.imx500.libcamera_types import (
    MODES,
    SENSOR,
    CameraConfiguration,
    ControlId,
    ControlInfo,
    Stream,
    StreamRole,
    controls,
    properties,
)
from picosam_sdk.testing.imx500.sensor import Sensor

__all__ = ["Camera", "CameraManager", "FrameBuffer", "FrameMetadata", "Request"]


class FrameMetadata:
    class Status(enum.Enum):
        Success, Error, Cancelled, Startup = range(4)

    def __init__(self, planes: list[Any]) -> None:
        self.status = FrameMetadata.Status.Success
        self.sequence = self.timestamp = 0
        self.planes = [SimpleNamespace(bytes_used=plane.length) for plane in planes]


class FrameBuffer:
    class Plane:
        def __init__(self, fd: int = -1, offset: int = 0, length: int = 0) -> None:
            self.fd, self.offset, self.length = fd, offset, length

    def __init__(self, planes: list[FrameBuffer.Plane], cookie: int = 0) -> None:
        self.planes, self.cookie = planes, cookie
        self.metadata = FrameMetadata(planes)
        self.content: Any = None  # what was drawn into it last


class Request:
    class Status(enum.Enum):
        Pending, Complete, Cancelled = range(3)

    def __init__(self, cookie: int) -> None:
        self.cookie = cookie
        self.status = Request.Status.Pending
        self.buffers: dict[Stream, FrameBuffer] = {}
        self.metadata: dict[ControlId, Any] = {}
        self.controls: dict[ControlId, Any] = {}

    def add_buffer(self, stream: Stream, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def set_control(self, control: ControlId, value: Any) -> None:
        self.controls[control] = value

    def reuse(self) -> None:
        self.status, self.metadata, self.controls = Request.Status.Pending, {}, {}


class CameraManager:
    """The cameras that are there; ``plug`` and ``unplug`` change them."""

    plugged: ClassVar[list[Camera]] = []
    _one: ClassVar[CameraManager | None] = None

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._done: list[Request] = []

    @classmethod
    def singleton(cls) -> CameraManager:
        if cls._one is None:
            cls._one = cls()
        return cls._one

    @property
    def cameras(self) -> list[Camera]:
        return list(self.plugged)

    def get(self, name: str) -> Camera:
        return next(camera for camera in self.plugged if camera.id == name)

    def get_ready_requests(self) -> list[Request]:
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        with self._lock:
            done, self._done = self._done, []
        return done

    def complete(self, request: Request) -> None:
        with self._lock:
            self._done.append(request)
        os.eventfd_write(self.event_fd, 1)


class Camera:
    """One camera.

    Args:
        name: its path in the device tree.
        sensor: what exposes.
        frame_s: time from frame to frame; 0 gives frames as fast as they are taken.
        pisp: whether the image processor takes one crop a stream, as on a Pi 5.
    """

    def __init__(self, name: str, sensor: Sensor, frame_s: float, pisp: bool) -> None:
        self.id = name
        self.sensor, self.frame_s, self.pisp = sensor, frame_s, pisp
        self._native_s = frame_s
        self.properties = {
            properties.Model: "imx500",
            properties.Location: 2,
            properties.Rotation: 0,
            properties.ColorFilterArrangement: 0,
            properties.PixelArraySize: SENSOR,
        }
        self._acquired = False
        self._configuration: CameraConfiguration | None = None
        self._scaler_crop = Rectangle(SENSOR)
        self._input_tensor = False
        self._queue: deque[Request] = deque()
        self._condition = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def controls(self) -> dict[ControlId, ControlInfo]:
        full, frame_us = Rectangle(SENSOR), max(1, round(self.frame_s * 1e6))
        offered = {
            controls.ExposureTime: ControlInfo(19, 7_000_000, 20_000),
            controls.AnalogueGain: ControlInfo(1.0, 22.0, 1.0),
            controls.FrameDurationLimits: ControlInfo(frame_us, 100_000_000, frame_us),
            controls.NoiseReductionMode: ControlInfo(0, 4, 0),
            controls.ScalerCrop: ControlInfo(Rectangle(0, 0, 64, 64), full, full),
            controls.CnnEnableInputTensor: ControlInfo(False, True, False),
        }
        if self.pisp:
            offered[controls.ScalerCrops] = ControlInfo(Rectangle(0, 0, 64, 64), full, full)
            offered[controls.ScalerCrops].min = [full, full]
        return offered

    def acquire(self) -> None:
        if self._acquired:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self._acquired = True

    def release(self) -> None:
        self._acquired = False

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        return CameraConfiguration(roles)

    def configure(self, configuration: CameraConfiguration) -> None:
        self._configuration = configuration
        self._scaler_crop = Rectangle(SENSOR)
        if self._native_s:  # the full mode gives 10 frames a second at most
            slowest = 0.1 if configuration.mode == MODES[1] else 0.0
            self.frame_s = max(self._native_s, slowest)

    def create_request(self, cookie: int = 0) -> Request:
        return Request(cookie)

    def start(self, values: dict[ControlId, Any]) -> None:
        self._take(values)
        try:
            self.sensor.driver.start_streaming()
        except OSError as error:  # pybind11 makes a RuntimeError of std::system_error
            raise RuntimeError(f"Failed to start camera: {error.strerror}") from None
        self.sensor.load()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="imx500-emulated", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.sensor.driver.stop_streaming()
        while self._queue:
            request = self._queue.popleft()
            request.status = Request.Status.Cancelled
            CameraManager.singleton().complete(request)

    def queue_request(self, request: Request) -> None:
        with self._condition:
            self._queue.append(request)
            self._condition.notify_all()

    def _run(self) -> None:
        """The loop of one stream; frames without a waiting request are lost, as in life."""
        manager = CameraManager.singleton()
        stream_frame, due = 0, time.monotonic()
        while True:
            with self._condition:
                stop_after = self.sensor.driver.fault().frames_stop_after
                while not self._stopping:
                    dry = stop_after is not None and stream_frame >= stop_after
                    late = due - time.monotonic()
                    if not dry and late <= 0 and (self._queue or self.frame_s):
                        break
                    self._condition.wait(late if not dry and late > 0 else None)
                if self._stopping:
                    return
                request = self._queue.popleft() if self._queue else None
            due = max(due + self.frame_s, time.monotonic() - self.frame_s)
            if request is not None:
                self._take(request.controls)
            self._fill(request, stream_frame)
            stream_frame += 1
            if request is not None:
                manager.complete(request)

    def _fill(self, request: Request | None, stream_frame: int) -> None:
        timestamp_ns = time.monotonic_ns()
        metadata = self.sensor.expose(timestamp_ns, stream_frame, self._input_tensor)
        if request is None:
            return
        metadata |= {
            "SensorTimestamp": timestamp_ns,
            "ExposureTime": 10_000,
            "FrameDuration": round(self.frame_s * 1e6),
            "SensorTemperature": 35.0,
            "ScalerCrop": self._scaler_crop,
        }
        request.metadata = {getattr(controls, name): value for name, value in metadata.items()}
        request.status = Request.Status.Complete
        for stream, buffer in request.buffers.items():
            buffer.metadata.sequence, buffer.metadata.timestamp = stream_frame, timestamp_ns
            if stream.configuration.role is not StreamRole.Raw:
                self._draw(stream, buffer)

    def _draw(self, stream: Stream, buffer: FrameBuffer) -> None:
        configuration = stream.configuration
        size, name = configuration.size, str(configuration.pixel_format)
        self.sensor.scene.at(self.sensor.index)
        crop = self._scaler_crop
        key = (self.sensor.scene.version, crop.x, crop.y, crop.width, crop.height)
        if name != "BGR888" or buffer.content == key:  # other formats stay black
            return
        picture = self.sensor.view(crop, size.width, size.height)  # BGR888 is R, G, B in memory
        rows = np.zeros((size.height, configuration.stride), np.uint8)
        rows[:, : size.width * 3] = picture.reshape(size.height, -1)
        os.pwrite(buffer.planes[0].fd, rows.tobytes(), 0)
        buffer.content = key

    def _take(self, values: dict[ControlId, Any]) -> None:
        """Controls of a start or a request."""
        for control, value in values.items():
            if control is controls.CnnEnableInputTensor:
                self._input_tensor = bool(value)
            elif control is controls.FrameDurationLimits and self._native_s:
                self.frame_s = max(self.frame_s, value[0] / 1e6)
            elif control is controls.ScalerCrops:
                self._crop_to(value[0])
            elif control is controls.ScalerCrop:
                self._crop_to(value)

    def _crop_to(self, rectangle: Rectangle) -> None:
        """libcamera bounds a crop to the sensor and to pixels of the sensor's mode."""
        mode = self._configuration.mode if self._configuration else MODES[0]
        coarse = rectangle.enclosed_in(Rectangle(SENSOR)).scaled_by(Size(*mode), SENSOR)
        self._scaler_crop = coarse.scaled_by(SENSOR, Size(*mode))
