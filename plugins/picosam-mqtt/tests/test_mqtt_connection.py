"""The connection: versions, TLS, refusals, losses, against a real mosquitto."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from picosam_mqtt.connection import (
    Connection,
    ConnectionConfig,
    DeliveryError,
    Message,
    Reason,
    TlsConfig,
    Will,
)
from picosam_mqtt.reasons import of_code, of_exception

from picosam_sdk import ConfigError, PublishError
from picosam_sdk.config import Secret, from_mapping

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
        connection.stop(5)


def reason(connection: Connection) -> str:
    return str(connection.stats["problem"])


@pytest.mark.parametrize("version", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_publishes_and_receives(
    version: str, transport: str, make_broker: Any, connect: Any, wait_until: Any
) -> None:
    broker = make_broker(websockets=transport == "websockets")
    got: list[Message] = []
    receiver = connect(broker, version=version, transport=transport, on_message=got.append)
    receiver.subscribe("a/#", qos=1)
    sender = connect(broker, version=version, transport=transport)
    wait_until(lambda: receiver.stats["subscriptions"] == {"a/#": "granted"})
    assert sender.wait_connected(5)
    for qos, retain in itertools.product((0, 1), (False, True)):
        sender.publish(f"a/{qos}", b"x" * 2000, qos, retain)
    sender.publish("a/last", "text")
    wait_until(lambda: len(got) == 5)
    assert got[0] == Message("a/0", b"x" * 2000)
    assert got[4] == Message("a/last", b"text")
    assert sender.stats["version"] == ("3.1.1" if version == "3.1.1" else "5")
    assert sender.problem is None


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_what_is_larger_than_the_sockets_buffer_arrives(
    transport: str, make_broker: Any, make_proxy: Any, connect: Any, listen: Any, wait_until: Any
) -> None:
    broker = make_broker(websockets=transport == "websockets")
    listener = listen(broker.plain_port, "a")
    proxy = make_proxy(broker.port)
    connection = connect(proxy, transport=transport, keepalive_s=10)
    assert connection.wait_connected(5)
    proxy.silent = True
    sent = [connection.submit("a", bytes([n]) * 700_000, qos=0) for n in range(9)]
    wait_until(sent[0].done)
    time.sleep(0.1)
    assert not sent[-1].done()
    proxy.silent = False
    for done in sent:
        done.result(10)
    got = [(payload[0], len(payload)) for payload in listener.wait("a", 9)]
    assert got == [(n, 700_000) for n in range(9)]


def test_subscriptions_are_renewed_and_what_was_retained_comes(
    broker: Any, connect: Any, wait_until: Any
) -> None:
    got: list[Message] = []
    connects: list[int] = []
    sender = connect(broker)
    receiver = connect(
        broker, on_message=got.append, on_connect=lambda: connects.append(len(connects))
    )
    receiver.subscribe("a", qos=1)
    assert sender.wait_connected(5)
    assert receiver.wait_connected(5)
    broker.kill()
    wait_until(lambda: not sender.connected and not receiver.connected)
    with pytest.raises(PublishError):
        sender.publish("a", b"lost", 1)
    broker.start()
    assert sender.wait_connected(5)
    sender.publish("a", b"kept", 1, retain=True)
    wait_until(lambda: got)
    assert got[0].payload == b"kept"
    assert connects == [0, 1]
    assert receiver.stats["losses"] == 1


class TestTls:
    @pytest.fixture
    def files(self, ca: trustme.CA, tmp_path: Path) -> dict[str, Path]:
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        trustme.CA().cert_pem.write_to_path(tmp_path / "other-ca.pem")
        for name, authority in (("client", ca), ("foreign", trustme.CA())):
            certificate = authority.issue_cert("device@example.org")
            certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        return {path.stem: path for path in tmp_path.glob("*.pem")}

    @pytest.mark.parametrize("transport", ["tcp", "websockets"])
    @pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
    def test_connects_where_both_sides_are_who_they_say(
        self, transport: str, mutual: bool, make_broker: Any, connect: Any, ca: Any, files: Any
    ) -> None:
        broker = make_broker(
            tls=ca, require_certificate=mutual, websockets=transport == "websockets"
        )
        tls = TlsConfig(files["ca"], files["client"] if mutual else None)
        connection = connect(broker, tls=tls, transport=transport)
        assert connection.wait_connected(5), connection.stats
        connection.publish("a", b"x" * 3000, qos=1)

    def test_the_brokers_name_is_verified(
        self, make_broker: Any, connect: Any, files: Any, wait_until: Any, ca: Any
    ) -> None:
        broker = make_broker(tls=ca, names=("elsewhere.example",))
        connection = connect(broker, tls=TlsConfig(files["ca"]))
        wait_until(lambda: reason(connection) == "server-certificate")

    def test_a_broker_of_an_unknown_authority_is_refused(
        self, make_broker: Any, connect: Any, files: Any, wait_until: Any, ca: Any
    ) -> None:
        broker = make_broker(tls=ca)
        connection = connect(broker, tls=TlsConfig(files["other-ca"]))
        wait_until(lambda: reason(connection) == "server-certificate")
        assert "tls.ca_file" in connection.problem.hint

    @pytest.mark.parametrize("shown", [None, "foreign"])
    @pytest.mark.parametrize("transport", ["tcp", "websockets"])
    def test_a_missing_or_foreign_client_certificate_is_said(
        self,
        shown: str | None,
        transport: str,
        make_broker: Any,
        connect: Any,
        files: Any,
        wait_until: Any,
        ca: Any,
    ) -> None:
        broker = make_broker(tls=ca, require_certificate=True, websockets=transport == "websockets")
        tls = TlsConfig(files["ca"], files[shown] if shown else None)
        connection = connect(broker, tls=tls, transport=transport)
        wait_until(lambda: connection.problem.hint)
        assert reason(connection) == "client-certificate", str(connection.problem)
        assert ("Renew it" if shown else "tls.cert_file") in connection.problem.hint

    def test_tls_1_2_says_a_missing_certificate_in_the_handshake(
        self, ca: Any, files: Any, connect: Any, wait_until: Any
    ) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        ca.issue_cert("127.0.0.1").configure_cert(context)
        ca.configure_trust(context)

        def serve() -> None:
            sock, _ = server.accept()
            with sock, pytest.raises(ssl.SSLError):
                context.wrap_socket(sock, server_side=True)

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve)
            thread.start()
            connection = Connection(
                ConnectionConfig("127.0.0.1", server.getsockname()[1], tls=TlsConfig(files["ca"]))
            )
            connection.start()
            wait_until(lambda: reason(connection) == "client-certificate")
            connection.stop(5)
            thread.join(5)

    def test_a_port_without_tls_is_said(
        self, broker: Any, connect: Any, files: Any, wait_until: Any
    ) -> None:
        connection = connect(broker, tls=TlsConfig(files["ca"]))
        wait_until(lambda: reason(connection) in ("tls", "closed", "timeout"))
        assert not connection.connected

    def test_files_are_read_at_the_start(self, connect: Any, broker: Any, files: Any) -> None:
        with pytest.raises(ConfigError, match=r"tls\.ca_file: .*nowhere"):
            connect(broker, tls=TlsConfig(Path("nowhere.pem")))
        with pytest.raises(ConfigError, match=r"tls\.ca_file: .*certificates in PEM"):
            connect(broker, tls=TlsConfig(Path(__file__)))
        with pytest.raises(ConfigError, match=r"tls\.cert_file: .*certificate and its key"):
            connect(broker, tls=TlsConfig(files["ca"], files["ca"]))
        with pytest.raises(ConfigError, match="cert_file"):
            TlsConfig(key_file=files["client"])


class ScriptedBroker:
    """Answers CONNECT with some bytes and hangs up.

    Args:
        answers: by the level of the protocol: 4 is MQTT 3.1.1, 5 is 5. After CONNACK with
            success it waits for more before it hangs up.
    """

    def __init__(self, answers: dict[int, bytes]) -> None:
        self.levels: list[int] = []
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with sock:
                level = sock.recv(4096)[8]
                self.levels.append(level)
                sock.sendall(self._answers[level])
                if self._answers[level] == ACCEPTED:
                    sock.recv(4096)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)


ACCEPTED = b"\x20\x02\x00\x00"
REFUSED = b"\x20\x02\x00\x01"


class TestVersions:
    @pytest.fixture
    def scripted(self) -> Iterator[Callable[..., ScriptedBroker]]:
        brokers: list[ScriptedBroker] = []

        def make(answers: dict[int, bytes]) -> ScriptedBroker:
            brokers.append(ScriptedBroker(answers))
            return brokers[-1]

        yield make
        for broker in brokers:
            broker.close()

    @pytest.mark.parametrize("answer", [REFUSED, b"", b"\x20\x02\x00"], ids=repr)
    def test_auto_falls_back(self, answer: bytes, scripted: Any, connect: Any) -> None:
        old = scripted({5: answer, 4: ACCEPTED})
        connection = connect(old)
        assert connection.wait_connected(5)
        assert connection.version == "3.1.1"
        assert old.levels == [5, 4]

    def test_auto_finds_a_broker_that_speaks_3_1_1_only(self, connect: Any) -> None:
        broker_module = pytest.importorskip("picosam_mqtt.broker")
        pytest.importorskip("amqtt")
        with broker_module.DemoBroker() as amqtt:
            connection = connect(amqtt)
            assert connection.wait_connected(5), connection.stats
            assert connection.version == "3.1.1"
            connection.publish("a", b"x", qos=1)
            connection.stop()

    def test_auto_goes_on_trying_both_with_a_broker_that_hangs_up(
        self, scripted: Any, connect: Any, wait_until: Any
    ) -> None:
        old = scripted({5: b"", 4: b""})
        connect(old)
        wait_until(lambda: len(old.levels) >= 4)
        assert old.levels[:4] == [5, 4, 5, 4]

    def test_5_alone_does_not(self, scripted: Any, connect: Any, wait_until: Any) -> None:
        old = scripted({5: REFUSED})
        connection = connect(old, version="5")
        wait_until(lambda: len(old.levels) > 1)
        assert reason(connection) == "protocol-version"
        assert set(old.levels) == {5}

    def test_the_reason_of_a_take_over_is_read(
        self, scripted: Any, connect: Any, wait_until: Any
    ) -> None:
        connected = b"\x20\x03\x00\x00\x00"
        reason_string = b"\x1f\x00\x01x"  # without it paho 2.1 does not read the reason
        broker = scripted({5: connected + b"\xe0\x06\x8e\x04" + reason_string})
        connection = connect(broker, version="5", refused_retry_s=30.0)
        wait_until(lambda: reason(connection) == "taken-over")
        assert "Session taken over" in str(connection.problem)
        assert connection.stats["connects"] == connection.stats["losses"] == 1


class TestRefusals:
    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    def test_a_wrong_password_is_said_and_tried_slowly(
        self, version: str, make_broker: Any, connect: Any, wait_until: Any
    ) -> None:
        broker = make_broker(users={"me": "right"})
        connection = connect(broker, version=version, username="me", password=Secret(text="wrong"))
        wait_until(lambda: reason(connection) in ("not-authorized", "credentials"))
        assert "password" in connection.problem.hint
        assert "wrong" not in str(connection.stats)
        time.sleep(0.25)  # five pauses of a broker that is down
        assert broker.log().count("not authorised") == 1

    def test_a_password_that_was_corrected_is_taken(
        self, make_broker: Any, connect: Any, wait_until: Any, tmp_path: Path
    ) -> None:
        broker = make_broker(users={"me": "right"})
        secret = tmp_path / "secret"
        secret.write_text("wrong\n")
        password = Secret(file=secret)
        connection = connect(broker, username="me", password=password, refused_retry_s=0.1)
        wait_until(lambda: reason(connection) == "not-authorized")
        secret.write_text("right\n")
        assert connection.wait_connected(5)
        assert connection.stats["problem"] == ""

    def test_a_secret_that_is_gone_is_a_problem_not_an_end(
        self, make_broker: Any, connect: Any, wait_until: Any, tmp_path: Path
    ) -> None:
        broker = make_broker(users={"me": "right"})
        secret = tmp_path / "secret"
        secret.write_text("right\n")
        options = {"username": "me", "password": Secret(file=secret), "refused_retry_s": 0.1}
        connection = connect(broker, **options)
        assert connection.wait_connected(5)
        secret.unlink()
        broker.restart()
        wait_until(lambda: reason(connection) == "secret")
        secret.write_text("right\n")
        assert connection.wait_connected(5)
        secret.unlink()
        with pytest.raises(ConfigError, match="password"):
            connect(broker, **options)

    def test_a_topic_that_is_denied_is_said_by_mqtt_5(self, make_broker: Any, connect: Any) -> None:
        broker = make_broker(acl="topic readwrite mine/#\n")
        connection = connect(broker, version="5")
        assert connection.wait_connected(5)
        connection.publish("mine/a", b"", qos=1)
        with pytest.raises(DeliveryError) as info:
            connection.publish("yours/a", b"", qos=1)
        assert info.value.reason is Reason.NOT_AUTHORIZED
        assert not info.value.permanent
        assert connection.connected

    def test_a_topic_that_is_denied_is_not_said_by_3_1_1(
        self, make_broker: Any, connect: Any
    ) -> None:
        broker = make_broker(acl="topic readwrite mine/#\n")
        connection = connect(broker, version="3.1.1")
        assert connection.wait_connected(5)
        connection.publish("yours/a", b"", qos=1)

    def test_what_can_never_be_sent_is_said(self, make_broker: Any, connect: Any) -> None:
        broker = make_broker(extra="max_packet_size 1000")
        connection = connect(broker)
        assert connection.wait_connected(5)
        for topic, size in (("a", 1000), ("a/#", 1), ("", 1)):
            with pytest.raises(DeliveryError) as info:
                connection.publish(topic, b"x" * size, qos=1)
            assert info.value.reason is Reason.INVALID
            assert info.value.permanent
        connection.publish("a", b"x" * 900, qos=1)


class TestLosses:
    def test_a_frozen_broker_is_noticed_by_keepalive(
        self, broker: Any, connect: Any, wait_until: Any
    ) -> None:
        connection = connect(broker)
        assert connection.wait_connected(5)
        broker.freeze()
        with pytest.raises(DeliveryError) as info:
            connection.publish("a", b"", qos=1, timeout_s=5)
        assert info.value.reason is Reason.KEEPALIVE
        wait_until(lambda: reason(connection) == "timeout")  # it listens, but answers nothing
        broker.thaw()
        assert connection.wait_connected(5)
        connection.publish("a", b"", qos=1)

    def test_no_answer_in_time_is_an_error(self, broker: Any, connect: Any) -> None:
        connection = connect(broker, keepalive_s=30)
        assert connection.wait_connected(5)
        broker.freeze()
        with pytest.raises(DeliveryError) as info:
            connection.publish("a", b"", qos=1, timeout_s=0.1)
        assert info.value.reason is Reason.TIMEOUT
        broker.thaw()

    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    def test_two_clients_with_one_id_are_said(
        self, version: str, broker: Any, connect: Any, wait_until: Any
    ) -> None:
        options = {"version": version, "client_id": "twin"}
        both = [connect(broker, **options), connect(broker, **options)]
        # mosquitto 2.0.11 closes without a word; newer ones say it in MQTT 5.
        said = ("taken-over", "maybe-taken-over")
        loser = wait_until(lambda: next((one for one in both if reason(one) in said), None))
        problem = loser.problem
        assert loser.stats["taken_over"] >= 1
        assert problem is None or "[device]" in problem.hint

    def test_the_will_is_sent_when_the_line_is_cut_and_not_after_a_goodbye(
        self, broker: Any, make_proxy: Any, connect: Any, listen: Any, wait_until: Any
    ) -> None:
        listener = listen(broker.port, "will/#")
        proxy = make_proxy(broker.port)
        cut = connect(proxy, will=Will("will/cut", b"offline"))
        stopped = connect(broker, will=Will("will/stopped", b"offline"))
        assert cut.wait_connected(5)
        assert stopped.wait_connected(5)
        stopped.stop()
        proxy.cut()
        assert listener.wait("will/cut") == [b"offline"]
        assert listener.on("will/stopped") == []
        assert cut.wait_connected(5)

    def test_a_slow_line_only_takes_longer(
        self, broker: Any, make_proxy: Any, connect: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, "a")
        proxy = make_proxy(broker.port)
        proxy.delay_s, proxy.bytes_per_s = 0.05, 20_000
        connection = connect(proxy, keepalive_s=2)
        assert connection.wait_connected(5)
        sent = [connection.submit("a", b"%d" % n * 500, qos=1) for n in range(10)]
        for done in sent:
            done.result(10)
        assert listener.wait("a", 10) == [b"%d" % n * 500 for n in range(10)]
        assert connection.stats["losses"] == 0

    def test_nothing_at_the_port(self, connect: Any, wait_until: Any, broker: Any) -> None:
        broker.stop()
        connection = connect(broker)
        wait_until(lambda: reason(connection) == "refused")
        with pytest.raises(DeliveryError, match="refused"):
            connection.publish("a", b"")


class TestBehaviour:
    def test_a_callback_that_fails_is_counted_and_the_connection_goes_on(
        self, broker: Any, connect: Any, wait_until: Any
    ) -> None:
        def bad(message: Message) -> None:
            connection.publish("b", b"")  # would wait for itself

        connection = connect(broker, on_message=bad)
        connection.subscribe("a")
        wait_until(lambda: connection.stats["subscriptions"] == {"a": "granted"})
        connection.publish("a", b"1", qos=1)
        wait_until(lambda: connection.stats["callback_errors"] == 1)
        connection.publish("a", b"2", qos=1)
        wait_until(lambda: connection.stats["callback_errors"] == 2)
        assert connection.stats["losses"] == 0

    def test_stop_is_quick_says_goodbye_and_leaves_nothing_open(
        self, broker: Any, make_proxy: Any
    ) -> None:
        proxy = make_proxy(broker.port)
        proxy.silent = True  # a broker that lets connect, and says nothing
        config = ConnectionConfig(host="127.0.0.1", port=proxy.port)
        before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        silent, good = Connection(config), Connection(ConnectionConfig("127.0.0.1", broker.port))
        silent.start()
        good.start()
        assert good.wait_connected(5)
        silent.stop()
        good.stop()
        good.stop()
        proxy.cut()
        assert not good.connected
        assert reason(good) == "stopped"
        with pytest.raises(DeliveryError, match="stopped"):
            good.publish("a", b"")
        with pytest.raises(RuntimeError):
            good.start()
        deadline = time.monotonic() + 5
        while threading.active_count() > before[1] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) <= before

    def test_stop_without_start(self) -> None:
        connection = Connection(ConnectionConfig())
        connection.stop()
        assert not connection.connected

    def test_a_client_without_an_id_gets_one_of_its_own(self) -> None:
        ids = {Connection(ConnectionConfig()).config.client_id for _ in range(5)}
        assert len(ids) == 5
        assert all(len(one) <= 23 for one in ids)  # what every broker of 3.1.1 must take


class TestConfig:
    @pytest.mark.parametrize(
        ("table", "url"),
        [
            ({}, "mqtt://localhost:1883"),
            ({"tls": {}}, "mqtts://localhost:8883"),
            ({"transport": "websockets"}, "ws://localhost:80/mqtt"),
            (
                {"transport": "websockets", "tls": {}, "path": "/x", "host": "::1"},
                "wss://[::1]:443/x",
            ),
            ({"port": 9, "username": "me", "password": "secret"}, "mqtt://localhost:9"),
        ],
    )
    def test_url_has_no_credentials(self, table: dict[str, Any], url: str) -> None:
        config = from_mapping(table, ConnectionConfig)
        assert config.url == url
        assert "secret" not in repr(config)

    @pytest.mark.parametrize(
        ("host", "tls", "exposed"),
        [("broker", None, True), ("broker", TlsConfig(), False), ("127.0.0.1", None, False)],
    )
    def test_a_password_on_an_open_line_is_said(
        self, host: str, tls: TlsConfig | None, exposed: bool
    ) -> None:
        config = ConnectionConfig(host, tls=tls, username="me", password=Secret(text="x"))
        assert config.exposes_password is exposed

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            ({"hots": "a"}, "did you mean 'host'"),
            ({"host": ""}, "host"),
            ({"port": 65536}, "port"),
            ({"keepalive_s": 0}, "keepalive_s"),
            ({"version": "4"}, "one of 'auto', '5', '3.1.1'"),
            ({"password": "x"}, "username"),
            ({"path": "mqtt"}, "path"),
            ({"reconnect_s": 60.0}, "reconnect_s"),
            ({"connect_timeout_s": 0.0}, "connect_timeout_s"),
            ({"refused_retry_s": 0.0}, "refused_retry_s"),
            ({"client_id": "x" * 257}, "client_id"),
            ({"tls": {"ca": "a"}}, "tls.ca"),
        ],
    )
    def test_refuses(self, table: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            from_mapping(table, ConnectionConfig)


def test_reasons_of_exceptions() -> None:
    cases = {
        socket.gaierror(-2, "Name or service not known"): Reason.UNKNOWN_HOST,
        TimeoutError(): Reason.TIMEOUT,
        ConnectionRefusedError(): Reason.REFUSED,
        ConnectionResetError(): Reason.CLOSED,
        OSError(101, "Network is unreachable"): Reason.UNREACHABLE,
        ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"): Reason.TLS,
        ValueError(): Reason.PROTOCOL,
    }
    for error, expected in cases.items():
        assert of_exception(error, "host:1", False).reason is expected
    handshake = ssl.SSLError(1, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]")
    assert of_exception(handshake, "host:1", False).reason is Reason.CLIENT_CERTIFICATE
    assert of_exception(handshake, "host:1", True).reason is Reason.TLS
    assert of_code(0x80, "Unspecified error", "left").reason is Reason.CLOSED
