"""The loop with publishers that block, fail, or are waited for."""

from __future__ import annotations

import threading

import pytest

from picosam_sdk import ConfigError
from picosam_sdk.app import Parts
from tests.pipeline.conftest import Bench, captured, film, raw, run, until


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
    until(lambda: application.stats()["frames"] == 300)
    stats = application.stats()
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
