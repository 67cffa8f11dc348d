"""The ROI source "mqtt": orders and gaze over a real broker, strictly read, stale is none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from picosam_mqtt.roi import MqttRoi, MqttRoiConfig
from picosam_mqtt.signing import canonical, sign
from picosam_mqtt.tail import disconnect

from picosam_sdk import Context, Frame, Mask, Prompt, Roi
from picosam_sdk.config import Secret
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.testing.contract import RoiSourceContract

KEY = "a key of more than sixteen bytes"
SET, STATE, GAZE = "picosam/desk/roi/set", "picosam/desk/roi/state", "picosam/desk/gaze"
Make = Callable[..., MqttRoi]


@pytest.fixture
def make_source(broker: Any, wait_until: Any) -> Iterator[Make]:
    """An open and subscribed source; further options are its configuration."""
    sources: list[MqttRoi] = []

    def make(**options: Any) -> MqttRoi:
        options = {"host": broker.host, "port": broker.port, "reconnect_s": 0.05, **options}
        config = MqttRoiConfig(**options)
        source = MqttRoi(config, Context(device="desk"))
        sources.append(source)
        source.open()
        wait_until(lambda: _subscribed(source))
        return source

    yield make
    for source in sources:
        source.close()


def _subscribed(source: MqttRoi) -> bool:
    topics = source.stats["connection"]["subscriptions"].values()
    return bool(topics) and all(said == "granted" for said in topics)


def _now(source: MqttRoi, ahead_s: float = 0.0) -> Prompt | None:
    return source.latest(time.monotonic_ns() + round(ahead_s * 1e9))


class Remote:
    """Who sends orders, and reads the answers."""

    def __init__(self, listener: Any, wait_until: Any) -> None:
        self._listener = listener
        self._wait_until = wait_until
        self.seq = 0

    def order(self, **order: Any) -> dict[str, Any]:
        """Sends one and returns its answer."""
        self.seq += 1
        return self.raw(json.dumps({"id": self.seq, **order}), order.get("id", self.seq))

    def raw(self, payload: bytes | str, order_id: Any = None) -> dict[str, Any]:
        seen = len(self.answers())
        self._listener.publish(SET, payload)

        def answered() -> Any:
            new = [a for a in self.answers()[seen:] if "accepted" in a]
            return [a for a in new if order_id is None or a["id"] == order_id]

        return self._wait_until(answered)[0]

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self._listener.on(STATE)]


@pytest.fixture
def remote(broker: Any, listen: Any, wait_until: Any) -> Remote:
    return Remote(listen(broker.port, STATE), wait_until)


class _Contract(RoiSourceContract):
    part = MqttRoi

    @pytest.fixture(autouse=True)
    def _peer(self, broker: Any, listen: Any, wait_until: Any) -> None:
        self.sender = listen(broker.port, "nothing")
        self.wait_until = wait_until

    def _send(self, source: Any, name: str, **message: Any) -> None:
        self.wait_until(lambda: _subscribed(source))
        before = {**source.stats, "connection": None}
        self.sender.publish(f"picosam/contract/{name}", json.dumps(message))
        self.wait_until(lambda: {**source.stats, "connection": None} != before)


class TestOrders(_Contract):
    stale_s = 5.0
    # One outside is refused, what was ordered before stays; see test_what_is_refused.
    test_a_place_outside_the_view_gives_none = None

    @pytest.fixture
    def options(self, broker: Any) -> dict[str, Any]:
        return {"host": broker.host, "port": broker.port, "max_ttl_s": self.stale_s}

    def feed(self, source: Any, now_ns: int) -> None:
        self._send(source, "roi/set", roi=[0.1, 0.1, 0.5, 0.5])


class TestGaze(_Contract):
    stale_s = 0.3

    @pytest.fixture
    def options(self, broker: Any) -> dict[str, Any]:
        password = {"username": "me", "password": "not shown", "key": KEY[::-1]}
        return {"host": broker.host, "port": broker.port, "accept": ["gaze"], **password}

    def feed(self, source: Any, now_ns: int) -> None:
        self._gaze(source, 0.5, 0.5)

    def feed_outside(self, source: Any, now_ns: int) -> None:
        self._gaze(source, 1.5, 0.5)

    def _gaze(self, source: Any, x: float, y: float) -> None:
        message = {"device": "contract", "session": "s", "seq": time.monotonic_ns(), "x": x, "y": y}
        message["timestamp_ns"] = time.time_ns()
        self._send(source, "gaze", **sign(message, KEY[::-1].encode()))


del _Contract  # pytest collects it otherwise


def test_an_order_is_followed_answered_and_taken_back(make_source: Make, remote: Remote) -> None:
    source = make_source()
    assert _now(source) is None
    answer = remote.order(roi=[0.1, 0.2, 0.3, 0.4], ttl_s=60)
    assert (answer["accepted"], answer["roi"], answer["point"]) == (
        True, [0.1, 0.2, 0.3, 0.4], None,
    )  # fmt: skip
    assert 55 < answer["ttl_s"] <= 60
    prompt = _now(source)
    assert prompt is not None
    assert prompt.roi == Roi(0.1, 0.2, 0.3, 0.4)
    assert 0 <= time.monotonic_ns() - prompt.timestamp_ns < 10e9
    assert remote.order(point=[0.25, 0.75])["point"] == [0.25, 0.75]
    prompt = _now(source)
    assert prompt is not None
    assert (prompt.roi, prompt.point) == (None, (0.25, 0.75))
    answer = remote.order(clear=True)
    assert (answer["accepted"], answer["roi"], answer["point"]) == (True, None, None)
    assert _now(source) is None
    assert source.stats["accepted"] == 3


def test_an_order_expires_and_the_state_says_so(
    make_source: Make, remote: Remote, wait_until: Any
) -> None:
    source = make_source(max_ttl_s=20.0)
    assert remote.order(point=[0.5, 0.5])["ttl_s"] <= 20  # it does not say: the longest
    assert remote.order(point=[0.5, 0.5], ttl_s=3600)["ttl_s"] <= 20
    assert remote.order(point=[0.5, 0.5], ttl_s=5)["ttl_s"] <= 5
    assert _now(source, 4.0) is not None
    assert _now(source, 5.1) is None
    wait_until(lambda: remote.answers()[-1]["point"] is None)
    assert _now(source) is None  # for good


def test_without_a_longest_time_an_order_holds_until_it_is_taken_back(
    make_source: Make, remote: Remote
) -> None:
    source = make_source(max_ttl_s=0.0)
    assert remote.order(point=[0.5, 0.5])["ttl_s"] is None
    assert _now(source, 1e6) is not None
    assert remote.order(point=[0.5, 0.5], ttl_s=7)["ttl_s"] <= 7
    assert _now(source, 8) is None


def test_what_is_refused_changes_nothing_and_is_answered(make_source: Make, remote: Remote) -> None:
    source = make_source(max_rate_hz=1000.0)
    remote.order(point=[0.5, 0.5])
    for order, reason in (
        ({"point": [1.5, 0.5]}, "outside"),
        ({"roi": [2, 2, 1, 1]}, "outside"),
        ({"roi": [0, 0, 0, 1]}, "malformed"),
    ):
        answer = remote.order(**order)
        assert (answer["accepted"], answer["reason"], answer["point"]) == (
            False, reason, [0.5, 0.5],
        )  # fmt: skip
    answer = remote.raw(b"\xff")
    assert (answer["accepted"], answer["reason"], answer["id"]) == (False, "malformed", None)
    prompt = _now(source)
    assert prompt is not None
    assert prompt.point == (0.5, 0.5)
    assert (source.stats["refused_outside"], source.stats["refused_malformed"]) == (2, 2)


def test_a_retained_order_is_refused(
    make_source: Make, remote: Remote, listen: Any, broker: Any, wait_until: Any
) -> None:
    listen(broker.port, "nothing").publish(SET, json.dumps({"point": [0.5, 0.5]}), retain=True)
    source = make_source()
    wait_until(lambda: source.stats.get("refused_retained"))
    assert _now(source) is None
    wait_until(lambda: "retained" in [answer.get("reason") for answer in remote.answers()])


def test_too_many_orders_are_dropped(
    make_source: Make, listen: Any, broker: Any, wait_until: Any
) -> None:
    source = make_source(max_rate_hz=1.0)
    sender = listen(broker.port, STATE)
    for _ in range(20):
        sender.publish(SET, json.dumps({"clear": True}))
    wait_until(lambda: sum(source.stats.get(n, 0) for n in ("refused_rate", "accepted")) == 20)
    assert source.stats["accepted"] < 10
    assert len(sender.on(STATE)) <= 20  # refusals are not all answered either
    assert source.stats["unanswered"] > 0


def test_signed_orders_are_taken_once_and_others_not(make_source: Make, remote: Remote) -> None:
    source = make_source(key=Secret(text=KEY), max_rate_hz=1000.0)

    def signed(seq: int, **changes: Any) -> str:
        message = {"device": "desk", "session": "remote", "seq": seq, "point": [0.5, 0.5]}
        message |= {"timestamp_ns": time.time_ns(), "id": seq, **changes}
        return json.dumps(sign(message, KEY.encode()))

    reasons = [
        remote.raw(json.dumps({"point": [0.5, 0.5]})).get("reason"),
        remote.raw(signed(1).replace("0.5", "0.6"), 1).get("reason"),
        remote.raw(signed(2, timestamp_ns=time.time_ns() - 11 * 10**9), 2).get("reason"),
        remote.raw(signed(3, device="hall"), 3).get("reason"),
    ]
    assert reasons == ["unsigned", "forged", "late", "device"]
    assert _now(source) is None
    order = signed(4)
    assert remote.raw(order, 4)["accepted"]
    assert _now(source) is not None
    assert remote.raw(signed(5, point=[0.1, 0.1]), 5)["accepted"]
    assert remote.raw(order, 4)["reason"] == "replayed"
    prompt = _now(source)
    assert prompt is not None
    assert prompt.point == (0.1, 0.1)


def test_a_mask_message_played_back_is_no_order(make_source: Make, remote: Remote) -> None:
    """Signed with the same key, and it even has a 'roi'."""
    source = make_source(key=Secret(text=KEY))
    mask = Mask.from_bits(np.ones((8, 8), bool), Roi(0.1, 0.1, 0.5, 0.5), size_px=(640, 480))
    result = Result(Frame(None, time.monotonic_ns()), mask, None)
    message = encode_result(result, device="desk", session="s", seq=0)
    answer = remote.raw(canonical(sign(message, KEY.encode())))
    assert (answer["accepted"], answer["reason"]) == (False, "malformed")
    assert _now(source) is None


def test_gaze_prompts_while_it_is_fresh_sure_and_inside(
    make_source: Make, listen: Any, broker: Any, wait_until: Any
) -> None:
    source = make_source(accept=("gaze",))
    sender = listen(broker.port, STATE)

    def look(**sample: Any) -> None:
        before = source.stats.get("gazes", 0)
        sender.publish(GAZE, json.dumps(sample), qos=0)
        wait_until(lambda: source.stats.get("gazes", 0) > before)

    look(x=0.25, y=0.75, t=12.5, confidence=0.9, worn=True, extra="left alone")
    prompt = _now(source)
    assert prompt is not None
    assert prompt.gaze is not None
    assert (prompt.point, prompt.gaze.confidence) == ((0.25, 0.75), 0.9)
    assert prompt.timestamp_ns == prompt.gaze.timestamp_ns
    assert _now(source, 0.4) is None  # stale
    for sample in (
        {"x": None, "y": None},
        {"x": 1.2, "y": 0.5},
        {"x": 0.5, "y": 0.5, "confidence": 0.5},
        {"x": 0.5, "y": 0.5, "worn": False},
    ):
        look(x=0.5, y=0.5)
        assert _now(source) is not None
        look(**sample)
        assert _now(source) is None, sample
    sender.publish(GAZE, json.dumps({"x": "left", "y": 0.5}))
    sender.publish(GAZE, json.dumps({"x": 0.5, "y": 0.5}), retain=True)
    sender.publish(SET, json.dumps({"point": [0.5, 0.5]}))
    look(x=0.5, y=0.5)
    assert source.stats["gaze_refused_malformed"] == 1
    assert "accepted" not in source.stats  # 'roi' was not to be accepted
    assert not sender.on(STATE)


def test_an_order_goes_before_gaze(
    make_source: Make, remote: Remote, listen: Any, broker: Any, wait_until: Any
) -> None:
    source = make_source(accept=("roi", "gaze"))
    listen(broker.port, "nothing").publish(GAZE, json.dumps({"x": 0.5, "y": 0.5}))
    wait_until(lambda: source.stats.get("gazes"))
    remote.order(roi=[0, 0, 0.2, 0.2])
    prompt = _now(source)
    assert prompt is not None
    assert prompt.roi == Roi(0, 0, 0.2, 0.2)
    remote.order(clear=True)
    listen(broker.port, "nothing").publish(GAZE, json.dumps({"x": 0.5, "y": 0.5}))
    wait_until(lambda: _now(source))


def test_a_broker_that_restarts_keeps_nothing_and_is_found_again(
    make_source: Make, broker: Any, listen: Any, wait_until: Any
) -> None:
    source = make_source()
    listen(broker.port, "nothing").publish(SET, json.dumps({"point": [0.5, 0.5], "ttl_s": 60}))
    wait_until(lambda: _now(source))
    losses = source.stats["connection"]["losses"]
    broker.kill()
    wait_until(lambda: source.stats["connection"]["losses"] > losses)
    assert _now(source) is not None  # it holds for its time
    assert _now(source, 61) is None
    broker.start()
    wait_until(lambda: source.stats["connection"]["connected"] and _subscribed(source))
    late = Remote(listen(broker.port, STATE), wait_until)
    assert late.order(roi=[0, 0, 1, 1])["accepted"]


def test_what_is_in_force_is_retained_and_taken_down_at_the_end(
    make_source: Make, remote: Remote, listen: Any, broker: Any
) -> None:
    source = make_source()
    remote.order(point=[0.5, 0.5])
    (kept,) = listen(broker.port, STATE).wait(STATE)
    assert json.loads(kept)["point"] == [0.5, 0.5]
    source.close()
    assert _now(source) is None
    (kept,) = listen(broker.port, STATE).wait(STATE)
    assert json.loads(kept)["point"] is None


def test_a_source_that_dies_leaves_no_order_behind(
    make_source: Make, remote: Remote, broker: Any, wait_until: Any
) -> None:
    """The broker sends the will: the connection is cut, and cannot be made again."""
    make_source(client_id="one")
    remote.order(point=[0.5, 0.5])
    thief = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="one")
    thief.connect(broker.host, broker.port)
    thief.loop_start()
    try:
        wait_until(lambda: remote.answers()[-1]["point"] is None)
    finally:
        disconnect(thief)


def test_it_is_made_without_a_broker_and_closed_twice() -> None:
    source = MqttRoi(MqttRoiConfig(host="127.0.0.1", port=1), Context(device="desk"))
    source.close()
    assert _now(source) is None
    source.open()
    source.open()  # again, to recover
    assert _now(source) is None
    assert not source.stats["connection"]["connected"]
    source.close()
    source.close()
