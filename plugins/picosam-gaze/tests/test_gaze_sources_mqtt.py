"""The source "mqtt", against a real mosquitto."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from picosam_gaze.source import GazeSource, GazeSourceError, make_source
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

pytest.importorskip("paho.mqtt.client")


def connect_packet() -> bytes:
    """MQTT 3.1.1 CONNECT, clean session, no client id."""
    return b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"


def publish_packet(topic: str, payload: bytes, retain: bool = False) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + payload
    length = bytearray()
    rest = len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (128 if rest else 0))
        if not rest:
            return bytes([0x31 if retain else 0x30]) + bytes(length) + body


class Publisher:
    """Publishes with QoS 0 over a plain socket, so that nothing but the source has a thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __call__(self, topic: str, payload: bytes, retain: bool = False) -> None:
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), 2)
                self._socket.sendall(connect_packet())
                assert self._socket.recv(4)[:1] == b"\x20"
            self._socket.sendall(publish_packet(topic, payload, retain))
        except OSError:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def message(gaze: Gaze) -> bytes:
    lost = math.isnan(gaze.x)
    values = {"x": None if lost else gaze.x, "y": None if lost else gaze.y}
    return json.dumps({**values, "confidence": gaze.confidence, "worn": gaze.worn}).encode()


class TestMqtt(GazeSourceContract):
    tells_time = False
    version = "3.1.1"

    @pytest.fixture(autouse=True)
    def peer(self, broker: Any) -> Iterator[None]:
        self.broker = broker
        self.publish = Publisher(broker.port)
        yield
        self.publish.close()

    def make(self, **keys: Any) -> GazeSource:
        table = {"kind": "mqtt", "port": self.broker.port, "topic": "gaze/desk"}
        more = {"version": self.version, "retry_s": 0.05, "retry_max_s": 0.2}
        return make_source({**table, **more, **keys}, Context())

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.publish("gaze/desk", message(gaze))

    def lose(self, source: GazeSource) -> None:
        self.broker.stop()

    def restore(self, source: GazeSource) -> None:
        self.broker.start()
        self.publish.close()


class TestMqtt5(TestMqtt):
    version = "5"


class TestMqttOverWebSockets(TestMqtt):
    @pytest.fixture(autouse=True)
    def websockets(self, peer: None, make_broker: Callable[..., Any]) -> None:
        """A second listener of another broker, whose first one the publisher uses."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        more = f"listener {self.port} 127.0.0.1\nprotocol websockets\n"
        self.broker = make_broker(more=more)
        self.publish = Publisher(self.broker.port)

    def make(self, **keys: Any) -> GazeSource:
        return super().make(port=self.port, transport="websockets", **keys)


@pytest.fixture
def publish(broker: Any) -> Iterator[Publisher]:
    publish = Publisher(broker.port)
    yield publish
    publish.close()


@pytest.fixture
def opened(broker: Any) -> Iterator[Callable[..., GazeSource]]:
    sources = []

    def open_source(**keys: Any) -> GazeSource:
        table = {"kind": "mqtt", "port": broker.port, "topic": "gaze/desk", "retry_s": 0.05}
        sources.append(make_source({**table, **keys}, Context()))
        sources[-1].open()
        return sources[-1]

    yield open_source
    for source in sources:
        source.close()


def test_a_retained_gaze_is_old_and_ignored(
    publish: Publisher, opened: Callable[..., GazeSource]
) -> None:
    publish("gaze/desk", b'{"x": 0.1, "y": 0.1}', retain=True)
    source = opened()
    poll(lambda: source.stats.get("retained") == 1, "the retained message")
    assert source.samples() == []
    assert not source.connected
    publish("gaze/desk", b'{"x": 0.2, "y": 0.2}')
    (gaze,) = poll(source.samples, "a fresh one")
    assert gaze.x == 0.2


def test_a_frozen_broker_is_seen_and_garbage_is_counted(
    broker: Any, publish: Publisher, opened: Callable[..., GazeSource]
) -> None:
    source = opened(timeout_s=0.3, keepalive_s=1)

    def arrives() -> bool:
        publish("gaze/desk", b"{'x': 1}")
        publish("gaze/desk", b'{"x": 0.5, "y": 0.5}')
        time.sleep(0.02)
        return bool(source.samples())

    poll(arrives, "a sample")
    assert source.stats["malformed"] >= 1
    broker.freeze()
    poll(lambda: not source.connected, "silence")
    poll(lambda: source.stats["reconnects"] >= 1, "the broker to be given up")
    broker.stop()
    broker.start()
    publish.close()
    poll(lambda: arrives() and source.connected, "a sample after that")


@pytest.mark.parametrize("broker", [False], indirect=True)
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_that_refuses_is_said(opened: Callable[..., GazeSource], version: str) -> None:
    source = opened(version=version)
    poll(lambda: "Not authorized" in str(source.stats["last_error"]), "the refusal")
    assert not source.connected


def test_a_topic_that_may_not_be_read_is_said(opened: Callable[..., GazeSource]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = opened(port=server.getsockname()[1])
        peer, _ = server.accept()
        with peer:
            peer.settimeout(5)
            peer.recv(1000)  # CONNECT
            peer.sendall(b"\x20\x02\x00\x00")
            subscribe = peer.recv(1000)
            peer.sendall(b"\x90\x03" + subscribe[2:4] + b"\x80")
            poll(lambda: "refused the topic" in str(source.stats["last_error"]), "the refusal")
    assert not source.connected


def test_certificates_on_both_sides(make_broker: Callable[..., Any], tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("127.0.0.1", "glasses"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    broker = make_broker(
        more=f"require_certificate true\ncafile {tmp_path / 'ca.pem'}\n"
        f"certfile {tmp_path / '127.0.0.1.pem'}\nkeyfile {tmp_path / '127.0.0.1.key'}\n"
    )
    trusting = {"ca": str(tmp_path / "ca.pem")}
    known = {"certificate": str(tmp_path / "glasses.pem"), "key": str(tmp_path / "glasses.key")}
    for keys, problem, welcome in (
        ({}, "verify failed", False),
        (trusting, ": ", False),
        ({**trusting, **known}, "", True),
    ):
        table = {"kind": "mqtt", "topic": "gaze/+", "port": broker.port, "tls": True, **keys}
        source = make_source({**table, "retry_s": 0.05}, Context())
        source.open()
        try:
            poll(lambda: source._linked or source.stats["last_error"], "an end")  # type: ignore[attr-defined]  # noqa: B023
            assert problem in str(source.stats["last_error"])
            assert source._linked == welcome  # type: ignore[attr-defined]
        finally:
            source.close()


def test_a_broker_that_is_not_there_is_no_error(opened: Callable[..., GazeSource]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        source = opened(port=free.getsockname()[1])
        poll(lambda: "refused" in str(source.stats["last_error"]), "the refusal")
    assert not source.connected
    assert source.samples() == []


def test_the_senders_clock_may_be_hours_off(
    publish: Publisher, opened: Callable[..., GazeSource]
) -> None:
    source = opened(clock="sender", t_unit="ms")
    poll(lambda: source._linked, "the subscription")  # type: ignore[attr-defined]
    for step in range(5):
        t_ms = time.monotonic_ns() / 1e6 - 7_200_000
        publish("gaze/desk", json.dumps({"x": step / 10, "y": 0.5, "t": t_ms}).encode())
    poll(lambda: source.stats["received"] == 5, "5 samples")
    samples = source.samples()
    assert [round(gaze.x, 1) for gaze in samples] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert abs(source.stats["clock_offset_ns"] - 7200e9) < 1e9


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"topic": ""}, "topic"),
        ({"topic": "a/#/b"}, "topic"),
        ({"topic": "a+/b"}, "topic"),
        ({"ca": "ca.pem"}, "tls"),
        ({"tls": True, "certificate": "a.pem"}, "certificate"),
        ({"keepalive_s": 0}, "keepalive_s"),
        ({"password": 3}, "password"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^source.{key}: "):
        make_source({"kind": "mqtt", "topic": "gaze", **keys}, Context(), "source")


def test_what_cannot_be_read_is_said_when_it_is_opened(tmp_path: Path) -> None:
    table = {"kind": "mqtt", "topic": "gaze", "tls": True, "ca": str(tmp_path / "none.pem")}
    source = make_source(table, Context())
    with pytest.raises(GazeSourceError, match="certificates"):
        source.open()
    source.close()
    table = {"kind": "mqtt", "topic": "gaze", "username": "me", "password": {"env": "NO_SUCH"}}
    with pytest.raises(ConfigError, match="NO_SUCH"):
        make_source(table, Context()).open()
