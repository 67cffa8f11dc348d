"""The connection: publishing, refusals, losses, the end, against a real mosquitto."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from picosam_mqtt.connection import (
    Connection,
    ConnectionConfig,
    DeliveryError,
    Message,
    Reason,
    Will,
)

from picosam_sdk import ConfigError, PublishError
from picosam_sdk.config import Secret


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

    def test_what_is_sent_before_a_goodbye_is_acknowledged(
        self, broker: Any, make_proxy: Any, connect: Any
    ) -> None:
        proxy = make_proxy(broker.port)
        proxy.delay_s = 0.03
        connection = connect(proxy)
        assert connection.wait_connected(5)
        sent = connection.submit("a", b"the last", qos=1)
        connection.stop()
        sent.result(0)

    def test_what_is_meant_for_one_connection_is_not_sent_in_the_next(
        self, broker: Any, make_proxy: Any, connect: Any, wait_until: Any
    ) -> None:
        proxy = make_proxy(broker.port)
        connection = connect(proxy)
        assert connection.wait_connected(5)
        connection.submit("a", b"", qos=1, only_in=1).result(5)
        proxy.cut()
        wait_until(lambda: connection.connected and connection.connects == 2)
        assert connection.submit("a", b"", qos=1, only_in=1).exception(5) is not None
        connection.submit("a", b"", qos=1, only_in=2).result(5)

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
        self, broker: Any, make_proxy: Any, wait_until: Any
    ) -> None:
        def held() -> tuple[int, int]:
            return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

        proxy = make_proxy(broker.port)
        proxy.silent = True  # a broker that lets connect, and says nothing
        config = ConnectionConfig(host="127.0.0.1", port=proxy.port)
        files, threads = held()
        silent, good = Connection(config), Connection(ConnectionConfig("127.0.0.1", broker.port))
        silent.start()
        good.start()
        assert good.wait_connected(5)
        wait_until(lambda: proxy.served)
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
        wait_until(lambda: held()[0] <= files and held()[1] <= threads, 5)

    def test_stop_without_start(self) -> None:
        connection = Connection(ConnectionConfig())
        connection.stop()
        assert not connection.connected

    def test_a_client_without_an_id_gets_one_of_its_own(self) -> None:
        ids = {Connection(ConnectionConfig()).config.client_id for _ in range(5)}
        assert len(ids) == 5
        assert all(len(one) <= 23 for one in ids)  # what every broker of 3.1.1 must take
