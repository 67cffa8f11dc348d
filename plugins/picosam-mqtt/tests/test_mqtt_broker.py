"""The broker of the first run: on loopback, quiet, quickly there and quickly gone."""

from __future__ import annotations

import builtins
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from picosam_mqtt.broker import DemoBroker
from picosam_mqtt.connection import Connection, ConnectionConfig

from picosam_sdk.errors import PicoSamError, UnavailableError


@pytest.fixture
def demo() -> Iterator[DemoBroker]:
    with DemoBroker() as broker:
        yield broker


@pytest.fixture
def connect(wait_until: Any) -> Iterator[Callable[..., Connection]]:
    connections: list[Connection] = []

    def make(broker: DemoBroker, *topics: str, **options: Any) -> Connection:
        config = ConnectionConfig(host=broker.host, port=broker.port, reconnect_s=0.05)
        connections.append(Connection(config, **options))
        for topic in topics:
            connections[-1].subscribe(topic, qos=1)
        connections[-1].start()
        assert connections[-1].wait_connected(10)
        granted = dict.fromkeys(topics, "granted")
        wait_until(lambda: connections[-1].stats["subscriptions"] == granted)
        return connections[-1]

    yield make
    for connection in connections:
        connection.stop()


def test_messages_go_through_and_are_retained(
    demo: DemoBroker, connect: Any, wait_until: Any
) -> None:
    got: list[Any] = []
    sender = connect(demo)
    connect(demo, "picosam/#", on_message=got.append)
    assert sender.version == "3.1.1"
    sender.publish("picosam/desk/mask", b"x" * 2000, qos=1)
    sender.publish("picosam/desk/availability", b"online", qos=1, retain=True)
    wait_until(lambda: len(got) == 2)
    late: list[Any] = []
    connect(demo, "picosam/#", on_message=late.append)
    wait_until(lambda: late)
    assert (late[0].topic, late[0].payload, late[0].retain) == (
        "picosam/desk/availability", b"online", True,
    )  # fmt: skip


def test_a_client_that_vanishes_has_its_will_sent(
    demo: DemoBroker, connect: Any, wait_until: Any
) -> None:
    got: list[Any] = []
    connect(demo, "picosam/#", on_message=got.append)
    code = (
        "import os, sys\n"
        "from picosam_mqtt.connection import *\n"
        "will = Will('picosam/desk/availability', b'offline')\n"
        "connection = Connection(ConnectionConfig(port=int(sys.argv[1]), host='127.0.0.1'), will)\n"
        "connection.start()\n"
        "os._exit(0 if connection.wait_connected(10) else 1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(demo.port)], check=True)
    wait_until(lambda: [m.payload for m in got] == [b"offline"])


def test_it_leaves_nothing_behind_and_can_be_started_again(
    connect: Any, wait_until: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    levels = {name: logging.getLogger(name).level for name in ("amqtt", "transitions")}
    broker = DemoBroker()
    before = threading.active_count()
    for _ in range(2):
        broker.start()
        broker.start()  # once more does nothing
        port = broker.port
        client = connect(broker, "a")
        broker.stop()
        broker.stop()
        wait_until(lambda client=client: not client.connected)
        client.stop()
        with pytest.raises(OSError, match=r"."), socket.create_connection((broker.host, port), 1):
            pass
    assert threading.active_count() == before
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert capfd.readouterr() == ("", "")


def test_strangers_do_not_bring_it_down(demo: DemoBroker, connect: Any) -> None:
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\x10\xff\xff\xff\x7f"):
        with socket.create_connection((demo.host, demo.port), 5) as stranger:
            stranger.sendall(data)
    sender = connect(demo)
    sender.publish("picosam/desk/mask", b"still here", qos=1)


def test_it_listens_on_loopback_only(demo: DemoBroker) -> None:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {line[1] for line in lines if line[3] == "0A"}
    assert f"0100007F:{demo.port:04X}" in listening
    assert f"00000000:{demo.port:04X}" not in listening


def test_a_port_in_use_is_said(demo: DemoBroker) -> None:
    with pytest.raises(UnavailableError, match=str(demo.port)) as refused:
        DemoBroker(demo.port).start()
    assert "port" in refused.value.hint


def test_without_amqtt_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("amqtt"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PicoSamError) as refused:
        DemoBroker().start()
    assert "picosam-mqtt[demo]" in refused.value.hint
