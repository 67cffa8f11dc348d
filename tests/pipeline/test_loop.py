"""The loop on a host: results, the chain of sources, failures that stay where they happen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from picosam_sdk import CameraError, ConfigError, EgressError, Gaze, Prompt, Result, Roi
from picosam_sdk.app import Application, Parts
from tests.fakes import red_scene
from tests.pipeline.conftest import OBJECT, Ask, Bench, Capture, Film, FlakyBackend, raw, until


def run(bench: Bench, config: dict[str, Any], prepare: Callable[[Parts], None] | None = None) -> (
    tuple[Application, Parts, list[Result]]
):  # fmt: skip
    """Runs to the end; gives what the first publisher got."""
    application, parts = bench.build(config)
    if prepare is not None:
        prepare(parts)
    with application:
        application.run()
    return application, parts, captured(parts).results


def captured(parts: Parts, index: int = 0) -> Capture:
    publisher = parts.publishers[index].part
    assert isinstance(publisher, Capture)
    return publisher


def source(parts: Parts, index: int = 0) -> Ask:
    part = parts.rois[index].part
    assert isinstance(part, Ask)
    return part


def film(parts: Parts) -> Film:
    assert parts.camera is not None
    assert isinstance(parts.camera.part, Film)
    return parts.camera.part


def test_each_frame_gives_a_result_with_the_objects_mask(bench: Bench) -> None:
    gaze = Gaze(0.4, 0.5, time.monotonic_ns())

    def ask(parts: Parts) -> None:
        source(parts).answer = lambda now_ns: Prompt(
            roi=OBJECT, timestamp_ns=now_ns - 7_000_000, region="shelf", gaze=gaze
        )

    granted = [{"kind": "capture", "egress": {"grants": ["gaze"]}}]
    application, _, results = run(bench, raw(5, publish=granted), ask)
    assert [result.frame.index for result in results] == [0, 1, 2, 3, 4]
    truth = red_scene()[1]
    for result in results:
        assert result.mask is not None
        mask = result.mask.paste()
        assert (mask & truth).sum() / (mask | truth).sum() > 0.97
        assert result.roi == OBJECT
        assert result.region == "shelf"
        assert result.gaze == gaze
        assert result.frame.image is None  # not granted
        assert {"camera", "crop", "network", "mask", "filters"} <= set(result.timings_ms)
        assert result.ages_ns["roi"] >= 7_000_000
        assert result.ages_ns["gaze"] > result.ages_ns["frame"] > 0
    stats = application.stats()
    assert stats["frames"] == stats["masks"] == 5
    for stage in ("camera", "roi", "inference", "frame_age", "roi_age", "gaze_age"):
        assert stats["ms"][stage]["count"] == 5
    assert stats["publisher"]["capture"]["sent"] == 5
    assert stats["publisher"]["capture"]["egress"]["bytes"] == 500
    json.dumps(stats)


def test_a_point_is_segmented_too(bench: Bench) -> None:
    def ask(parts: Parts) -> None:
        source(parts).answer = lambda now_ns: Prompt(point=(110 / 320, 100 / 200))

    _, _, results = run(bench, raw(2), ask)
    mask = results[0].mask
    assert mask is not None
    truth = red_scene()[1]
    assert (mask.paste() & truth).sum() / (mask.paste() | truth).sum() > 0.9
    assert results[0].roi == mask.prompt


def test_pictures_arrive_only_where_they_are_granted(bench: Bench) -> None:
    config = raw(3)
    config["publish"] = [
        {"kind": "capture", "egress": {"grants": ["pixels"]}}, {"kind": "capture"}
    ]  # fmt: skip
    _, parts, results = run(bench, config)
    assert all(np.array_equal(r.frame.image, red_scene()[0]) for r in results)  # type: ignore[arg-type]
    assert all(r.frame.image is None for r in captured(parts, 1).results)
    assert len(captured(parts, 1).results) == 3


def test_a_publisher_that_needs_what_is_not_granted_is_refused_before_anything_starts(
    bench: Bench,
) -> None:
    with pytest.raises(EgressError, match=r"publish\[0\]\.egress\.grants: expected pixels"):
        bench.build(raw(publish=[{"kind": "capture", "needs": ["pixels"]}]))


# The chain of ROI sources


@pytest.mark.parametrize(
    "first",
    [
        lambda now_ns: None,
        lambda now_ns: Roi(1.5, 0.5, 0.2, 0.2),
        lambda now_ns: "here",
        lambda now_ns: 1 / 0,
    ],
    ids=["nothing", "outside the view", "of another type", "raises"],
)
def test_the_next_source_is_asked(bench: Bench, first: Callable[[int], Any]) -> None:
    second = Roi(0.35, 0.35, 0.2, 0.3)

    def prepare(parts: Parts) -> None:
        source(parts, 0).answer = first
        source(parts, 1).answer = lambda now_ns: second
        source(parts, 2).answer = lambda now_ns: pytest.fail("a third was asked")

    _, _, results = run(bench, raw(8, roi=[{"kind": "ask"}] * 3), prepare)
    assert [result.roi for result in results] == [second] * 8


@pytest.mark.parametrize(
    "answer",
    [lambda now_ns: None, lambda now_ns: Roi(-1, 0, 0.5, 1), lambda now_ns: 1 / 0],
    ids=["stale", "outside", "broken"],
)
def test_without_a_prompt_there_is_no_mask(bench: Bench, answer: Callable[[int], Any]) -> None:
    """It never becomes the whole view, nor the place before."""

    def prepare(parts: Parts) -> None:
        def ask(now_ns: int) -> Any:
            return OBJECT if film(parts).index < 4 else answer(now_ns)

        source(parts).answer = ask

    application, _, results = run(bench, raw(12), prepare)
    assert [result.mask is not None for result in results] == [True] * 3 + [False] * 9
    assert [result.roi for result in results] == [OBJECT] * 3 + [None] * 9
    assert application.stats()["masks"] == 3


def test_a_source_that_keeps_failing_is_opened_again(bench: Bench) -> None:
    def prepare(parts: Parts) -> None:
        first = source(parts, 0)
        first.answer = lambda now_ns: 1 / 0 if first.opened < 2 else OBJECT
        source(parts, 1).answer = lambda now_ns: Roi(0, 0, 0.5, 0.5)

    application, parts = bench.build(raw(roi=[{"kind": "ask", "name": "a"}, {"kind": "ask"}]))
    prepare(parts)
    bench.start(application)
    until(lambda: any(result.roi == OBJECT for result in captured(parts).results))
    stats = application.stats()["roi"]["a"]
    assert stats["errors"] == 3
    assert stats["restarts"] == 1
    assert stats["state"] == "ready"
    assert "ZeroDivisionError" in stats["last_error"]
    assert source(parts, 0).closed == 1


def test_a_source_that_cannot_be_opened_yet_does_not_hold_up_the_start(bench: Bench) -> None:
    application, parts = bench.build(raw(roi=[{"kind": "ask"}, {"kind": "ask"}]))
    source(parts, 0).fail_open = 1
    source(parts, 1).answer = lambda now_ns: Roi(0, 0, 0.5, 0.5)
    bench.start(application)
    until(lambda: any(result.roi == OBJECT for result in captured(parts).results))
    assert captured(parts).results[0].roi == Roi(0, 0, 0.5, 0.5)


def test_sources_are_shown_results_through_a_gate_of_their_own(bench: Bench) -> None:
    sources = [{"kind": "ask"}, {"kind": "ask", "egress": {"grants": ["pixels"]}}]
    _, parts, _ = run(bench, raw(3, roi=sources))
    without, granted = source(parts, 0).seen, source(parts, 1).seen
    assert len(without) == len(granted) == 3
    assert all(result.mask is not None for result in without)
    assert all(result.frame.image is None for result in without)
    assert all(result.frame.image is not None for result in granted)


# Publishers


def test_a_blocked_publisher_costs_the_others_nothing(bench: Bench) -> None:
    """Told by counts: every frame is made and delivered while one publisher is stuck."""
    config = raw(frames=300, publishers=1)
    config["publish"] += [{"kind": "capture", "name": "stuck", "queue": 4}]
    application, parts = bench.build(config)
    stuck = captured(parts, 1)
    stuck.passing.clear()
    bench.open(application)
    runner = threading.Thread(target=application.run)
    runner.start()
    until(lambda: len(captured(parts, 0).results) == 300)
    assert stuck.results == []
    stats = application.stats()
    assert stats["frames"] == 300
    assert stats["publisher"]["stuck"]["waiting"] == 4
    assert stats["publisher"]["stuck"]["dropped"] == 300 - 4 - 1
    stuck.passing.set()
    runner.join(20)
    assert not runner.is_alive()
    assert stuck.indices[1:] == [296, 297, 298, 299]


def test_a_broken_publisher_costs_the_others_nothing(bench: Bench) -> None:
    config = raw(frames=50, publishers=2)
    config["publish"] += [{"kind": "capture", "name": "broken", "broken": "always"}]

    def prepare(parts: Parts) -> None:
        captured(parts, 1).fail_publish = 10**6

    application, _, results = run(bench, config, prepare)
    assert [result.frame.index for result in results] == list(range(50))
    stats = application.stats()["publisher"]
    assert stats["broken"]["accepted"] == stats["broken"]["dropped"] == 50
    assert stats["capture-2"]["errors"] >= 1
    assert "ConnectionError" in stats["capture-2"]["last_error"]


def test_a_missing_package_of_a_publisher_is_said_at_the_start(bench: Bench) -> None:
    config = raw(publish=[{"kind": "capture", "broken": "package"}])
    application, parts = bench.build(config)
    with pytest.raises(ModuleNotFoundError, match="acme"), application:
        pytest.fail("it started")
    assert film(parts).closed >= 1


def test_a_publisher_that_is_waited_for_loses_nothing(bench: Bench) -> None:
    """Though it fails now and then, and is behind when the frames end."""
    waited = {"kind": "capture", "queue": 2, "retry_s": 0.001, "wait": True}
    config = raw(camera={"kind": "reel", "frames": 40}, publish=[waited])
    application, parts = bench.build(config | {"run": {"shutdown_s": 0.0}})
    publisher = captured(parts)
    publisher.passing.clear()
    publisher.fail_publish = 3
    bench.open(application)
    runner = threading.Thread(target=application.run)
    runner.start()
    until(lambda: application.stats()["publisher"]["capture"]["waiting"] == 2)
    assert application.stats()["frames"] <= 4  # the loop waits
    publisher.passing.set()
    runner.join(20)
    assert not runner.is_alive()
    assert publisher.indices == list(range(40))
    assert application.stats()["publisher"]["capture"]["dropped"] == 0


def test_waiting_for_a_publisher_does_not_hold_up_the_end(bench: Bench) -> None:
    waited = {"kind": "capture", "queue": 1, "wait": True}
    config = raw(camera={"kind": "reel"}, publish=[waited], run={"shutdown_s": 0.1})
    application, parts = bench.build(config)
    captured(parts).passing.clear()
    thread = bench.start(application)
    until(lambda: application.stats()["publisher"]["capture"]["waiting"] == 1)
    application.stop()
    thread.join(10)
    assert not thread.is_alive()
    captured(parts).passing.set()


def test_nobody_waits_with_a_live_camera(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"publish\[1\]\.wait: expected false with a live"):
        bench.build(raw(publish=[{"kind": "capture"}, {"kind": "capture", "wait": True}]))


# Cameras and backends


def test_a_lost_camera_is_opened_again(bench: Bench) -> None:
    def prepare(parts: Parts) -> None:
        camera = film(parts)

        def lose(index: int) -> None:
            if index == 5 and camera.opened == 1:
                camera.fail_open = 1
                raise CameraError("unplugged")

        camera.before = lose

    application, parts, results = run(bench, raw(10), prepare)
    assert [result.frame.index for result in results] == list(range(10))
    stats = application.stats()["camera"]["film"]
    assert stats["errors"] == 2
    assert stats["restarts"] == 1
    assert stats["state"] == "ready"
    assert film(parts).opened == 3


def test_a_file_that_breaks_off_ends_the_run_with_its_error(bench: Bench) -> None:
    """It is not begun again: what was seen already would be seen twice."""
    application, parts = bench.build(raw(camera={"kind": "reel"}))

    def break_off(index: int) -> None:
        if index == 4:
            raise CameraError("broken file")

    film(parts).before = break_off
    with application, pytest.raises(CameraError, match="broken file"):
        application.run()
    assert captured(parts).indices == [0, 1, 2, 3]
    assert film(parts).opened == 1


def test_a_camera_that_stays_away_does_not_hold_up_the_end(bench: Bench) -> None:
    application, parts = bench.build(raw())

    def lose(index: int) -> None:
        if index == 3:
            film(parts).fail_open = 10**6
            raise CameraError("unplugged")

    film(parts).before = lose
    thread = bench.start(application)
    until(lambda: application.stats()["camera"]["film"]["state"] == "lost")
    application.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert not application.stuck
    assert captured(parts).indices == [0, 1, 2]


def test_a_camera_that_hangs_does_not_hold_up_the_end(bench: Bench) -> None:
    config = raw(run={"shutdown_s": 0.5})
    application, parts = bench.build(config)
    hanging, go_on = threading.Event(), threading.Event()

    def hang(index: int) -> None:
        if index == 3:
            hanging.set()
            go_on.wait(30)

    film(parts).before = hang
    thread = bench.start(application)
    assert hanging.wait(10)
    application.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert application.stuck
    assert captured(parts).indices == [0, 1, 2]  # delivered nevertheless
    assert captured(parts).events[-2:] == ["flush", "close"]
    go_on.set()
    until(lambda: not application.stuck)
    assert film(parts).closed == 1  # by its own thread, when it came back


def test_a_camera_that_is_not_there_at_the_start_is_an_error(bench: Bench) -> None:
    application, parts = bench.build(raw())
    film(parts).fail_open = 1
    with pytest.raises(OSError, match="not there"), application:
        pytest.fail("it started")
    assert captured(parts).events[-1] == "close"
    assert not [t for t in threading.enumerate() if t.name.startswith("publish-")]


def test_a_backend_that_fails_is_opened_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, parts = bench.build(raw(6, segmenter={"backend": "flaky"}))

    def fail(index: int) -> None:
        if index == 2:
            monkeypatch.setattr(FlakyBackend, "faults", 1)

    film(parts).before = fail
    with application:
        application.run()
    assert captured(parts).indices == [0, 1, 2, 3, 4, 5]
    masks = [result.mask is not None for result in captured(parts).results]
    assert masks == [True, True, False, True, True, True]
    stats = application.stats()["backend"]["flaky"]
    assert stats["errors"] == stats["restarts"] == 1


# Filters


def test_filters_are_applied_in_order(bench: Bench) -> None:
    filters = [{"kind": "mark"}, {"kind": "mark", "add": 0.5}]
    _, _, results = run(bench, raw(3, filter=filters))
    assert [result.mask.score for result in results if result.mask] == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("fault", ["raise", "withhold", "type"])
def test_a_filter_that_fails_or_withholds_gives_no_mask(bench: Bench, fault: str) -> None:
    application, _, results = run(bench, raw(5, filter=[{"kind": "mark", "fault": fault}]))
    masks = [result.mask is not None for result in results]
    assert masks[:4] == [True, True, True, False]
    counted = "withheld" if fault == "withhold" else "errors"
    assert application.stats()["filter"]["mark"][counted] >= 1


def test_each_region_has_filters_of_its_own(bench: Bench) -> None:
    def prepare(parts: Parts) -> None:
        source(parts).answer = lambda now_ns: Prompt(roi=OBJECT, region="ab"[film(parts).index % 2])

    _, _, results = run(bench, raw(6, filter=[{"kind": "mark"}]), prepare)
    assert [r.mask.score for r in results if r.mask] == [1, 1, 2, 2, 3, 3]


def test_filters_are_reset_when_the_object_is_lost_or_another(bench: Bench) -> None:
    def prepare(parts: Parts) -> None:
        asked = [OBJECT, OBJECT, None, OBJECT, OBJECT, Roi(0.8, 0.8, 0.2, 0.2), OBJECT]
        source(parts).answer = lambda now_ns: asked[film(parts).index - 1]

    _, _, results = run(bench, raw(7, filter=[{"kind": "mark"}]), prepare)
    assert [r.mask and r.mask.score for r in results] == [1, 2, None, 1, 2, 1, 1]


# The end


def test_max_frames(bench: Bench) -> None:
    application, _, results = run(bench, raw(run={"max_frames": 7}))
    assert len(results) == 7
    assert application.stats()["frames"] == 7


def test_max_fps(bench: Bench) -> None:
    began = time.monotonic()
    run(bench, raw(run={"max_frames": 9, "max_fps": 40}))
    assert time.monotonic() - began >= 8 / 40


def test_stopping_before_it_runs(bench: Bench) -> None:
    application, _ = bench.build(raw())
    with application:
        application.stop()
        application.run()


def test_what_ends_the_loop_unasked_is_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, parts = bench.build(raw())

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("picosam_sdk.pipeline.loop.Pipeline._result", broken)
    with application, pytest.raises(RuntimeError, match="a bug of ours"):
        application.run()
    assert film(parts).closed == 1
    assert captured(parts).events[-1] == "close"


def test_status_is_told_and_its_error_ends_the_run_cleanly(bench: Bench) -> None:
    application, parts = bench.build(raw(run={"status_s": 0.02}))
    told: list[dict[str, Any]] = []

    def tell(stats: dict[str, Any]) -> None:
        told.append(stats)
        if len(told) == 3:
            raise KeyboardInterrupt

    with application, pytest.raises(KeyboardInterrupt):
        application.run(tell)
    assert told[2]["frames"] > told[0]["frames"]
    assert captured(parts).events[-1] == "close"


def test_no_threads_are_left(bench: Bench) -> None:
    before = set(threading.enumerate())
    run(bench, raw(5, publishers=3))
    assert set(threading.enumerate()) == before
