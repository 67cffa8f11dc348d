"""A real broker on loopback, a listener, a connection, and a network that can be bad."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
import trustme
from picosam_mqtt.connection import Connection, ConnectionConfig
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.tail import disconnect

from picosam_sdk import Context, Frame, Mask, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result

MOSQUITTO = shutil.which(
    "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
)
HOST = "127.0.0.1"
QUICK = {"keepalive_s": 1, "connect_timeout_s": 2.0, "reconnect_s": 0.05, "reconnect_max_s": 0.2}
LIMIT_S = 10.0


def _beside(name: str) -> Any:
    """A module of this folder, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FaultProxy = _beside("fault_proxy").FaultProxy


def wait_until(condition: Callable[[], Any], limit_s: float = LIMIT_S, what: str = "") -> Any:
    """Polls until the condition holds; its value then. Fails after the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {limit_s} s in vain{': ' + what if what else ''}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@dataclass
class Mosquitto:
    """One mosquitto with its own configuration file.

    Args:
        folder: for its files.
        websockets: whether ``port`` speaks that; ``plain_port`` always is TCP without TLS.
        persistence: whether retained messages survive ``restart``.
        tls: authority of the server's certificate, which has these ``names``.
        require_certificate: of clients.
        users: names and passwords; without, everybody may connect.
        acl: text of an ACL file.
        extra: further lines of the configuration.
    """

    folder: Path
    websockets: bool = False
    persistence: bool = False
    tls: trustme.CA | None = None
    names: tuple[str, ...] = (HOST, "localhost")
    require_certificate: bool = False
    users: dict[str, str] = field(default_factory=dict)
    acl: str = ""
    extra: str = ""
    port: int = 0
    plain_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return HOST

    def start(self) -> Mosquitto:
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(5):  # another process may take the port before mosquitto does
            self.port, self.plain_port = self.port or free_port(), self.plain_port or free_port()
            config = self.folder / "mosquitto.conf"
            config.write_text("\n".join(self._lines()) + "\n")
            with (self.folder / "mosquitto.log").open("ab") as log:
                command = [str(MOSQUITTO), "-c", str(config)]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            if self._listens():
                return self
            self.port = self.plain_port = 0
        pytest.fail(f"mosquitto does not start: {self.log()[-2000:]}")

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends it properly; it saves what is retained if it has persistence."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """SIGHUP: it reads passwords and ACL again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, but it answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.thaw()
            self.process.wait(LIMIT_S)
            self.process = None

    def _lines(self) -> Iterator[str]:
        yield f"listener {self.plain_port} {HOST}"
        yield f"listener {self.port} {HOST}"
        if self.websockets:
            yield "protocol websockets"
        if self.tls is not None:
            certificate = self.tls.issue_cert(*self.names)
            certificate.private_key_pem.write_to_path(self.folder / "server.key")
            certificate.cert_chain_pems[0].write_to_path(self.folder / "server.pem")
            self.tls.cert_pem.write_to_path(self.folder / "ca.pem")
            yield f"cafile {self.folder / 'ca.pem'}"
            yield f"certfile {self.folder / 'server.pem'}"
            yield f"keyfile {self.folder / 'server.key'}"
            yield f"require_certificate {str(self.require_certificate).lower()}"
        if os.geteuid() == 0:
            yield "user root"
        yield f"persistence {str(self.persistence).lower()}"
        yield f"persistence_location {self.folder}/"
        yield f"allow_anonymous {str(not self.users).lower()}"
        if self.users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{n}:{p}\n" for n, p in self.users.items()))
            tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
            subprocess.run([tool, "-U", str(passwords)], check=True, capture_output=True)
            yield f"password_file {passwords}"
        if self.acl:
            (self.folder / "acl").write_text(self.acl)
            yield f"acl_file {self.folder / 'acl'}"
        yield self.extra

    def _listens(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1.0):
                return True
            time.sleep(0.01)
        return False


class Listener:
    """Another client, on paho's own loop: it collects what the broker sends."""

    def __init__(self, port: int, *topics: str, username: str = "", password: str = "") -> None:
        self.messages: list[paho.MQTTMessage] = []
        self._granted = threading.Event()
        self._echo_topic = f"listener/{id(self)}"
        self._echoes = 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        if username:
            self._client.username_pw_set(username, password)
        self._client.on_connect = lambda client, *rest: client.subscribe(
            [(t, 1) for t in (*topics, self._echo_topic)]
        )
        self._client.on_subscribe = lambda *rest: self._granted.set()
        self._client.on_message = lambda client, data, message: self._received(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(HOST, port)
        self._client.loop_start()
        if not self._granted.wait(LIMIT_S):
            self.close()
            pytest.fail("the listener could not subscribe")

    def _received(self, message: paho.MQTTMessage) -> None:
        if message.topic == self._echo_topic:
            self._echoes += 1
        else:
            self.messages.append(message)

    def catch_up(self) -> None:
        """Waits until all that the broker has acknowledged up to now is here, too."""
        wanted = self._echoes + 1
        self.publish(self._echo_topic, b"")
        wait_until(lambda: self._echoes >= wanted)

    def on(self, topic: str) -> list[bytes]:
        """The payloads that came on a topic."""
        return [bytes(m.payload) for m in list(self.messages) if m.topic == topic]

    def wait(self, topic: str, count: int = 1, limit_s: float = LIMIT_S) -> list[bytes]:
        """The payloads on a topic, once there are so many."""
        wait_until(lambda: len(self.on(topic)) >= count, limit_s, f"{count} messages on {topic}")
        return self.on(topic)

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos, retain).wait_for_publish(LIMIT_S)

    def close(self) -> None:
        """Ends it. No cycle is left: paho closes the last of its sockets when it is forgotten."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            disconnect(client)
            client.on_connect = client.on_message = client.on_subscribe = None


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts a mosquitto: ``make_broker(websockets=True, users={"me": "secret"}, ...)``."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto: apt install mosquitto")
    brokers: list[Mosquitto] = []

    def make(**options: Any) -> Mosquitto:
        broker = Mosquitto(tmp_path / f"mosquitto{len(brokers)}", **options)
        brokers.append(broker)
        return broker.start()

    yield make
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(make_broker: Callable[..., Mosquitto]) -> Mosquitto:
    """A mosquitto that lets everybody do everything, without persistence."""
    return make_broker()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Subscribes: ``listen(broker.port, "picosam/#")``."""
    listeners: list[Listener] = []

    def make(port: int, *topics: str, **options: Any) -> Listener:
        listeners.append(Listener(port, *topics, **options))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Any]]:
    """Puts a bad line before a port: ``make_proxy(broker.port)``."""
    proxies: list[Any] = []

    def make(port: int) -> Any:
        proxies.append(FaultProxy(port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    """Starts a connection: ``connect(broker, version="5", will=..., on_message=...)``."""
    connections: list[Connection] = []

    def make(broker: Any, **options: Any) -> Connection:
        callbacks = {
            key: options.pop(key) for key in ("will", "on_message", "on_connect") if key in options
        }
        options = {"host": HOST, "port": broker.port, **QUICK, **options}
        connection = Connection(ConnectionConfig(**options), **callbacks)
        connections.append(connection)
        connection.start()
        return connection

    yield make
    for connection in connections:
        connection.stop(5)


@pytest.fixture
def publish_to(tmp_path: Path) -> Iterator[Callable[..., MqttPublisher]]:
    """Opens a publisher, connected: ``publish_to(broker, qos=0, ...)``."""
    opened: list[MqttPublisher] = []

    def make(
        broker: Any, connected: bool = True, session: str = "session1", **options: Any
    ) -> MqttPublisher:
        table = {
            "host": HOST,
            "port": broker.port,
            "spool": {"path": str(tmp_path / "spool.sqlite")},
            "changes_only": False,
            "rate_hz": 0,
            "stats_s": 0,
            **QUICK,
            **options,
        }
        context = Context(device="desk", session=session)
        publisher = MqttPublisher(from_mapping(table, MqttPublisherConfig), context)
        opened.append(publisher)
        publisher.open()
        if connected:
            assert publisher._connection is not None
            assert publisher._connection.wait_connected(5), publisher.stats
        return publisher

    yield make
    for publisher in opened:
        publisher.close()


def mask_message(seq: int = 0, mask: bool = True, **changes: Any) -> dict[str, Any]:
    bits = np.zeros((96, 96), bool)
    bits[24:72, 24:72] = True
    seen = Mask.from_bits(bits, Roi(0.25, 0.25, 0.5, 0.5), score=0.75, size_px=(640, 480))
    result = Result(Frame(None, time.monotonic_ns()), seen if mask else None, None)
    return {**encode_result(result, device="desk", session="s", seq=seq), **changes}


@pytest.fixture
def make_message() -> Callable[..., dict[str, Any]]:
    """Makes the message of a mask: ``make_message(seq, mask=True, **changes)``."""
    return mask_message


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A file with numbers 0, 1, 3, 3, one message a line."""
    path = tmp_path / "masks.jsonl"
    path.write_text("".join(json.dumps(mask_message(seq)) + "\n" for seq in (0, 1, 3, 3)))
    return path


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., Any]:
    return wait_until
