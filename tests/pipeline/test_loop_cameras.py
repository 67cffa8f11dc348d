"""The loop with cameras and backends that are lost, hang, or are not there."""

from __future__ import annotations

import threading

import pytest

from picosam_sdk import CameraError
from picosam_sdk.app import Parts
from tests.pipeline.conftest import Bench, FlakyBackend, captured, film, raw, run, until


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
    # It waits for a publisher, but not for one that is paused.
    until(lambda: captured(parts).events[-1] == "close")
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("publish-")])


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
