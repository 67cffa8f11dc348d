"""Webcams, as far as that can be tested without one; the reading itself is test_rtsp.py's."""

from __future__ import annotations

import time
from typing import Any

import cv2
import pytest

from picosam_sdk import CameraError, ConfigError, Context
from picosam_sdk.cameras.capture import NewestFrame
from picosam_sdk.cameras.webcam import WebcamCamera, WebcamConfig, exposed_ns
from picosam_sdk.config import from_mapping


@pytest.mark.parametrize("device", [987, "/dev/no-such-camera"])
def test_one_that_is_not_there_is_an_error(device: Any) -> None:
    camera = WebcamCamera(from_mapping({"device": device}, WebcamConfig), Context())
    with pytest.raises(CameraError, match=f"expected to open the webcam {device}") as caught:
        camera.open()
    assert caught.value.hint
    with pytest.raises(CameraError, match="closed"):
        camera.read(1)
    camera.close()


def test_what_is_asked_of_the_driver() -> None:
    config = WebcamConfig(size_px=(1280, 720), fps=30.0, fourcc="MJPG")
    settings = config.settings()
    assert list(settings)[:3] == [
        "CAP_PROP_FOURCC", "CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT"
    ]  # fmt: skip
    assert settings["CAP_PROP_FOURCC"] == cv2.VideoWriter_fourcc(*"MJPG")
    assert settings["CAP_PROP_FPS"] == 30
    assert list(WebcamConfig().settings()) == ["CAP_PROP_BUFFERSIZE"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("device", -1), ("device", "video0"), ("device", True), ("device", "/etc/passwd"),
     ("size_px", (0, 480)), ("fps", -1.0), ("fourcc", "MJPEG"), ("timeout_s", 0.0)],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        WebcamConfig(**{key: value})


class Driver:
    """Stands for a driver: a device is not to be had here."""

    def __init__(self, stamp_ns: int) -> None:
        self.stamp_ns = stamp_ns

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_POS_MSEC
        return self.stamp_ns / 1e6


def test_a_drivers_date_counts_if_it_is_of_the_last_second() -> None:
    now_ns = time.monotonic_ns()
    stamp_ns = exposed_ns(Driver(now_ns - 40_000_000))
    assert stamp_ns is not None
    assert abs(stamp_ns - (now_ns - 40_000_000)) < 1000
    for other in (time.time_ns(), 0, now_ns + 10**9, now_ns - 2 * 10**9):
        assert exposed_ns(Driver(other)) is None


def test_a_driver_that_raises_is_a_camera_error_and_the_thread_ends() -> None:
    def broken() -> Any:
        raise RuntimeError("no such driver")

    reader = NewestFrame(broken, "the webcam 0")
    with pytest.raises(CameraError, match="RuntimeError"):
        reader.open(5)
    reader.close()


def test_closing_ends_a_wait_for_opening_and_a_driver_that_hangs_is_left_behind() -> None:
    import threading

    wake = threading.Event()

    def hangs() -> Any:
        wake.wait(30)
        raise RuntimeError("too late")

    reader = NewestFrame(hangs, "the webcam 0")
    closer = threading.Timer(0.05, reader.close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(CameraError):
        reader.open(30)
    assert time.monotonic() - began < 10
    wake.set()
    closer.join()
