"""Settling measured against an emulated sensor whose delay is known; live agreement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from picosam_sdk import BackendError, BackendTimeoutError, Roi
from picosam_sdk.backends.imx500.agreement import live_agreement
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.settle import LEFT, RIGHT, calibrate_settle
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.testing.imx500 import EmulatedImx500
from tests.imx500.test_backend import L_SHAPE

Open = Callable[..., tuple[Imx500Backend, EmulatedImx500]]


def two_sides() -> np.ndarray:
    """Red at the left, nothing at the right."""
    image = np.full((1520, 2028, 3), 90, np.uint8)
    image[500:900, 200:500] = (255, 20, 20)
    return image


@pytest.mark.parametrize("roi_delay", [0, 2, 5])
@pytest.mark.parametrize("input_tensor", [True, False])
def test_the_delay_is_found(opened: Open, roi_delay: int, input_tensor: bool) -> None:
    backend, _ = opened({"roi_delay": roi_delay, "scene": two_sides()}, input_tensor=input_tensor)
    report = calibrate_settle(backend, changes=4, frames=12, timeout_s=60)
    assert report.watched == ("input tensor" if input_tensor else "mask")
    # Frames that come while the time of a writing is taken count as before it: once, if at all.
    assert sorted(report.delays)[1:] == [roi_delay] * 3
    assert report.settle_frames == roi_delay + 1
    assert report.as_json()["settle_frames"] == roi_delay + 1
    assert backend.observer is None


def test_what_looks_alike_cannot_be_measured(opened: Open) -> None:
    grey = np.full((1520, 2028, 3), 90, np.uint8)
    backend, _ = opened({"scene": grey})
    with pytest.raises(BackendError, match="look different"):
        calibrate_settle(backend, changes=2, frames=8, timeout_s=60)


def test_a_delay_beyond_what_is_watched_is_an_error(opened: Open) -> None:
    backend, device = opened({"scene": two_sides(), "roi_delay": 0}, input_tensor=True)
    report = calibrate_settle(backend, (LEFT, RIGHT), changes=2, frames=8, timeout_s=60)
    assert report.delays == (0, 0)
    device.sensor.roi_delay = 7
    with pytest.raises(BackendError):
        calibrate_settle(backend, changes=2, frames=8, timeout_s=60)


def test_no_frames_is_a_timeout(opened: Open) -> None:
    backend, device = opened({"scene": two_sides()})
    device.faults.no_tensor = True
    with pytest.raises(BackendTimeoutError, match="without any"):
        calibrate_settle(backend, changes=2, frames=8, timeout_s=60)


def test_sensor_and_host_agree_on_what_the_sensor_saw(opened: Open, model: Path) -> None:
    backend, _ = opened(input_tensor=True)
    found = live_agreement(backend, OnnxBackend(model), L_SHAPE, frames=8, timeout_s=60)
    assert len(found) == 8
    assert all(frame.iou > 0.99 for frame in found)
    assert all(frame.transposed_iou < 0.8 for frame in found[-2:])
    assert all(abs(frame.score_difference) < 0.01 for frame in found)


def test_without_the_input_there_is_nothing_to_compare(opened: Open, model: Path) -> None:
    backend, _ = opened()
    with pytest.raises(BackendTimeoutError, match="network's input"):
        live_agreement(backend, OnnxBackend(model), Roi(0.2, 0.2, 0.4, 0.4), timeout_s=0.2)
