"""The emulated sensor itself: exposes frames, runs the network on its window, writes metadata."""

from __future__ import annotations

import math
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.geometry import resize
from picosam_sdk.rpk import BLOCK_MAGIC, HEADER_BYTES
from picosam_sdk.testing.imx500.driver import SENSOR, Driver
from picosam_sdk.testing.imx500.rpk import block_content
from picosam_sdk.testing.imx500.scene import Scene
from picosam_sdk.types import ImageArray

__all__ = ["Exposure", "Sensor", "tensor_info"]

LOGIT_STEP = 0.125
"""Outputs leave the sensor as 8 bits and are multiplied by a scale in libcamera."""
NETWORK_NAME = b"picosam3"


@dataclass(frozen=True, slots=True)
class Exposure:
    """The truth about one frame, for tests.

    Args:
        index: running number of the frame since the camera was made.
        timestamp_ns: start of the exposure, monotonic clock.
        window: x, y, width, height in the sensor's pixels that the network was shown.
        inference: whether the frame carries outputs.
    """

    index: int
    timestamp_ns: int
    window: tuple[int, int, int, int]
    inference: bool


class Sensor:
    """Exposes frames.

    Args:
        driver: whose window and network count.
        scene: what is in front of the lens.
        frame_s: time from frame to frame.
        roi_delay: frames until a written ROI reaches the network's input.
        dnn_ms, dsp_ms: run times that are reported; a network slower than a frame leaves
            frames without outputs.
        only_mask: the network has one output.
        score_first: the outputs come in the other order.
    """

    def __init__(
        self,
        driver: Driver,
        scene: Scene,
        frame_s: float,
        roi_delay: int,
        dnn_ms: float,
        dsp_ms: float,
        only_mask: bool = False,
        score_first: bool = False,
    ) -> None:
        self.driver, self.scene = driver, scene
        self.roi_delay = roi_delay
        self.dnn_ms, self.dsp_ms = dnn_ms, dsp_ms
        self.every = max(1, math.ceil(dnn_ms / 1000 / frame_s))
        self.only_mask, self.score_first = only_mask, score_first
        self.history: deque[Exposure] = deque(maxlen=4096)
        self.index = -1
        self._latched: deque[tuple[int, int, int, int]] = deque()
        self._session: Any = None
        self._loaded: bytes | None = None
        self._cached: tuple[Any, Any] = (None, None)

    def load(self) -> None:
        """Takes the network that the driver uploaded."""
        network = self.driver.network
        if network is None or network is self._loaded:
            return
        import onnxruntime as ort

        size = struct.unpack(">I", network[4:8])[0]
        assert network[:4] == BLOCK_MAGIC
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            block_content(network[HEADER_BYTES:size]), options, providers=["CPUExecutionProvider"]
        )
        self._loaded = network

    def expose(self, timestamp_ns: int, stream_frame: int, input_tensor: bool) -> dict[str, Any]:
        """One frame: what libcamera puts into its metadata beyond the picture itself."""
        fault = self.driver.fault()
        self.index += 1
        self._latched.append(self.driver.window)
        while len(self._latched) > self.roi_delay + 1:
            self._latched.popleft()
        window = self._latched[0]
        lost = fault.network_lost_after
        runs = (
            self.driver.network is not None
            and stream_frame % self.every == self.every - 1
            and not (lost is not None and stream_frame >= lost)
            and not fault.no_tensor
        )
        self.history.append(Exposure(self.index, timestamp_ns, window, runs))
        if not runs:
            return {}
        crop, outputs = self._infer(window)
        if self.only_mask:
            outputs = outputs[:1]
        if self.score_first:
            outputs = outputs[::-1]
        values = np.concatenate([output.ravel(order="F") for output in outputs])
        if fault.not_finite:
            values[0] = np.nan
        metadata: dict[str, Any] = {
            "CnnOutputTensor": tuple(values[: fault.tensor_values].tolist())
        }
        if not fault.no_info:
            info = tensor_info([output.shape for output in outputs], self.index % 256)
            metadata["CnnOutputTensorInfo"] = tuple(info[: fault.info_bytes])
        if not fault.no_kpi:
            metadata["CnnKpiInfo"] = (round(self.dnn_ms * 1000), round(self.dsp_ms * 1000))
        if input_tensor:
            metadata["CnnInputTensor"] = tuple(crop.transpose(2, 0, 1).ravel().tolist())
            metadata["CnnInputTensorInfo"] = tuple(
                struct.pack("<64sIII", NETWORK_NAME, crop.shape[1], crop.shape[0], 3)
            )
        return metadata

    def view(self, rectangle: Any, width_px: int, height_px: int) -> ImageArray:
        """The picture of a stream: a rectangle of the sensor at the stream's size."""
        return self._cut(
            (rectangle.x, rectangle.y, rectangle.width, rectangle.height), width_px, height_px
        )

    def _infer(
        self, window: tuple[int, int, int, int]
    ) -> tuple[ImageArray, list[NDArray[np.float32]]]:
        raster = self.scene.at(self.index)
        key = (self.scene.version, window, id(self._session))
        if self._cached[0] != key:
            size = self._session.get_inputs()[0].shape[1]
            crop = self._cut(window, size, size, raster)
            logits, score = self._session.run(("logits", "iou"), {"image": crop[None]})
            # The converter's layout of dimensions is (channel, row, column).
            mask = (logits / LOGIT_STEP).round().clip(-128, 127) * np.float32(LOGIT_STEP)
            sure = (score.reshape(1, 1, 1) * 255).round().clip(0, 255) / np.float32(255)
            self._cached = (key, (crop, [mask.astype(np.float32), sure.astype(np.float32)]))
        crop, outputs = self._cached[1]
        return crop, [output.copy() for output in outputs]

    def _cut(
        self, window: tuple[int, int, int, int], width: int, height: int, raster: Any = None
    ) -> ImageArray:
        """A window of the sensor, resized; the raster holds every second pixel."""
        raster = self.scene.at(self.index) if raster is None else raster
        x, y, w, h = window
        x0, y0 = min(x // 2, SENSOR[0] // 2 - 1), min(y // 2, SENSOR[1] // 2 - 1)
        x1, y1 = max(-(-(x + w) // 2), x0 + 1), max(-(-(y + h) // 2), y0 + 1)
        return resize(raster[y0:y1, x0:x1], width, height)


def tensor_info(shapes: list[tuple[int, ...]], frame_count: int) -> bytes:
    """libcamera's CnnOutputTensorInfo, 712 bytes."""
    out = struct.pack("<64sI", NETWORK_NAME, len(shapes))
    for shape in shapes:
        sizes = (*shape, *[0] * (16 - len(shape)))
        out += struct.pack("<II16H", math.prod(shape), len(shape), *sizes)
    out += bytes(40 * (16 - len(shapes)))
    return out + struct.pack("<B3x", frame_count)
