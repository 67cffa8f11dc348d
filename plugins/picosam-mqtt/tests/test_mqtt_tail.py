"""tail over real brokers, and both verbs where the SDK is not installed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from picosam_mqtt.broker import DemoBroker
from picosam_mqtt.command import main
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.signing import sign
from picosam_mqtt.tail import disconnect

from picosam_sdk import Context
from picosam_sdk.config import from_mapping
from picosam_sdk.testing.results import a_result

KEY = "a key of more than sixteen bytes"
MASK, AVAILABILITY = "picosam/desk/mask", "picosam/desk/availability"
Message = Callable[..., dict[str, Any]]
# What runs picosam-mqtt in an interpreter that finds neither the SDK nor what the SDK needs.
ALONE = """
import signal, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("picosam_sdk", "cv2", "onnxruntime", "pluggy", "PIL"):
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocker())
# Ctrl-C is ignored by what was started from a script's background job, and by its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
from picosam_mqtt.command import main
sys.exit(main())
"""


class Tail:
    """A running ``picosam-mqtt tail`` without the SDK, and what it has said."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ALONE, "tail", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
        )
        self._readers = [_Reader(self.process.stdout), _Reader(self.process.stderr)]
        self.out, self.err = (reader.lines for reader in self._readers)

    def end(self, how: signal.Signals | None = None) -> int:
        if how is not None:
            self.process.send_signal(how)
        code = self.process.wait(10)
        for reader in self._readers:
            reader.join()
        return code


class _Reader:
    def __init__(self, stream: Any) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            self.lines.append(line.rstrip("\n"))


@pytest.fixture
def start_tail(wait_until: Any) -> Iterator[Callable[..., Tail]]:
    """Starts one, and waits until it reads."""
    started: list[Tail] = []

    def start(*words: str, env: dict[str, str] | None = None) -> Tail:
        tail = Tail(*words, env=env)
        started.append(tail)
        wait_until(lambda: any("reading" in line for line in tail.err) or tail.process.poll())
        return tail

    yield start
    for tail in started:
        if tail.process.poll() is None:
            tail.process.kill()
        tail.end()


def test_tail_follows_masks_and_availability(
    broker: Any, listen: Any, start_tail: Any, wait_until: Any, make_message: Message
) -> None:
    sender = listen(broker.port, "nothing")
    sender.publish(AVAILABILITY, b"online", retain=True)
    sender.publish(MASK, json.dumps(make_message(0)), retain=True)
    tail = start_tail("--host", broker.host, "--port", str(broker.port), "--draw")
    for seq in (1, 4, 4):
        sender.publish(MASK, json.dumps(make_message(seq)))
    sender.publish(MASK, b"\xffnoise")
    sender.publish("picosam/desk/state", b"{}")
    sender.publish(AVAILABILITY, b"offline", retain=True)
    wait_until(lambda: any("desk is offline" in line for line in tail.out))
    said = [line for line in tail.out if "#" in line or " is " in line]
    assert len(said) == 6
    assert sorted("retained" in line or "is online" in line for line in said[:2]) == [True, True]
    assert "gap: 2 lost" in said[3]
    assert "duplicate" in said[4]
    assert any("\u2588" in line for line in tail.out)
    wait_until(lambda: any(f"{MASK}: refused" in line for line in tail.err))  # read by a thread
    assert tail.end(signal.SIGINT) == 130
    assert tail.err[-2:] == [
        "4 messages, 2 lost, 1 duplicates, 1 refused", "picosam-mqtt: interrupted",
    ]  # fmt: skip
    assert not any("Traceback" in line for line in tail.err)


def test_tail_ends_by_count_and_is_json(
    broker: Any, listen: Any, start_tail: Any, make_message: Message
) -> None:
    sender = listen(broker.port, "nothing")
    tail = start_tail(
        "--host", broker.host, "--port", str(broker.port), "--json", "--count", "2",
        "--device", "desk", "--qos", "1", "--mqtt", "5",
    )  # fmt: skip
    sender.publish("picosam/other/mask", json.dumps(make_message(0, device="other")))
    sender.publish(AVAILABILITY, b"online")
    for seq in (0, 1):
        sender.publish(MASK, json.dumps(make_message(seq)))
    assert tail.end() == 0
    said = [json.loads(line) for line in tail.out]
    assert said[0] == {"device": "desk", "availability": "online"}
    assert [one["seq"] for one in said[1:]] == [0, 1]


def test_tail_checks_signatures(
    broker: Any, listen: Any, start_tail: Any, wait_until: Any, make_message: Message
) -> None:
    sender = listen(broker.port, "nothing")
    words = ("--host", broker.host, "--port", str(broker.port), "--key", "env:MASK_KEY")
    tail = start_tail(*words, "--count", "1", env={"MASK_KEY": KEY})
    sender.publish(MASK, json.dumps(make_message(0)))
    wait_until(lambda: any("refused: unsigned" in line for line in tail.err))
    sender.publish(MASK, json.dumps(sign(make_message(1), KEY.encode())))
    assert tail.end() == 0
    assert [line.split()[2] for line in tail.out] == ["#1"]


def test_tail_comes_back_after_a_loss(
    broker: Any, listen: Any, start_tail: Any, wait_until: Any, make_message: Message
) -> None:
    tail = start_tail("--host", broker.host, "--port", str(broker.port), "--count", "1")
    broker.kill()
    wait_until(lambda: any("connection lost" in line for line in tail.err))
    broker.start()
    wait_until(lambda: "connected again" in tail.err)
    listen(broker.port, "nothing").publish(MASK, json.dumps(make_message(0)))
    assert tail.end() == 0


def test_tail_ends_after_silence(broker: Any, start_tail: Any) -> None:
    words = ("--host", broker.host, "--port", str(broker.port), "--timeout", "0.2")
    assert start_tail(*words).end() == 1


def test_tail_says_why_it_may_not_read(
    make_broker: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = make_broker(users={"me": "secret"}, acl="user me\ntopic read other/#\n")
    words = ["tail", "--host", broker.host, "--port", str(broker.port), "--username", "me"]
    monkeypatch.setenv("PASSWORD", "wrong")
    assert main([*words, "--password", "env:PASSWORD"]) == 1
    error = capsys.readouterr().err
    assert "to let us in" in error
    assert "wrong" not in error


def test_tail_over_tls_with_a_certificate(
    make_broker: Any, ca: Any, tmp_path: Path, listen: Any, start_tail: Any
) -> None:
    broker = make_broker(tls=ca, require_certificate=True)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = ca.issue_cert("me")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    words = ["--host", broker.host, "--port", str(broker.port), "--ca", str(tmp_path / "ca.pem")]
    tail = start_tail(*words, "--cert", str(tmp_path / "me.pem"), "--timeout", "0.1")
    assert tail.end() == 1
    assert any("no message" in line for line in tail.err)


def test_tail_over_websockets(make_broker: Any, start_tail: Any) -> None:
    broker = make_broker(websockets=True)
    words = ["--host", broker.host, "--port", str(broker.port), "--websockets"]
    assert any("no message" in line for line in _ended(start_tail(*words, "--timeout", "0.1")))


def test_pahos_thread_may_end_while_it_is_waited_for(
    broker: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    asked = threading.Event()
    client.on_disconnect = lambda *_: asked.wait(10)  # in paho's thread, which then ends
    client.connect(broker.host, broker.port)
    client.loop_start()
    stop = client.loop_stop
    real = threading.current_thread

    def late() -> threading.Thread:  # what loop_stop asks for before it waits for the thread
        if real() is threading.main_thread():
            asked.set()
            wait_until(lambda: client._thread is None)
        return real()

    def stop_late() -> Any:
        monkeypatch.setattr(threading, "current_thread", late)
        return stop()

    client.loop_stop = stop_late  # type: ignore[method-assign]
    disconnect(client)
    assert asked.is_set()


def _ended(tail: Tail) -> list[str]:
    tail.end()
    return tail.err


@pytest.fixture
def publish() -> Iterator[Callable[..., None]]:
    """Publishes three results with the real publisher: ``publish(port, key=...)``."""
    publishers: list[MqttPublisher] = []

    def three(port: int, **options: Any) -> None:
        table = {"host": "127.0.0.1", "port": port, "rate_hz": 0, "changes_only": False, **options}
        config = from_mapping(table, MqttPublisherConfig)
        publisher = MqttPublisher(config, Context(device="desk", session="s"))
        publishers.append(publisher)
        publisher.open()
        for index in range(3):
            publisher.publish(a_result(index))
        assert publisher.flush(10)

    yield three
    for publisher in publishers:
        publisher.close()


def test_tail_reads_what_the_publisher_signs(
    broker: Any, start_tail: Any, publish: Any, tmp_path: Path
) -> None:
    words = ("--host", broker.host, "--port", str(broker.port), "--key", "env:MASK_KEY")
    tail = start_tail(*words, "--qos", "1", "--count", "3", env={"MASK_KEY": KEY})
    publish(broker.port, key=KEY, spool={"path": str(tmp_path / "spool")})
    assert tail.end() == 0
    assert [re.findall(r"#(\d) score .*[^!]{9}$", line) for line in tail.out[-3:]] == [
        ["0"], ["1"], ["2"],
    ]  # fmt: skip
    assert tail.err[-1] == "3 messages, 0 lost, 0 duplicates, 0 refused"


def test_the_first_run_needs_no_broker_to_be_installed(
    start_tail: Any, publish: Any, tmp_path: Path
) -> None:
    with DemoBroker() as demo:
        tail = start_tail("--host", demo.host, "--port", str(demo.port), "--count", "3")
        publish(demo.port, spool={"path": str(tmp_path / "spool")})
        assert tail.end() == 0
        assert any("desk is online" in line for line in tail.out)


def test_decode_works_where_the_sdk_is_not_installed(masks: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", ALONE, "decode", masks, "--draw"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "desk #3" in done.stdout
