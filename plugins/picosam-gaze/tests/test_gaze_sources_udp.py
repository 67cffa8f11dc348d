"""The source "udp", and what the JSON message may hold."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_gaze.source import GazeSource, GazeSourceError, make_source
from picosam_gaze.sources.inbox import Inbox
from picosam_gaze.sources.message import MessageConfig, MessageReader
from picosam_gaze.sources.udp import UdpSource
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

HOURS_NS = 5 * 3600 * 10**9


def message(gaze: Gaze, **more: Any) -> bytes:
    lost = math.isnan(gaze.x)
    return json.dumps(
        {
            "x": None if lost else gaze.x,
            "y": None if lost else gaze.y,
            "confidence": gaze.confidence,
            "worn": gaze.worn,
            **more,
        }
    ).encode()


class Sender:
    """Sends datagrams to a source."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __call__(self, source: GazeSource, payload: bytes | dict[str, Any]) -> None:
        assert isinstance(source, UdpSource)
        if isinstance(payload, dict):
            payload = json.dumps(payload).encode()
        self._socket.sendto(payload, ("127.0.0.1", source.port))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def to() -> Iterator[Sender]:
    sender = Sender()
    yield sender
    sender.close()


def opened(**keys: Any) -> UdpSource:
    source = make_source({"kind": "udp", "port": 0, **keys}, Context())
    assert isinstance(source, UdpSource)
    source.open()
    return source


class TestUdp(GazeSourceContract):
    tells_time = False
    loses = False  # nobody is connected; silence is what shows a loss

    @pytest.fixture(autouse=True)
    def sender(self) -> Iterator[None]:
        self.to = Sender()
        yield
        self.to.close()

    def make(self, **keys: Any) -> GazeSource:
        return make_source({"kind": "udp", "port": 0, **keys}, Context())

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.to(source, message(gaze))


class TestUdpWithSendersClock(TestUdp):
    """The sender's clock is five hours ahead, counts in microseconds and runs 0.1 % fast."""

    tells_time = True

    def make(self, **keys: Any) -> GazeSource:
        table = {"kind": "udp", "port": 0, "clock": "sender", "t_unit": "us"}
        return make_source({**table, **keys}, Context())

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.to(source, message(gaze, t=int(gaze.timestamp_ns * 1.001 + HOURS_NS) // 1000))


GARBAGE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"3",
    b"{}",
    b'{"x": 0.5}',
    b'{"x": NaN, "y": NaN}',
    b'{"x": Infinity, "y": 0.5}',
    b'{"x": 0.5, "y": null}',
    b'{"x": "0.5", "y": 0.5}',
    b'{"x": true, "y": 0.5}',
    b'{"x": 1e400, "y": 0.5}',
    b'{"x": 11, "y": 0.5}',
    b'{"x": 0.5, "y": -1e9}',
    b'{"x": 0.5, "y": 0.5, "confidence": 1.5}',
    b'{"x": 0.5, "y": 0.5, "confidence": null}',
    b'{"x": 0.5, "y": 0.5, "worn": 1}',
    b'{"x": 1' + b"0" * 400 + b', "y": 0.5}',
    b"[" * 1000,
    b'{"x": 0.5, "y": 0.5, "more": "' + b"x" * 2000 + b'"}',
]


def test_garbage_is_counted_and_changes_nothing(to: Sender) -> None:
    source = opened()
    try:
        for payload in GARBAGE:
            to(source, payload)
        to(source, {"x": 0.25, "y": 0.5})
        poll(lambda: source.stats["received"] == 1, "the good one")
        assert source.stats["malformed"] == len(GARBAGE)
        assert source.stats["oversized"] == 1
        (gaze,) = source.samples()
        assert (gaze.x, gaze.y, gaze.confidence, gaze.worn) == (0.25, 0.5, 1.0, True)
        assert source.stats["last_error"] == ""
    finally:
        source.close()


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_payload_raises(payload: bytes) -> None:
    inbox = Inbox(10)
    MessageReader(MessageConfig(clock="sender"), None, inbox).read(payload, 10**9)
    assert inbox.stats["received"] + inbox.stats["malformed"] == 1


numbers = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3)


@given(st.fixed_dictionaries({"x": numbers, "y": numbers, "t": numbers, "confidence": numbers}))
def test_whatever_is_accepted_is_sound(values: dict[str, Any]) -> None:
    inbox = Inbox(10)
    reader = MessageReader(MessageConfig(clock="sender"), None, inbox)
    reader.read(json.dumps(values).encode(), 10**9)
    for gaze in inbox.drain():
        assert 0 <= gaze.confidence <= 1
        assert gaze.timestamp_ns <= 10**9
        assert abs(gaze.x) <= 10 or math.isnan(gaze.x)
        assert math.isnan(gaze.x) == math.isnan(gaze.y)


def test_pixels_become_shares_of_the_view(to: Sender) -> None:
    source = opened(units="pixels", view_px=[1600, 1200])
    try:
        to(source, {"x": 400, "y": 900})
        (gaze,) = poll(source.samples, "a sample")
        assert (gaze.x, gaze.y) == (0.25, 0.75)
        assert source.view_px == (1600, 1200)
    finally:
        source.close()


def test_late_and_repeated_samples_are_counted(to: Sender) -> None:
    source = opened(clock="sender", t_unit="ns")
    try:
        base = 7 * 10**15
        for step in (3, 1, 2, 2, 4):
            to(source, {"x": step / 10, "y": 0.5, "t": base + step * 1_000_000})
        poll(lambda: source.stats["received"] == 5, "5 samples")
        samples = source.samples()
        assert [round(gaze.x, 1) for gaze in samples] == [0.1, 0.2, 0.3, 0.4]
        spacing = {b.timestamp_ns - a.timestamp_ns for a, b in pairwise(samples)}
        assert max(spacing) < 5_000_000
        assert source.stats["duplicates"] == 1
        for step in (0, 4, 5):
            to(source, {"x": step / 10, "y": 0.5, "t": base + step * 1_000_000})
        poll(lambda: source.stats["received"] == 8, "8 samples")
        assert [round(gaze.x, 1) for gaze in source.samples()] == [0.5]
        assert source.stats["late"] == 1
        assert source.stats["duplicates"] == 2
    finally:
        source.close()


def test_only_those_who_may_send_are_heard(to: Sender) -> None:
    source = opened(allow=["192.0.2.0/24", "2001:db8::1"])
    try:
        to(source, {"x": 0.5, "y": 0.5})
        poll(lambda: source.stats.get("refused") == 1, "the refusal")
        assert source.samples() == []
    finally:
        source.close()
    source = opened(allow=["127.0.0.0/8"])
    try:
        to(source, {"x": 0.5, "y": 0.5})
        assert poll(source.samples, "a sample")
    finally:
        source.close()


def test_it_listens_on_loopback_alone_unless_told_otherwise() -> None:
    source = opened()
    try:
        assert source._socket is not None
        assert source._socket.getsockname()[0] == "127.0.0.1"
    finally:
        source.close()


def test_a_port_that_is_taken_is_an_error() -> None:
    source = opened()
    try:
        other = make_source({"kind": "udp", "port": source.port}, Context())
        with pytest.raises(GazeSourceError, match=f"127.0.0.1:{source.port}") as caught:
            other.open()
        assert "port" in caught.value.hint
        other.close()
    finally:
        source.close()


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "port"),
        ({"port": 70000}, "port"),
        ({"port": 1, "units": "pixels"}, "units"),
        ({"port": 1, "allow": ["nobody"]}, "allow"),
        ({"port": 1, "max_bytes": 0}, "max_bytes"),
        ({"port": 1, "timeout_s": 0.0}, "timeout_s"),
        ({"port": 1, "buffer": 0}, "buffer"),
        ({"port": 1, "view_px": [0, 1]}, "view_px"),
        ({"port": 1, "clock": "mine"}, "clock"),
        ({"port": 1, "retry_s": 20.0}, "retry_s"),
    ],
)
def test_a_wrong_key_is_named(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^roi\[0\].source.{key}: "):
        make_source({"kind": "udp", **table}, Context(), "roi[0].source")


def test_a_stopped_sender_does_not_block_the_reader(to: Sender) -> None:
    source = opened()
    try:
        assert source.samples() == []
        to(source, {"x": 0.5, "y": 0.5})
        poll(lambda: source.connected, "a sample")
        before_ns = time.monotonic_ns()
        (gaze,) = source.samples()
        assert gaze.timestamp_ns <= before_ns
    finally:
        source.close()
