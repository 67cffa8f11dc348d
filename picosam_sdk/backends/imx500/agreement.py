"""Compares the sensor's masks with another backend's on the very crops that the sensor saw."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.camera import Arrival
from picosam_sdk.backends.imx500.outputs import Outputs, input_tensor
from picosam_sdk.errors import BackendTimeoutError
from picosam_sdk.interfaces import HostBackend
from picosam_sdk.types import ImageArray, Roi

__all__ = ["Agreement", "iou_of", "live_agreement"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One frame.

    Args:
        iou: of the sensor's mask and the host's.
        transposed_iou: the same with rows and columns of the sensor's mask exchanged; if this
            is the better one, the sensor's outputs come in another order than expected.
        score_difference: sensor's predicted IoU minus the host's.
    """

    iou: float
    transposed_iou: float
    score_difference: float


def live_agreement(
    sensor: Imx500Backend, host: HostBackend, roi: Roi, frames: int = 10, timeout_s: float = 20.0
) -> list[Agreement]:
    """Runs the host's network on what the sensor's saw, frame by frame.

    Args:
        sensor: opened with ``input_tensor=True``.
        host: with the same network.
        roi: where to look.
        frames: how many inferences to compare.
        timeout_s: for all of them.

    Raises:
        BackendTimeoutError: too few frames came with the network's input.
    """
    seen: queue.SimpleQueue[tuple[ImageArray, Outputs]] = queue.SimpleQueue()
    size = sensor.card.crop.size_px

    def observe(arrival: Arrival, outputs: Outputs | None) -> None:
        crop = input_tensor(arrival.metadata, size)
        if crop is not None and outputs is not None and seen.qsize() < frames:
            seen.put((crop, outputs))

    deadline = time.monotonic() + timeout_s
    sensor.aim(roi)
    sensor.observer = observe
    found: list[Agreement] = []
    try:
        while len(found) < frames:
            try:
                crop, outputs = seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise BackendTimeoutError(
                    f"expected {frames} frames with the network's input, got {len(found)}",
                    hint="Open the sensor with input_tensor=True.",
                ) from None
            found.append(_compared(crop, outputs, host, sensor.card.threshold_logit))
    finally:
        sensor.observer = None
    return found


def iou_of(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def _compared(crop: ImageArray, outputs: Outputs, host: HostBackend, threshold: float) -> Agreement:
    logits, scores = host.infer(crop[None])
    theirs, ours = outputs.logits > threshold, logits[0] > threshold
    return Agreement(iou_of(theirs, ours), iou_of(theirs.T, ours), outputs.score - float(scores[0]))
