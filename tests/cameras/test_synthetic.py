"""The synthetic camera: what it shows is where it says, and the network finds it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from picosam_sdk import CameraError, ConfigError, Context, Segmenter
from picosam_sdk.cameras.synthetic import Scene, SyntheticCamera, SyntheticConfig
from picosam_sdk.testing.contract import CameraContract


class TestSyntheticCamera(CameraContract):
    part = SyntheticCamera
    length = 7

    @pytest.fixture
    def options(self) -> Any:
        return {"size_px": [160, 120], "fps": 0.0, "frames": 7}


def test_the_truth_is_where_warm_pixels_are() -> None:
    scene = Scene(SyntheticConfig(size_px=(320, 200), objects=3, seed=5))
    for index in (0, 40, 95):
        red, green, _ = np.moveaxis(scene.render(index).astype(int), 2, 0)
        assert np.array_equal(red - green > 100, scene.truth(index).any(0))


def test_objects_move_and_hide_each_other() -> None:
    scene = Scene(SyntheticConfig(size_px=(160, 120), objects=6, object_size=0.6))
    first, later = scene.truth(0), scene.truth(60)
    assert not np.array_equal(first, later)
    assert first.sum(0).max() == 1, "one pixel shows one object"
    assert first[-1].sum() > first[0].sum()


def test_boxes_hold_the_objects() -> None:
    scene = Scene(SyntheticConfig(size_px=(320, 200), seed=3))
    box = scene.boxes(17)[0].to_pixels(320, 200)
    rows, columns = np.nonzero(scene.truth(17)[0])
    assert (columns.min(), rows.min()) == (box.x0, box.y0)
    assert (columns.max() + 1, rows.max() + 1) == (box.x1, box.y1)


def test_a_seed_gives_the_same_pictures_and_another_gives_others() -> None:
    one, same, other = (Scene(SyntheticConfig(seed=seed)).render(9) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_network_finds_the_object() -> None:
    scene = Scene(SyntheticConfig())
    truth = scene.truth(0)[0]
    with Segmenter() as segmenter:
        mask = segmenter.segment(scene.render(0), scene.boxes(0)[0]).paste()
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_frames_come_at_the_rate_that_was_asked_for() -> None:
    camera = SyntheticCamera(SyntheticConfig(size_px=(64, 48), fps=50, frames=6), Context())
    camera.open()
    frames = [camera.read(1.0) for _ in range(6)]
    camera.close()
    stamps = [frame.timestamp_ns for frame in frames if frame is not None]
    assert stamps[-1] - stamps[0] >= 5 * 0.95 * 20e6


def test_a_frame_that_is_not_due_in_time_is_an_error_and_comes_later() -> None:
    camera = SyntheticCamera(SyntheticConfig(size_px=(64, 48), fps=5), Context())
    camera.open()
    camera.read(0)
    with pytest.raises(CameraError, match="due in"):
        camera.read(0.01)
    frame = camera.read(5)
    assert frame is not None
    assert frame.index == 1
    camera.close()


def test_closing_ends_a_wait() -> None:
    import threading

    camera = SyntheticCamera(SyntheticConfig(size_px=(64, 48), fps=0.05), Context())
    camera.open()
    camera.read(0)
    closer = threading.Timer(0.05, camera.close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(CameraError):
        camera.read(30)
    closer.join()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("key", "value"),
    [("size_px", (4, 4)), ("size_px", (10**6, 10**6)), ("fps", -1.0), ("fps", float("nan")),
     ("frames", -1), ("objects", 99), ("object_size", 0.0), ("speed", -1.0), ("seed", -1)],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        SyntheticConfig(**{key: value})
