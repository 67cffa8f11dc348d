"""The loop on a host: results, the chain of sources, failures that stay where they happen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from picosam_sdk import EgressError, Gaze, Prompt, Roi
from picosam_sdk.app import Parts
from tests.fakes import red_scene
from tests.pipeline.conftest import (
    OBJECT,
    Bench,
    captured,
    film,
    raw,
    run,
    source,
    until,
)


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
    told: list[int] = []

    def tell(stats: dict[str, Any]) -> None:
        told.append(stats.get("frames", 0))
        if told[-1] > told[0] or len(told) == 500:
            raise KeyboardInterrupt

    with application, pytest.raises(KeyboardInterrupt):
        application.run(tell)
    assert told[-1] > told[0]
    assert captured(parts).events[-1] == "close"


def test_no_threads_are_left(bench: Bench) -> None:
    before = set(threading.enumerate())
    run(bench, raw(5, publishers=3))
    assert set(threading.enumerate()) == before
