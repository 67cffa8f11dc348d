"""The connection finds the version that a broker speaks, and reads why it was left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest


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
        assert connection.stats["problem"] == "protocol-version"
        assert set(old.levels) == {5}

    def test_the_reason_of_a_take_over_is_read(
        self, scripted: Any, connect: Any, wait_until: Any
    ) -> None:
        connected = b"\x20\x03\x00\x00\x00"
        reason_string = b"\x1f\x00\x01x"  # without it paho 2.1 does not read the reason
        broker = scripted({5: connected + b"\xe0\x06\x8e\x04" + reason_string})
        connection = connect(broker, version="5", refused_retry_s=30.0)
        wait_until(lambda: connection.stats["problem"] == "taken-over")
        assert "Session taken over" in str(connection.problem)
        assert connection.stats["connects"] == connection.stats["losses"] == 1
