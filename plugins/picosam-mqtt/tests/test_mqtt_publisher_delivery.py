"""Store and forward, and streaming, while the broker and the network do what they do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk.egress import Gate
from picosam_sdk.outbox import Outbox
from picosam_sdk.settings import EgressRule, PublishTable
from picosam_sdk.stats import PartStats
from picosam_sdk.testing.results import a_result

MASK = "picosam/desk/mask"


def numbers(payloads: list[bytes], session: str = "session1") -> list[int]:
    """The seq of each message of a session, in the order of their coming."""
    messages = [json.loads(payload) for payload in payloads]
    return [message["seq"] for message in messages if message["session"] == session]


def first_comings(seqs: list[int]) -> list[int]:
    return list(dict.fromkeys(seqs))


def publish(publisher: Any, first: int, last: int) -> None:
    for n in range(first, last + 1):
        assert publisher.publish(a_result(n)) is not None


class TestStoreAndForward:
    def test_what_came_before_the_broker_arrives_in_order(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any
    ) -> None:
        broker.stop()
        proxy = make_proxy(broker.port)
        publisher = publish_to(proxy, connected=False, window=3)
        publish(publisher, 0, 29)
        assert not publisher.flush(0.05)
        assert publisher.stats["spool"]["waiting"] == 30
        proxy.refuse = True
        broker.start()
        listener = listen(broker.port, MASK)
        proxy.refuse = False
        assert numbers(listener.wait(MASK, 30)) == list(range(30))
        assert publisher.flush(5)
        assert publisher.stats["spool"]["delivered"] == 30

    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    @pytest.mark.parametrize("how", ["killed", "restarted", "restarted with persistence"])
    def test_a_broker_that_dies_and_returns(
        self, how: str, version: str, make_broker: Any, make_proxy: Any, publish_to: Any,
        listen: Any,
    ) -> None:  # fmt: skip
        broker = make_broker(persistence="persistence" in how)
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        publisher = publish_to(proxy, version=version)
        publish(publisher, 0, 9)
        assert numbers(listener.wait(MASK, 10)) == list(range(10))
        listener.close()
        if how == "killed":
            broker.kill()
        else:
            broker.stop()
        publish(publisher, 10, 19)
        proxy.refuse = True
        broker.start()
        listener = listen(broker.port, MASK)
        proxy.refuse = False
        publish(publisher, 20, 29)
        assert publisher.flush(10), publisher.stats
        got = first_comings(numbers(listener.wait(MASK, 20)))
        assert got == list(range(got[0], 30))
        assert got[0] <= 10
        assert publisher.stats["spool"]["stored"] == publisher.stats["spool"]["delivered"] == 30

    def test_cut_again_and_again_nothing_is_lost_and_only_repeated_with_its_number(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        proxy.delay_s = 0.002
        publisher = publish_to(proxy, window=8)
        for n in range(60):
            publish(publisher, n, n)
            if n % 15 == 14:
                proxy.cut()
        assert publisher.flush(10), publisher.stats
        payloads = listener.wait(MASK, 60)
        wait_until(lambda: len(set(numbers(listener.on(MASK)))) == 60)
        payloads = listener.on(MASK)
        assert first_comings(numbers(payloads)) == list(range(60))
        assert len(set(payloads)) == 60  # a repeated message is the same, byte by byte
        assert publisher.stats["losses"] >= 1

    def test_a_frozen_broker_is_left_by_keepalive_and_no_publish_waits(
        self, broker: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        listener = listen(broker.port, MASK)
        publisher = publish_to(broker)
        publish(publisher, 0, 4)
        listener.wait(MASK, 5)
        broker.freeze()
        publish(publisher, 5, 24)  # each returns though the broker answers nothing
        assert publisher.stats["connected"], "it was not yet noticed"
        wait_until(lambda: publisher.stats["problem"] == "keepalive")
        publish(publisher, 25, 29)
        broker.thaw()
        assert publisher.flush(10), publisher.stats
        wait_until(lambda: set(numbers(listener.on(MASK))) == set(range(30)))
        assert first_comings(numbers(listener.on(MASK))) == list(range(30))

    def test_a_slow_network(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        proxy.delay_s, proxy.bytes_per_s = 0.01, 100_000
        publisher = publish_to(proxy, window=4)
        publish(publisher, 0, 29)
        assert publisher.flush(10)
        assert numbers(listener.wait(MASK, 30)) == list(range(30))
        assert publisher.stats["losses"] == 0

    def test_a_full_spool_drops_the_oldest(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any, tmp_path: Path
    ) -> None:
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        proxy.refuse = True
        spool = {"path": str(tmp_path / "small"), "max_count": 7}
        publisher = publish_to(proxy, connected=False, spool=spool)
        publish(publisher, 0, 19)
        assert publisher.stats["spool"]["dropped"] == 13
        proxy.refuse = False
        assert numbers(listener.wait(MASK, 7)) == list(range(13, 20))

    def test_what_waits_outlives_the_process(
        self, make_broker: Any, publish_to: Any, listen: Any
    ) -> None:
        broker = make_broker()
        broker.stop()
        publisher = publish_to(broker, connected=False)
        publish(publisher, 0, 4)
        publisher.close()
        broker.start()
        listener = listen(broker.port, MASK)
        publisher = publish_to(broker, session="session2")
        publish(publisher, 0, 4)
        payloads = listener.wait(MASK, 10)
        assert [json.loads(payload)["session"] for payload in payloads] == ["session1"] * 5 + [
            "session2"
        ] * 5
        assert numbers(payloads) == numbers(payloads, "session2") == list(range(5))

    def test_kill_9_in_mid_stream(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any, tmp_path: Path
    ) -> None:
        """All that publish returned for arrives, in order; twice only with the same number."""
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        proxy.delay_s = 0.003
        path = tmp_path / "killed.sqlite"
        command = [sys.executable, "-c", CHILD, str(proxy.port), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [int(child.stdout.readline()) for _ in range(120)]
            listener.wait(MASK, 5)  # some are delivered, some under way, some wait
            child.kill()
            said += [int(line) for line in child.stdout.read().split("\n") if line]
        proxy.delay_s = 0
        publisher = publish_to(proxy, spool={"path": str(path)})
        assert publisher.stats["spool"]["corrupt"] == 0
        publish(publisher, 0, 0)
        assert publisher.flush(10), publisher.stats
        listener.catch_up()
        payloads = listener.on(MASK)
        seqs = first_comings(numbers(payloads, "killed"))
        assert seqs == list(range(len(seqs)))
        assert len(seqs) - len(said) in (0, 1)  # one may be stored that was not yet said
        assert len({payload for payload in payloads if b'"killed"' in payload}) == len(seqs)
        assert numbers(payloads) == [0]
        assert json.loads(payloads[-1])["session"] == "session1"


CHILD = """
import sys
from pathlib import Path
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.settings import SpoolConfig
from picosam_sdk.interfaces import Context
from picosam_sdk.testing.results import a_result

config = MqttPublisherConfig(
    host="127.0.0.1", port=int(sys.argv[1]), spool=SpoolConfig(Path(sys.argv[2])),
    changes_only=False, rate_hz=0, client_id="killed",
)
publisher = MqttPublisher(config, Context("desk", "killed"))
publisher.open()
for n in range(10**9):
    publisher.publish(a_result(n))
    print(n, flush=True)
"""


class TestRefusals:
    def test_a_denied_topic_is_said_and_what_waited_is_delivered_once_it_is_allowed(
        self, make_broker: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        broker = make_broker(acl="topic read #\ntopic write picosam/desk/availability\n")
        publisher = publish_to(broker, version="5")
        publisher._courier._retry_s = 0.1
        publish(publisher, 0, 9)
        wait_until(lambda: "Not authorized" in publisher.stats["delivery"]["last_refusal"])
        # From the second refusal on one is under way at a time, and none can be overtaken.
        wait_until(lambda: publisher.stats["delivery"]["refused"] >= 2)
        assert publisher.stats["connected"]
        assert publisher.stats["spool"]["waiting"] == 10
        wait_until(lambda: publisher.stats["topics"]["state"]["failed"] > 0)
        listener = listen(broker.port, MASK)
        (broker.folder / "acl").write_text("topic readwrite #\n")
        broker.reload()
        assert publisher.flush(10), publisher.stats
        assert first_comings(numbers(listener.wait(MASK, 10))) == list(range(10))

    def test_3_1_1_says_nothing_of_a_denied_topic(self, make_broker: Any, publish_to: Any) -> None:
        """The broker acknowledges and drops the message: the standard leaves it no other way."""
        broker = make_broker(acl="topic read #\n")
        publisher = publish_to(broker, version="3.1.1")
        publish(publisher, 0, 2)
        assert publisher.flush(5)
        assert publisher.stats["spool"]["delivered"] == 3

    def test_a_wrong_password_shows_and_nothing_is_lost(
        self, make_broker: Any, publish_to: Any, wait_until: Any
    ) -> None:
        broker = make_broker(users={"me": "right"})
        options = {"username": "me", "password": "wrong"}
        publisher = publish_to(broker, connected=False, **options)
        publish(publisher, 0, 4)
        wait_until(lambda: publisher.stats["problem"] == "not-authorized")
        assert "Check username, password" in publisher.stats["problem_text"]
        assert "wrong" not in json.dumps(publisher.stats)
        publisher.close()
        publisher = publish_to(broker, username="me", password="right")
        assert publisher.flush(5)
        assert publisher.stats["spool"]["delivered"] == 5

    def test_what_the_broker_will_never_take_does_not_hold_up_the_rest(
        self, make_broker: Any, publish_to: Any, listen: Any
    ) -> None:
        broker = make_broker(extra="max_packet_size 700")
        listener = listen(broker.port, MASK)
        publisher = publish_to(broker)
        publish(publisher, 0, 0)
        publisher.publish(a_result(1, region="a region with a name that is far too long" * 10))
        publish(publisher, 2, 2)
        assert publisher.flush(5)
        assert numbers(listener.wait(MASK, 2)) == [0, 2]
        assert publisher.stats["delivery"]["refused"] == 1
        assert publisher.stats["spool"]["dropped"] == 1

    def test_two_devices_with_one_name_find_out(
        self, broker: Any, publish_to: Any, wait_until: Any, tmp_path: Path
    ) -> None:
        both = [
            publish_to(broker, connected=False, spool={"path": str(tmp_path / name)})
            for name in "ab"
        ]
        wait_until(lambda: any("taken-over" in one.stats["problem"] for one in both))
        assert any(one.stats["taken_over"] for one in both)

    def test_a_missing_client_certificate_shows(
        self, make_broker: Any, publish_to: Any, wait_until: Any, ca: Any, tmp_path: Path
    ) -> None:
        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        broker = make_broker(tls=ca, require_certificate=True)
        tls = {"ca_file": str(tmp_path / "ca.pem")}
        publisher = publish_to(broker, connected=False, tls=tls)
        wait_until(lambda: publisher.stats["problem"] == "client-certificate")
        ca.issue_cert("desk@example.org").private_key_and_cert_chain_pem.write_to_path(
            tmp_path / "desk.pem"
        )
        publisher.close()
        publisher = publish_to(broker, tls={**tls, "cert_file": str(tmp_path / "desk.pem")})
        publish(publisher, 0, 0)
        assert publisher.flush(5)


class TestStreaming:
    def test_what_comes_while_offline_is_dropped_and_counted(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        publisher = publish_to(proxy, qos=0)
        publish(publisher, 0, 0)
        listener.wait(MASK)
        proxy.refuse = True
        proxy.cut()
        wait_until(lambda: not publisher.stats["connected"])
        for n in range(1, 6):
            assert publisher.publish(a_result(n)) != 0
        assert publisher.stats["topics"]["mask"]["dropped_offline"] == 5
        proxy.refuse = False
        wait_until(lambda: publisher.stats["connected"])
        publish(publisher, 6, 6)
        assert numbers(listener.wait(MASK, 2)) == [0, 6]  # the receiver sees that five are missing

    def test_a_stalled_network_keeps_the_newest_only(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        listener = listen(broker.port, MASK)
        proxy = make_proxy(broker.port)
        publisher = publish_to(proxy, qos=0, keepalive_s=30, image="pixels", image_px=8192)
        image = a_result(0, grants=["pixels"])
        publish(publisher, 0, 0)
        listener.wait(MASK)
        proxy.silent = True
        n = 0
        while publisher.stats["topics"]["mask"]["dropped"] < 3:
            n += 1
            assert n < 20_000, publisher.stats
            publisher.publish(image)
        last = publisher.stats["seq"] - 1
        assert publisher.stats["connected"]
        proxy.silent = False
        wait_until(lambda: numbers(listener.on(MASK))[-1:] == [last])
        got = numbers(listener.on(MASK))
        assert got == sorted(got)
        assert len(got) == last + 1 - publisher.stats["topics"]["mask"]["dropped"]

    def test_a_frozen_broker_does_not_hold_the_frame_loop(
        self, broker: Any, publish_to: Any, wait_until: Any
    ) -> None:
        """With the outbox that a pipeline has: what is offered while it is frozen is taken."""
        publisher = publish_to(broker, connected=False, qos=0)
        publisher.close()
        stats = PartStats()
        gate = Gate("mqtt", EgressRule())
        outbox = Outbox("mqtt", publisher, gate, PublishTable("mqtt"), stats)
        outbox.start()
        assert outbox.wait_opened(5) is None
        broker.freeze()
        done = threading.Event()

        def loop() -> None:
            for n in range(200):
                result = a_result(n)
                outbox.offer(result, result.frame.timestamp_ns)
            done.set()

        threading.Thread(target=loop, daemon=True).start()
        assert done.wait(5), "the loop waits for the broker"
        outbox.close(0.3)
        broker.thaw()


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("state", ["up", "frozen", "down"])
def test_closing_is_quick_whatever_the_broker_does(
    state: str, qos: int, broker: Any, publish_to: Any
) -> None:
    if state == "down":
        broker.stop()
    publisher = publish_to(broker, connected=state != "down", qos=qos, keepalive_s=30)
    if state == "frozen":
        broker.freeze()
    publisher.publish(a_result(0))
    closed = threading.Event()
    threading.Thread(target=lambda: (publisher.close(), closed.set()), daemon=True).start()
    assert closed.wait(3)
    broker.thaw()
