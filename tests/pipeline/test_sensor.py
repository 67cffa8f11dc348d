"""The loop on the emulated sensor: masks belong to the prompt that was in force."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import Prompt, Result, Roi
from picosam_sdk.app import Application, Parts
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
from tests.imx500.conftest import red_model, red_scene
from tests.pipeline.conftest import Ask, Bench, Capture, until

OBJECT = Roi.from_pixels(660, 360, 700, 600, (2028, 1520))
LEFT, RIGHT = Roi(0.05, 0.3, 0.3, 0.4), Roi(0.65, 0.3, 0.3, 0.4)


class Sensor:
    """A running application on an emulated sensor, and what is in it."""

    def __init__(self, bench: Bench, model: Path, device: dict[str, Any], **options: Any) -> None:
        self.device = EmulatedImx500(red_scene()[0], **({"fps": 100.0, "upload_s": 0.0} | device))
        self.bench = bench
        tables = {key: options.pop(key) for key in ("filter",) if key in options}
        segmenter = {
            "backend": "imx500-emulated", "model": str(model), "device": self.device,
            "settle_frames": 2, "size_px": [507, 380], "backoff_s": 0.01,
        }  # fmt: skip
        self.application: Application
        self.parts: Parts
        self.application, self.parts = bench.build(
            {
                "segmenter": segmenter | options,
                "roi": [{"kind": "ask"}],
                "publish": [{"kind": "capture", "queue": 5000, "egress": {"grants": ["gaze"]}}],
                **tables,
            }
        )
        source = self.parts.rois[0].part
        assert isinstance(source, Ask)
        self.source = source
        self.source.answer = lambda now_ns: OBJECT

    @property
    def results(self) -> list[Result]:
        publisher = self.parts.publishers[0].part
        assert isinstance(publisher, Capture)
        return list(publisher.results)

    def start(self) -> None:
        self.thread = self.bench.start(self.application)

    def until(self, condition: Callable[[], Any]) -> None:
        until(lambda: condition() or not self.thread.is_alive())
        assert self.thread.is_alive()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_model(tmp_path_factory.mktemp("red") / "red.onnx")


@pytest.fixture
def sensor(bench: Bench, model: Path) -> Callable[..., Sensor]:
    def make(device: dict[str, Any] | None = None, **options: Any) -> Sensor:
        return Sensor(bench, model, device or {}, **options)

    return make


def iou(result: Result) -> float:
    assert result.mask is not None
    mask, truth = result.mask.paste(2028, 1520), red_scene()[1]
    return float((mask & truth).sum() / (mask | truth).sum())


def test_masks_lie_on_the_object_and_say_how_old_their_roi_is(
    sensor: Callable[..., Sensor],
) -> None:
    running = sensor()
    running.source.answer = lambda now_ns: Prompt(
        roi=OBJECT, timestamp_ns=now_ns - 3_000_000, region="shelf"
    )
    running.start()
    running.until(lambda: sum(r.mask is not None for r in running.results) >= 5)
    masked = [result for result in running.results if result.mask is not None]
    for result in masked:
        assert iou(result) > 0.95
        assert result.roi == OBJECT
        assert result.region == "shelf"
        assert result.frame.image is None
        assert result.ages_ns["roi"] >= 3_000_000
        assert result.ages_ns["roi_write"] > 0
        assert result.ages_ns["frame"] > 0
        assert result.timings_ms["dnn"] > 0
    stats = running.application.stats()
    assert stats["ms"]["roi_write"]["count"] == 1
    assert stats["ms"]["roi_settle"]["count"] == 1
    assert stats["ms"]["inference"]["count"] >= 5
    assert stats["backend"]["imx500-emulated"]["own"]["roi_writes"] == 1


def test_a_mask_belongs_to_the_prompt_that_was_in_force(sensor: Callable[..., Sensor]) -> None:
    """Against the emulated sensor's own record of what the network saw in each frame."""
    running = sensor()
    started = time.monotonic_ns()

    def ask(now_ns: int) -> Prompt:
        left = (now_ns - started) // 40_000_000 % 2 == 0
        return Prompt(roi=LEFT if left else RIGHT, region="left" if left else "right")

    running.source.answer = ask
    running.start()
    running.until(lambda: {"left", "right"} <= {r.region for r in running.results[-40:] if r.mask})
    windows = {frame.timestamp_ns: frame.window for frame in running.device.history}
    checked = set()
    for result in list(running.results):
        window = windows.get(result.frame.timestamp_ns)
        if result.mask is None or window is None:
            continue
        x, y, width, height = window
        assert result.mask.roi == Roi(x / 4056, y / 3040, width / 4056, height / 3040)
        assert (result.mask.roi.center[0] < 0.5) == (result.region == "left")
        assert result.roi == {"left": LEFT, "right": RIGHT}[result.region]
        checked.add(result.region)
    assert checked == {"left", "right"}


@pytest.mark.parametrize(
    "lost", [lambda: None, lambda: Roi(2, 2, 0.1, 0.1), lambda: 1 / 0], ids=["none", "off", "raise"]
)
def test_without_a_prompt_there_is_no_mask(
    sensor: Callable[..., Sensor], lost: Callable[[], Any]
) -> None:
    running = sensor()
    gone_ns: list[int] = []

    def ask(now_ns: int) -> Any:
        if not gone_ns:
            return OBJECT
        return lost()

    running.source.answer = ask
    running.start()
    running.until(lambda: sum(r.mask is not None for r in running.results) >= 3)
    gone_ns.append(time.monotonic_ns())

    def later() -> list[Result]:  # without the frame that was waited for when it was lost
        return [r for r in running.results if r.frame.timestamp_ns > gone_ns[0]][1:]

    running.until(lambda: len(later()) >= 10)
    assert all(result.mask is None and result.roi is None for result in later())


def test_a_point_climbs_the_ladder_and_only_the_object_is_published(
    sensor: Callable[..., Sensor],
) -> None:
    running = sensor()
    x, y = 780 / 2028, 650 / 1520
    running.source.answer = lambda now_ns: Prompt(point=(x, y), region="seen")
    running.start()

    def on_it() -> bool:
        newest = [result for result in running.results if result.mask is not None][-1:]
        return bool(newest) and iou(newest[0]) > 0.9

    running.until(on_it)
    masked = [result for result in running.results if result.mask is not None]
    truth = red_scene()[1]
    for result in masked:
        assert result.mask is not None
        mask = result.mask.paste(2028, 1520)
        assert mask[650, 780]
        assert (mask & truth).sum() > 0.95 * mask.sum()
    assert {result.region for result in masked} == {"seen"}
    own = running.application.stats()["backend"]["imx500-emulated"]["own"]
    assert own["roi_writes"] >= 2
    running.until(lambda: len(running.results) > len(masked) + 60)
    assert running.application.stats()["backend"]["imx500-emulated"]["own"]["roi_writes"] <= 10


def test_filters_work_on_the_sensors_masks(sensor: Callable[..., Sensor]) -> None:
    running = sensor(filter=[{"kind": "mark"}])
    running.start()
    running.until(lambda: sum(r.mask is not None for r in running.results) >= 3)
    scores = [result.mask.score for result in running.results if result.mask is not None]
    assert scores[:3] == [1, 2, 3]


def test_a_sensor_that_gave_up_is_opened_again(sensor: Callable[..., Sensor]) -> None:
    running = sensor(
        {"faults": Faults(starts=1, frames_stop_after=15)}, restarts=0, frame_timeout_s=1.0
    )
    running.start()
    running.until(lambda: any(r.mask is not None for r in running.results))
    running.until(lambda: running.application.stats()["backend"]["imx500-emulated"].get("restarts"))
    count = len(running.results)
    running.until(lambda: sum(r.mask is not None for r in running.results[count:]) >= 3)
    stats = running.application.stats()["backend"]["imx500-emulated"]
    assert stats["errors"] == 1
    assert "BackendTimeoutError" in stats["last_error"]
    assert all(iou(r) > 0.95 for r in running.results if r.mask is not None)


def test_a_roi_that_the_sensor_refuses_gives_no_mask_and_is_counted(
    sensor: Callable[..., Sensor],
) -> None:
    running = sensor()
    running.start()
    running.until(lambda: any(r.mask is not None for r in running.results))
    running.device.faults.roi_errno = 22
    running.source.answer = lambda now_ns: LEFT
    stats = running.application.stats
    running.until(lambda: stats()["backend"]["imx500-emulated"].get("errors"))
    refused_ns = time.monotonic_ns()

    def since() -> list[Result]:
        return [r for r in running.results if r.frame.timestamp_ns > refused_ns]

    running.until(lambda: len(since()) >= 10)
    assert all(result.mask is None for result in since())
    assert (
        stats()["backend"]["imx500-emulated"]["errors"] <= 2
    )  # it is not written with every frame
    running.device.faults.roi_errno = 0
    running.until(lambda: any(r.roi == LEFT and r.mask is not None for r in running.results))
    assert stats()["backend"]["imx500-emulated"].get("restarts", 0) == 0


def test_pictures_stay_in_the_sensor(sensor: Callable[..., Sensor]) -> None:
    running = sensor()
    assert running.parts.backend_options["frames"] is False
    assert np.shape(running.parts.backend_options["size_px"]) == (2,)
