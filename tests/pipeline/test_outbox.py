"""The outbox: bounded, newest wins, what a publisher does stays its own affair."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from picosam_sdk.outbox import Outbox, close_all
from picosam_sdk.settings import PublishTable
from picosam_sdk.stats import PartStats
from tests.pipeline.conftest import Capture, OpenGate, result, until

Make = Callable[..., tuple[Outbox, Capture, OpenGate]]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[tuple[Outbox, Capture]] = []

    def make_outbox(start: bool = True, **table: Any) -> tuple[Outbox, Capture, OpenGate]:
        publisher, gate = Capture(), OpenGate()
        options = {"queue": 3, "retry_s": 0.005, "retry_max_s": 0.02} | table
        outbox = Outbox("test", publisher, gate, PublishTable("capture", **options), PartStats())  # type: ignore[arg-type]
        made.append((outbox, publisher))
        if start:
            outbox.start()
        return outbox, publisher, gate

    yield make_outbox
    for outbox, publisher in made:
        publisher.passing.set()
        outbox.close(5)


def test_delivers_in_order_in_its_own_thread(make: Make) -> None:
    outbox, publisher, gate = make(queue=50)
    for index in range(50):
        outbox.offer(result(index), 0)
    assert outbox.close(10)
    assert publisher.indices == list(range(50))
    assert publisher.events == ["open", "flush", "close"]
    assert publisher.threads == {"publish-test"}
    assert gate.released == list(range(50))
    assert gate.sizes == [100] * 50
    assert outbox.stats.counts() == {"accepted": 50, "sent": 50, "bytes": 5000, "dropped": 0}
    assert outbox.stats.state == "closed"
    assert outbox.stats.distributions()["publish"].count == 50


def test_offering_never_waits_and_drops_the_oldest(make: Make) -> None:
    """All offers return though the publisher is stuck: counts tell, not the clock."""
    outbox, publisher, _ = make(queue=3)
    publisher.passing.clear()
    outbox.offer(result(0), 0)
    assert publisher.entered.acquire(timeout=10)  # it holds 0, and is stuck
    for index in range(1, 1001):
        outbox.offer(result(index), 0)
    assert outbox.waiting == 3
    assert outbox.stats["dropped"] == 997
    assert publisher.results == []
    publisher.passing.set()
    assert outbox.close(10)
    assert publisher.indices == [0, 998, 999, 1000]
    assert outbox.stats["accepted"] == 1001 == outbox.stats["sent"] + outbox.stats["dropped"]


def test_what_the_policy_withholds_never_reaches_the_queue(make: Make) -> None:
    outbox, publisher, gate = make()
    gate.withheld = {1}
    for index in range(3):
        outbox.offer(result(index), 0)
    assert outbox.close(10)
    assert publisher.indices == [0, 2]
    assert outbox.stats["withheld"] == 1


def test_a_gate_that_fails_lets_nothing_through(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, publisher, gate = make()

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("policy")

    monkeypatch.setattr(gate, "release", broken)
    outbox.offer(result(0), 0)
    until(lambda: outbox.stats["errors"] == 1)
    monkeypatch.setattr(gate, "admit", broken)
    outbox.offer(result(1), 0)
    assert outbox.close(10)
    assert publisher.results == []
    assert publisher.events == ["open", "flush", "close"]  # it is not to blame
    assert outbox.stats["errors"] == 2
    assert outbox.stats["withheld"] == 1


def test_a_failed_result_is_tried_again_after_the_publisher_was_opened_again(make: Make) -> None:
    outbox, publisher, _ = make()
    publisher.fail_publish = 2
    outbox.offer(result(7), 0)
    until(lambda: publisher.results)
    assert publisher.indices == [7]
    retry = ["failed", "close", "open"]
    assert publisher.events == ["open", *retry, *retry]
    assert outbox.stats["errors"] == 2
    assert outbox.stats["restarts"] == 2
    assert "broker gone" in outbox.stats.last_error
    assert outbox.close(10)
    assert outbox.stats["dropped"] == 0


def test_a_newer_result_replaces_the_failed_one(make: Make) -> None:
    outbox, publisher, _ = make()
    publisher.passing.clear()
    publisher.fail_publish = 1
    outbox.offer(result(1), 0)
    assert publisher.entered.acquire(timeout=10)
    outbox.offer(result(2), 0)
    publisher.passing.set()
    until(lambda: publisher.results)
    assert outbox.close(10)
    assert publisher.indices == [2]
    assert outbox.stats["dropped"] == 1


def test_a_publisher_that_cannot_be_opened_is_tried_until_it_can(make: Make) -> None:
    outbox, publisher, _ = make(start=False)
    publisher.fail_open = 4
    outbox.start()
    assert isinstance(outbox.wait_opened(10), ConnectionError)
    for index in range(9):
        outbox.offer(result(index), 0)
    until(lambda: outbox.stats.state == "ready")
    assert outbox.close(10)
    assert publisher.indices[-1] == 8
    assert outbox.stats["errors"] == 4
    assert outbox.stats["restarts"] == 1


def test_failures_are_logged_once_until_it_works_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outbox, publisher, _ = make()
    publisher.fail_publish = 6
    outbox.offer(result(0), 0)
    until(lambda: publisher.results)
    assert outbox.close(10)
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "publisher 'test' failed: ConnectionError: broker gone",
        "publisher 'test' works again",
    ]


def test_closing_gives_up_at_the_deadline_and_counts_what_is_left(make: Make) -> None:
    outbox, publisher, _ = make(queue=5)
    publisher.passing.clear()
    outbox.offer(result(0), 0)
    assert publisher.entered.acquire(timeout=10)
    for index in range(1, 5):
        outbox.offer(result(index), 0)
    assert not outbox.close(0.05)
    assert outbox.stats["dropped"] == 4
    outbox.offer(result(9), 0)
    publisher.passing.set()
    until(lambda: outbox.stats.state == "closed")
    assert publisher.indices == [0]


def test_closing_delivers_what_waits_for_a_pause_to_end(make: Make) -> None:
    outbox, publisher, _ = make(retry_s=60, retry_max_s=60)
    publisher.fail_publish = 1
    outbox.offer(result(0), 0)
    until(lambda: outbox.stats.state == "retrying")
    assert outbox.close(10)
    assert publisher.indices == [0]


def test_closing_between_a_failure_and_its_pause_delivers_what_failed(make: Make) -> None:
    outbox, publisher, _ = make(retry_s=60, retry_max_s=60)
    publisher.fail_publish = 1
    close = publisher.close

    def closing() -> None:  # what comes before the pause
        outbox.finish(10)
        close()

    publisher.close = closing  # type: ignore[method-assign]
    outbox.offer(result(0), 0)
    until(lambda: outbox.stats.state == "closed")
    assert outbox.close(10)
    assert publisher.indices == [0]


def test_closing_does_not_hammer_a_publisher_that_fails(make: Make) -> None:
    outbox, publisher, _ = make(retry_s=0.04, retry_max_s=0.04)
    publisher.fail_publish = 10**6
    outbox.offer(result(0), 0)
    until(lambda: outbox.stats["errors"] >= 1)
    before = outbox.stats["errors"]
    assert outbox.close(0.3)  # nothing is left in the queue
    assert outbox.stats["errors"] - before <= 10
    assert outbox.stats["accepted"] == outbox.stats["dropped"] == 1


def test_a_publisher_that_cannot_close_harms_nobody(make: Make) -> None:
    outbox, publisher, _ = make()
    publisher.fail_close, publisher.fail_publish = 1, 1
    outbox.offer(result(0), 0)
    until(lambda: publisher.results)
    assert outbox.close(10)
    assert outbox.stats["errors"] == 3


def test_many_are_closed_in_the_time_of_one(make: Make) -> None:
    stuck = [make() for _ in range(5)]
    for outbox, publisher, _ in stuck:
        publisher.passing.clear()
        outbox.offer(result(0), 0)
        assert publisher.entered.acquire(timeout=10)
    fine, received, _ = make()
    fine.offer(result(3), 0)
    began = time.monotonic()
    assert not close_all([*(outbox for outbox, _, _ in stuck), fine], 0.3)
    # A bound of the deadline's logic, not of speed: one after the other would take 1.5 s.
    assert time.monotonic() - began < 5 * 0.3
    assert received.indices == [3]


def test_closing_one_that_was_never_started(make: Make) -> None:
    outbox, publisher, _ = make(start=False)
    outbox.offer(result(0), 0)
    assert not outbox.close(0.01)
    assert publisher.events == []
