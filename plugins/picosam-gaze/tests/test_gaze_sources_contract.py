"""Each test of the contract fails for a source that is wrong in that way."""

from __future__ import annotations

import inspect
import math
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from picosam_gaze.source import GazeSource, SourceConfig, make_source
from picosam_gaze.sources.inbox import Inbox
from picosam_gaze.sources.udp import UdpSource
from picosam_gaze.testing import GazeSourceContract

from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze


class Direct(GazeSource):
    """A source that is right: the test puts samples into it."""

    name = "direct"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.inbox = Inbox(config.buffer)
        self.there = False

    def open(self) -> None:
        self.inbox = Inbox(self.config.buffer)
        self.there = True

    def close(self) -> None:
        self.there = False

    def deliver(self, gaze: Gaze) -> None:
        if self.there:
            self.inbox.put(gaze)

    def samples(self) -> list[Gaze]:
        return self.inbox.drain()

    @property
    def connected(self) -> bool:
        age_s = self.inbox.age_s
        return self.there and age_s is not None and age_s <= self.config.timeout_s

    @property
    def stats(self) -> Mapping[str, Any]:
        return {**self.inbox.stats, "connected": self.connected}


class DirectContract(GazeSourceContract):
    """The contract, told how to feed it; short of patience, since it is to fail."""

    timeout_s = 0.4
    kind: type[Direct] = Direct

    def make(self, **keys: Any) -> GazeSource:
        return self.kind(SourceConfig(**keys), Context())

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        assert isinstance(source, Direct)
        source.deliver(gaze)

    def lose(self, source: GazeSource) -> None:
        assert isinstance(source, Direct)
        source.there = False

    def restore(self, source: GazeSource) -> None:
        assert isinstance(source, Direct)
        source.there = True


class TestDirect(DirectContract):
    timeout_s = 5.0


class Changing(Direct):
    """Changes samples on their way; what it does is set by subclasses."""

    def change(self, gaze: Gaze) -> Gaze | None:
        return gaze

    def deliver(self, gaze: Gaze) -> None:
        changed = self.change(gaze)
        if changed is not None:
            super().deliver(changed)


class Upside(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        return replace(gaze, y=1 - gaze.y)


class Clipped(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        if math.isnan(gaze.x):
            return gaze
        return replace(gaze, x=min(max(gaze.x, 0.0), 1.0), y=min(max(gaze.y, 0.0), 1.0))


class HoldsOn(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        return replace(gaze, x=0.5, y=0.5) if math.isnan(gaze.x) else gaze


class AlwaysWorn(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        return replace(gaze, worn=True)


class Certain(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        return replace(gaze, confidence=1.0)


class WrongClock(Changing):
    def change(self, gaze: Gaze) -> Gaze:
        return replace(gaze, timestamp_ns=gaze.timestamp_ns - 3600 * 10**9)


class Ahead(Direct):
    def samples(self) -> list[Gaze]:
        return [replace(g, timestamp_ns=g.timestamp_ns + 10**10) for g in super().samples()]


class Backwards(Changing):
    count = 0

    def samples(self) -> list[Gaze]:
        self.count += 1
        return [replace(g, timestamp_ns=10**6 - self.count) for g in super().samples()]


class Repeats(Direct):
    last: tuple[Gaze, ...] = ()

    def samples(self) -> list[Gaze]:
        new = super().samples()
        again = [*self.last, *new]
        self.last = tuple(again)
        return again


class Hopeful(Direct):
    """Stays connected after loss, as the client of a well-known eye tracker did."""

    @property
    def connected(self) -> bool:
        return self.inbox.age_s is not None


class Eager(Direct):
    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.there = True
        self.inbox.put(Gaze(0.5, 0.5, time.monotonic_ns()))


class Hoarding(Direct):
    def open(self) -> None:
        super().open()
        self.inbox = Inbox(10_000)


class Unlucky(Direct):
    """Does not find its peer again."""

    broken = False

    def samples(self) -> list[Gaze]:
        self.broken |= not self.there
        return super().samples()

    def deliver(self, gaze: Gaze) -> None:
        if not self.broken:
            super().deliver(gaze)


class Once(Direct):
    """Cannot be opened again."""

    opened = False

    def open(self) -> None:
        if self.opened:
            raise RuntimeError("threads can only be started once")
        self.opened = True
        super().open()


class Uncounted(Direct):
    @property
    def stats(self) -> Mapping[str, Any]:
        return {"connected": self.connected, "last_sample_age_s": self.inbox.age_s, "received": 1}


WRONG = [
    (Eager, "test_is_made_without_a_peer_and_opens_nothing"),
    (Upside, "test_a_sample_arrives_once_where_and_when_it_was"),
    (WrongClock, "test_a_sample_arrives_once_where_and_when_it_was"),
    (Certain, "test_a_sample_arrives_once_where_and_when_it_was"),
    (Repeats, "test_a_sample_arrives_once_where_and_when_it_was"),
    (Clipped, "test_places_outside_the_view_are_kept"),
    (HoldsOn, "test_a_lost_eye_gives_no_place"),
    (AlwaysWorn, "test_glasses_that_nobody_wears_give_no_place"),
    (Ahead, "test_time_never_runs_back_and_is_never_ahead"),
    (Backwards, "test_time_never_runs_back_and_is_never_ahead"),
    (Uncounted, "test_counts_what_came"),
    (Hopeful, "test_silence_is_seen"),
    (Hopeful, "test_a_peer_that_is_gone_is_seen_and_found_again"),
    (Unlucky, "test_a_peer_that_is_gone_is_seen_and_found_again"),
    (Hoarding, "test_the_oldest_is_dropped_and_counted"),
    (Once, "test_is_closed_twice_and_opened_again"),
]


@pytest.mark.parametrize(("kind", "test"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_source_fails(kind: type[Direct], test: str) -> None:
    for right in (True, False):
        contract = DirectContract()
        contract.kind = Direct if right else kind
        method = getattr(contract, test)
        arguments = []
        if inspect.signature(method).parameters:
            arguments.append(contract.make())
            arguments[0].open()
        if right:
            method(*arguments)
        else:
            with pytest.raises((AssertionError, RuntimeError, pytest.fail.Exception)):
                method(*arguments)


def test_opening_and_closing_under_fire_leaves_nothing_behind() -> None:
    before = threading.active_count()
    source = make_source({"kind": "udp", "port": 0}, Context())
    assert isinstance(source, UdpSource)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(30):
            source.open()
            for _ in range(20):
                sender.sendto(b'{"x": 0.5, "y": 0.5}', ("127.0.0.1", source.port))
            source.samples()
            source.close()
    assert threading.active_count() == before
