"""The connection: versions, TLS, refusals, losses, against a real mosquitto."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from picosam_mqtt.connection import (
    Connection,
    ConnectionConfig,
    Message,
)

QUICK: dict[str, Any] = {
    "keepalive_s": 1,
    "connect_timeout_s": 2.0,
    "reconnect_s": 0.05,
    "reconnect_max_s": 0.2,
}


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Starts a connection: ``connect(broker, version="5", will=..., on_message=...)``."""
    connections: list[Connection] = []

    def make(broker: Any, **options: Any) -> Connection:
        callbacks = {
            key: options.pop(key) for key in ("will", "on_message", "on_connect") if key in options
        }
        options = {"host": "127.0.0.1", "port": broker.port, **QUICK, **options}
        connection = Connection(ConnectionConfig(**options), **callbacks)
        connections.append(connection)
        connection.start()
        return connection

    yield make
    for connection in connections:
        connection.stop()


@pytest.mark.parametrize("version", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websockets"])
def test_publishes_and_receives(
    version: str, websockets: bool, make_broker: Any, connect: Any, wait_until: Any
) -> None:
    broker = make_broker(websockets=websockets)
    transport = "websockets" if websockets else "tcp"
    got: list[Message] = []
    receiver = connect(broker, version=version, transport=transport, on_message=got.append)
    receiver.subscribe("a/#", qos=1)
    sender = connect(broker, version=version, transport=transport)
    wait_until(lambda: receiver.stats["subscriptions"] == {"a/#": "granted"})
    assert sender.wait_connected(5)
    for qos, retain in itertools.product((0, 1), (False, True)):
        sender.publish(f"a/{qos}", b"x" * 70_000, qos, retain)
    sender.publish("a/last", "text")
    wait_until(lambda: len(got) == 5)
    assert got[0] == Message("a/0", b"x" * 70_000)
    assert got[4] == Message("a/last", b"text")
    assert sender.stats["version"] == ("3.1.1" if version == "3.1.1" else "5")
