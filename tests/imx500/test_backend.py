"""The backend on the emulated camera: where masks lie, whose they are, what leaves the camera."""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from picosam_sdk import (
    BackendError,
    BackendTimeoutError,
    InputError,
    ModelError,
    Result,
    Roi,
    RoiRejectedError,
    Segmenter,
    UnavailableError,
)
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.probe import problem
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
from tests.imx500.conftest import QUICK, red_scene

Open = Callable[..., tuple[Imx500Backend, EmulatedImx500]]
L_SHAPE = Roi.from_pixels(660, 360, 700, 600, (2028, 1520))
LEFT, RIGHT = Roi(0.05, 0.3, 0.3, 0.4), Roi(0.65, 0.3, 0.3, 0.4)
WAIT_S = 30.0


def settled(backend: Imx500Backend, roi: Roi) -> Result:
    """The first result under a ROI."""
    backend.aim(roi)
    while True:
        result = backend.read(WAIT_S)
        if result.mask is not None and not result.settling and result.mask.prompt == roi:
            return result


def read_many(backend: Imx500Backend, count: int) -> None:
    for _ in range(count):
        backend.read(WAIT_S)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("mode", ["binned", "full"])
@pytest.mark.parametrize("pisp", [False, True])
def test_mask_lies_on_the_object_and_on_the_picture(opened: Open, mode: str, pisp: bool) -> None:
    backend, _ = opened({"pisp": pisp}, mode=mode, frames=True)
    result = settled(backend, L_SHAPE)
    assert result.mask is not None
    assert iou(result.mask.paste(2028, 1520), red_scene()[1]) > 0.97
    picture = result.frame.image
    assert picture is not None
    assert picture.shape == (760, 1014, 3)
    red = picture[..., 0].astype(int) - picture[..., 1] > 100
    assert iou(result.mask.paste(), red) > 0.97


@pytest.mark.parametrize("pisp", [False, True])
@pytest.mark.parametrize("mode", ["binned", "full"])
def test_with_a_view_prompts_pictures_and_masks_are_relative_to_it(
    opened: Open, mode: str, pisp: bool
) -> None:
    view = (1200, 600, 1600, 1400)
    backend, device = opened({"pisp": pisp}, mode=mode, frames=True, view=view, size_px=(800, 700))
    roi = Roi.from_pixels(100, 80, 700, 560, (800, 700))
    result = settled(backend, roi)
    assert result.mask is not None
    assert result.frame.image is not None
    red = result.frame.image[..., 0].astype(int) - result.frame.image[..., 1] > 100
    truth = red_scene()[1][300:1000, 600:1400]
    assert np.array_equal(red, truth)
    assert iou(result.mask.paste(), truth) > 0.95
    x, y, width, height = device.driver.window
    assert x >= 1200
    assert y >= 600
    assert x + width <= 2800
    assert y + height <= 2000


def test_the_region_is_what_was_written(opened: Open) -> None:
    backend, device = opened()
    mask = settled(backend, L_SHAPE).mask
    assert mask is not None
    x, y, width, height = device.driver.window
    assert mask.roi == Roi(x / 4056, y / 3040, width / 4056, height / 3040)
    assert mask.prompt == L_SHAPE
    write = backend.writes()[-1]
    assert tuple(write.box) == (x, y, x + width, y + height)


@pytest.mark.parametrize("roi_delay", [0, 1, 2, 3])
def test_no_mask_is_ever_given_for_another_roi(opened: Open, roi_delay: int) -> None:
    """Against the emulated sensor's own record of what the network saw in each frame."""
    backend, device = opened({"roi_delay": roi_delay}, settle_frames=roi_delay, settling="mark")
    rng = np.random.default_rng(0)
    seen, settling = 0, 0
    for index in range(120):
        backend.aim((LEFT, RIGHT, L_SHAPE)[rng.integers(3)] if index % 3 == 0 else None or LEFT)
        result = backend.read(WAIT_S)
        assert result.mask is not None
        truth = {frame.timestamp_ns: frame.window for frame in device.history}
        x, y, width, height = truth[result.frame.timestamp_ns]
        settling += result.settling
        if not result.settling:
            seen += 1
            assert result.mask.roi == Roi(x / 4056, y / 3040, width / 4056, height / 3040)
    assert seen > 10
    if roi_delay:
        assert settling > 0


def test_settling_results_are_dropped_unless_asked_for(opened: Open) -> None:
    backend, _ = opened()
    for roi in (LEFT, RIGHT, LEFT):
        assert not settled(backend, roi).settling
    assert backend.stats["settling"] >= 3 * 2


def test_a_moving_prompt_gets_masks_all_the_same(opened: Open) -> None:
    backend, _ = opened()
    prompts = [Roi(0.1 + i / 200, 0.3, 0.3, 0.3) for i in range(60)]
    masks = []
    for prompt in prompts:
        backend.aim(prompt)
        backend.aim(Roi(prompt.x, 0.31, 0.3, 0.3))
        masks.append(backend.read(WAIT_S).mask)
    assert all(mask is not None for mask in masks)
    assert len({mask.prompt for mask in masks if mask is not None}) > 10
    assert backend.stats["rois_deferred"] > 0


def test_same_box_is_not_written_again(opened: Open) -> None:
    backend, _ = opened()
    settled(backend, LEFT)
    before = backend.stats["roi_writes"]
    nearly = Roi(LEFT.x + 1e-5, LEFT.y, LEFT.width, LEFT.height)
    assert settled(backend, nearly).roi == nearly
    assert backend.stats["roi_writes"] == before


def test_without_a_prompt_there_is_no_mask(opened: Open) -> None:
    backend, device = opened()
    assert backend.read(WAIT_S).mask is None
    settled(backend, LEFT)
    backend.aim(None)
    result = backend.read(WAIT_S)
    assert result.mask is None
    assert result.roi is None
    with pytest.raises(InputError, match="overlaps"):
        backend.aim(Roi(1.5, 0.2, 0.1, 0.1))
    assert backend.read(WAIT_S).mask is None
    writes = device.driver.roi_writes[1:]  # the first is the helper's own, the whole sensor
    assert all(0 < width <= 4032 and 0 < height <= 3040 for _, _, width, height in writes)


@pytest.mark.parametrize("fault", [{"roi_errno": errno.EIO}, {"roi_offset_px": 8}])
def test_a_roi_that_the_driver_did_not_take_gives_no_masks(
    opened: Open, fault: dict[str, Any]
) -> None:
    backend, device = opened()
    settled(backend, LEFT)
    for name, value in fault.items():
        setattr(device.faults, name, value)
    with pytest.raises(RoiRejectedError, match="driver"):
        backend.aim(RIGHT)
    assert backend.read(WAIT_S).mask is None
    for name in fault:
        setattr(device.faults, name, 0)
    assert settled(backend, RIGHT).mask is not None


def test_a_waiting_roi_that_is_refused_is_told_once(opened: Open) -> None:
    backend, device = opened(settle_frames=20)
    backend.aim(LEFT)
    backend.aim(RIGHT)  # waits
    device.faults.roi_errno = errno.EIO
    with pytest.raises(RoiRejectedError):
        read_many(backend, 50)
    device.faults.roi_errno = 0
    assert backend.read(WAIT_S).mask is None
    assert settled(backend, RIGHT).mask is not None


def test_ages_and_run_times(opened: Open) -> None:
    backend, _ = opened()
    result = settled(backend, LEFT)
    assert set(result.ages_ns) == {"frame", "roi"}
    assert 0 < result.ages_ns["frame"] < result.ages_ns["roi"] < 60e9
    assert result.timings_ms["dnn"] == 8.0
    assert result.timings_ms["dsp"] == 2.0
    assert result.timings_ms["host"] > 0
    assert time.monotonic_ns() - result.frame.timestamp_ns < 60e9


def test_frames_false_streams_no_picture(opened: Open) -> None:
    backend, _ = opened(frames=False)
    result = settled(backend, LEFT)
    assert result.frame.image is None
    assert result.mask is not None
    assert result.mask.size_px == (1014, 760)
    configuration = backend._supervisor.session._camera.camera_configuration()  # type: ignore
    assert configuration["raw"] is None
    assert configuration["lores"] is None
    assert configuration["main"]["size"] == (64, 48)
    assert configuration["sensor"]["output_size"] == (2028, 1520)


@pytest.mark.parametrize("outputs", [{"score_first": True}, {"only_mask": True}])
def test_networks_with_other_outputs(opened: Open, outputs: dict[str, bool]) -> None:
    backend, _ = opened(outputs)
    mask = settled(backend, L_SHAPE).mask
    assert mask is not None
    assert iou(mask.paste(2028, 1520), red_scene()[1]) > 0.97
    assert mask.score > 0.7


def test_one_of_two_cameras_is_opened_by_its_path(model: Any) -> None:
    from picosam_sdk.testing.imx500 import plugged_in

    grey = np.full((1520, 2028, 3), 90, np.uint8)
    left = EmulatedImx500(grey, port=0, fps=None, upload_s=0.0)
    right = EmulatedImx500(red_scene()[0], port=1, fps=None, upload_s=0.0)
    with plugged_in(left, right):
        network = left.rpk(model)
        for camera, area in (("i2c@88000", True), ("i2c@80000", False)):
            backend = Imx500Backend(network, camera=camera, **QUICK)
            mask = settled(backend, L_SHAPE).mask
            backend.close()
            assert mask is not None
            assert bool(mask.area_px) is area
        with pytest.raises(UnavailableError, match="'i2c@99999', found none"):
            Imx500Backend(network, camera="i2c@99999", **QUICK)


def test_segmenter_prompts_and_streams(model: Any) -> None:
    options = {"model": model, "fps": None, "upload_s": 0.0, "settle_frames": 2}
    with Segmenter("imx500-emulated", scene=red_scene()[0], **options) as segmenter:
        mask = segmenter.segment(roi=L_SHAPE, timeout_s=WAIT_S)
        assert iou(mask.paste(2028, 1520), red_scene()[1]) > 0.97
        assert set(segmenter.timings_ms) == {"dnn", "dsp", "host"}
        stream = segmenter.stream(L_SHAPE, timeout_s=WAIT_S)
        for result in itertools.islice(stream, 5):
            assert result.mask is not None
            assert result.frame.image is not None
        gaze = [LEFT, None, Roi(3, 3, 1, 1), RIGHT]
        found = [result.mask for result in segmenter.stream(gaze, timeout_s=WAIT_S)]
        assert [mask and mask.prompt for mask in found] == [LEFT, None, None, RIGHT]
        with pytest.raises(BackendTimeoutError):
            segmenter.segment(roi=LEFT, timeout_s=0.0)
    assert problem() == "this process uses the emulated camera"
    with pytest.raises(UnavailableError, match="emulated camera"):
        Segmenter("imx500", model="network.rpk")


def test_scene_that_moves(model: Any) -> None:
    pictures = [np.full((152, 202, 3), value, np.uint8) for value in (90, 30)]
    pictures[1][:, :, 0] = 240

    def scene(index: int) -> np.ndarray:
        return pictures[index // 8 % 2]

    with Segmenter(
        "imx500-emulated", model=model, scene=scene, fps=None, upload_s=0.0, settle_frames=2
    ) as segmenter:
        areas = {
            result.mask.area_px > 0
            for result in itertools.islice(segmenter.stream(LEFT, timeout_s=WAIT_S), 60)
            if result.mask is not None
        }
    assert areas == {True, False}


def test_options_are_checked(model: Any, tmp_path: Any) -> None:
    with pytest.raises(InputError, match="expected mode"):
        Segmenter("imx500-emulated", model=model, mode="fast")
    with pytest.raises(InputError, match="inside 4056 x 3040"):
        Segmenter("imx500-emulated", model=model, view=(3000, 0, 2000, 100))
    with pytest.raises(InputError, match="options out of"):
        Segmenter("imx500-emulated", colour=1)
    Segmenter("imx500-emulated", model=model, fps=None, upload_s=0).close()  # nothing is left over


def test_network_and_card_must_belong_together(opened: Open, model: Any, tmp_path: Any) -> None:
    import json

    _, device = opened()
    network = device.rpk(model)
    card = json.loads(network.with_suffix(".json").read_text())
    card["crop"]["size_px"] = 128
    network.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="128 x 128"):
        Imx500Backend(network)
    network.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="card"):
        Imx500Backend(network)


def test_closed_is_closed(opened: Open) -> None:
    backend, _ = opened()
    backend.close()
    backend.close()
    for use in (lambda: backend.aim(LEFT), lambda: backend.read(1.0)):
        with pytest.raises(BackendError, match="closed"):
            use()
    assert backend.stats["state"] == "closed"


def test_faults_can_be_named_when_a_camera_is_made(opened: Open) -> None:
    backend, _ = opened({"faults": Faults(no_kpi=True)})
    assert set(settled(backend, LEFT).timings_ms) == {"host"}


@pytest.mark.parametrize(
    ("options", "least_us"), [({"fps": 20.0}, 50_000), ({"mode": "full"}, 100_000), ({}, 10_000)]
)
def test_frame_rate(opened: Open, options: dict[str, Any], least_us: int) -> None:
    backend, _ = opened({"fps": 100.0}, **options)
    durations: list[int] = []
    backend.observer = lambda arrival, _: durations.append(arrival.metadata["FrameDuration"])
    settled(backend, LEFT)
    backend.observer = None
    assert set(durations) == {least_us}


def test_without_libcamera_it_says_how_to_make_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "picosam_sdk.backends.imx500.backend.find_spec", lambda name: name != "libcamera" or None
    )
    assert "--system-site-packages" in Imx500Backend.unavailable()
