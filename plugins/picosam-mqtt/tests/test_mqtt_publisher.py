"""The publisher's topics and payloads, on a real broker."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from picosam_mqtt import plugin
from picosam_mqtt.decode import decode
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.signing import SignatureError, Verifier
from PIL import Image

from picosam_sdk import ConfigError, Mask, Plugins, PublishError, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import check_needs
from picosam_sdk.errors import EgressError
from picosam_sdk.interfaces import Context, Publisher, RoiSource
from picosam_sdk.settings import EgressRule
from picosam_sdk.testing.contract import PublisherContract
from picosam_sdk.testing.results import a_mask, a_result

BASE = "picosam/desk"


class _Contract(PublisherContract):
    part: ClassVar[type[Publisher]] = MqttPublisher
    listener: Any

    @pytest.fixture
    def options(self, broker: Any, listen: Any, tmp_path: Path) -> Mapping[str, Any]:
        self.listener = listen(broker.port, "picosam/contract/mask")
        return {
            "host": "127.0.0.1",
            "port": broker.port,
            "password": "swordfish",
            "username": "me",
            "key": "0123456789abcdef",
            "spool": {"path": str(tmp_path / "spool.sqlite")},
            "changes_only": False,
            "rate_hz": 0,
            "stats_s": 1,
            "silhouette": True,
            "homeassistant": {},
            **self.more(),
        }

    def more(self) -> dict[str, Any]:
        raise NotImplementedError

    def delivered(self, publisher: Any) -> int:
        self.listener.catch_up()
        return len(self.listener.on("picosam/contract/mask"))


class TestStoredAndForwarded(_Contract):
    def more(self) -> dict[str, Any]:
        return {"qos": 1}


class TestStreamed(_Contract):
    def more(self) -> dict[str, Any]:
        return {"qos": 0, "image": "redacted"}

    def test_what_is_published_arrives(self, opened: Any, results: Any) -> None:
        """The newest counts: some in between may give way to it."""
        for result in results:
            opened.publish(result)
            assert opened.flush(self.wait_s)
        topic = "picosam/contract/mask"
        assert len(self.listener.wait(topic, len(results))) == len(results)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_topics(
    qos: int, version: str, broker: Any, publish_to: Any, listen: Any, wait_until: Any
) -> None:
    listener = listen(broker.port, "#")
    publisher = publish_to(broker, qos=qos, version=version, silhouette=True, stats_s=0.1)
    assert listener.wait(f"{BASE}/availability") == [b"online"]
    seen = [a_result(0, region="shelf 2"), a_result(1, mask=a_mask(x=0.6)), a_result(2)]
    for result in seen:
        assert publisher.publish(result) > 300
        assert publisher.flush(5)
    masks = listener.wait(f"{BASE}/mask", 3)
    messages = [json.loads(payload) for payload in masks]
    assert [(m["device"], m["session"], m["seq"], m["frame"]) for m in messages] == [
        ("desk", "session1", n, n) for n in range(3)
    ]
    assert max(map(len, masks)) < 1200
    for payload, result in zip(masks, seen, strict=True):
        got = decode(payload)
        assert np.array_equal(got.bits, result.mask.logits > 0)
    state = json.loads(listener.wait(f"{BASE}/state", 3)[-1])
    assert state["present"] is True
    assert [region["name"] for region in state["regions"].values()] == ["shelf 2", ""]
    assert state["seq"] == 2
    silhouette = Image.open(io.BytesIO(listener.wait(f"{BASE}/silhouette", 3)[-1]))
    assert silhouette.size == (160, 120)
    assert np.array_equal(np.array(silhouette), seen[2].mask.paste(160, 120))

    def connected() -> list[Any]:  # the first ones may have been written before it was
        return [s for s in map(json.loads, listener.on(f"{BASE}/stats")) if s["connected"] is True]

    stats = wait_until(connected)[0]
    assert stats["version"] == version
    publisher.close()
    assert listener.wait(f"{BASE}/availability", 2) == [b"online", b"offline"]
    late = listen(broker.port, "#")
    wait_until(lambda: len(late.messages) == 3)
    assert {m.topic for m in late.messages} == {
        f"{BASE}/{name}" for name in ("availability", "state", "silhouette")
    }
    assert late.on(f"{BASE}/availability") == [b"offline"]


def test_messages_keep_to_the_schema(broker: Any, publish_to: Any, listen: Any) -> None:
    from importlib.resources import files

    schema = json.loads((files("picosam_sdk") / "assets" / "mask.schema.json").read_text())
    listener = listen(broker.port, f"{BASE}/mask")
    publisher = publish_to(broker, key="0123456789abcdef")
    publisher.publish(a_result(0))
    publisher.publish(a_result(1, region="x" * 50))
    for payload in listener.wait(f"{BASE}/mask", 2):
        Draft202012Validator(schema).validate(json.loads(payload))


def test_noise_is_made_coarser_until_it_fits(broker: Any, publish_to: Any, listen: Any) -> None:
    listener = listen(broker.port, f"{BASE}/mask")
    publisher = publish_to(broker, key="0123456789abcdef")
    noise = np.random.default_rng(1).random((96, 96)) < 0.5
    roi = Roi(0.2, 0.2, 0.5, 0.5)
    publisher.publish(a_result(0, mask=Mask.from_bits(noise, roi, 0.5, (320, 240), roi)))
    (payload,) = listener.wait(f"{BASE}/mask")
    assert len(payload) <= 1200
    assert json.loads(payload)["mask"]["size"] == [48, 48]
    assert decode(payload).roi == pytest.approx((0.2, 0.2, 0.5, 0.5))
    assert publisher.stats["coarser"] == 1


class TestWhatIsSent:
    def test_only_changes(self, broker: Any, publish_to: Any, listen: Any) -> None:
        listener = listen(broker.port, f"{BASE}/mask")
        publisher = publish_to(broker, changes_only=True, iou_below=0.8, heartbeat_s=0)
        xs = [0.5, 0.5, 0.501, 0.6, 0.6]
        sent = [publisher.publish(a_result(n, mask=a_mask(x=x))) for n, x in enumerate(xs)]
        sent.append(publisher.publish(a_result(5, mask=a_mask(side=0.0001))))
        assert [one is not None for one in sent] == [True, False, False, True, False, True]
        assert publisher.flush(5)
        frames = [json.loads(payload)["frame"] for payload in listener.wait(f"{BASE}/mask", 3)]
        assert frames == [0, 3, 5]
        assert publisher.stats["unchanged"] == 3

    def test_no_faster_than_the_rate(self, broker: Any, publish_to: Any) -> None:
        publisher = publish_to(broker, rate_hz=0.01)
        sent = [publisher.publish(a_result(n)) for n in range(5)]
        assert [one is not None for one in sent] == [True, False, False, False, False]
        assert publisher.stats["too_soon"] == 4
        assert publisher.stats["seq"] == 1

    def test_signed(self, broker: Any, publish_to: Any, listen: Any) -> None:
        key = "a key that nobody else knows"
        listener = listen(broker.port, f"{BASE}/mask")
        publisher = publish_to(broker, key=key)
        for n in range(2):
            publisher.publish(a_result(n))
        verifier = Verifier(key.encode())
        messages = [json.loads(payload) for payload in listener.wait(f"{BASE}/mask", 2)]
        for message in messages:
            verifier.verify(message)
        for message in (messages[0], {**messages[1], "score": 1.0}):
            with pytest.raises(SignatureError):
                verifier.verify(message)

    def test_pictures_only_under_the_very_grant(
        self, broker: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, f"{BASE}/#")
        publisher = publish_to(broker, image="redacted", image_px=100)
        publisher.publish(a_result(0))
        publisher.publish(a_result(1, grants=["pixels"]))
        publisher.publish(a_result(2, grants=["redacted"]))
        assert publisher.flush(5)
        picture = Image.open(io.BytesIO(listener.wait(f"{BASE}/image")[0]))
        assert (picture.format, picture.size) == ("JPEG", (100, 75))
        assert len(listener.on(f"{BASE}/image")) == 1
        assert publisher.stats["image_withheld"] == 1

    def test_a_cutout_keeps_what_is_transparent(
        self, broker: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, f"{BASE}/image")
        result = a_result(0, grants=["cutout"])
        publish_to(broker, image="cutout").publish(result)
        picture = Image.open(io.BytesIO(listener.wait(f"{BASE}/image")[0]))
        assert (picture.format, picture.mode) == ("PNG", "RGBA")
        assert np.array_equal(np.array(picture), result.frame.image)

    def test_no_picture_without_being_asked(
        self, broker: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, f"{BASE}/#")
        publisher = publish_to(broker)
        publisher.publish(a_result(0, grants=["pixels", "gaze"]))
        assert publisher.flush(5)
        assert "gaze" in json.loads(listener.wait(f"{BASE}/mask")[0])
        listener.catch_up()
        assert {m.topic.rsplit("/")[-1] for m in listener.messages} == {
            "availability", "mask", "state",
        }  # fmt: skip

    def test_needs_what_it_sends(self) -> None:
        context = Context()
        for image in ("redacted", "cutout", "pixels"):
            publisher = MqttPublisher(MqttPublisherConfig(image=image), context)
            check_needs(publisher, EgressRule(grants=(image,)), "publish[0]")
            with pytest.raises(EgressError, match=image):
                check_needs(publisher, EgressRule(), "publish[0]")
        check_needs(MqttPublisher(MqttPublisherConfig(), context), EgressRule(), "publish[0]")

    def test_a_silhouette_of_nothing_is_black(
        self, broker: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, f"{BASE}/#")
        publisher = publish_to(broker, silhouette=True, silhouette_px=64)
        publisher.publish(a_result(0))
        assert publisher.flush(5)
        bare = a_result(1)
        object.__setattr__(bare, "mask", None)
        publisher.publish(bare)
        pictures = [
            np.array(Image.open(io.BytesIO(payload)))
            for payload in listener.wait(f"{BASE}/silhouette", 2)
        ]
        assert [picture.shape for picture in pictures] == [(48, 64)] * 2
        assert [picture.any() for picture in pictures] == [True, False]
        states = listener.wait(f"{BASE}/state", 2)
        assert [json.loads(payload)["present"] for payload in states] == [True, False]


class TestHomeAssistant:
    TOPIC = "homeassistant/device/picosam_desk/config"

    def test_is_told_again_when_it_starts_and_when_a_region_is_new(
        self, broker: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, self.TOPIC)
        publisher = publish_to(broker, homeassistant={"area": "Hall"})
        first = json.loads(listener.wait(self.TOPIC, 1)[0])
        assert first["device"]["suggested_area"] == "Hall"
        assert "view_present" in first["components"]
        publisher.publish(a_result(0, region="shelf"))
        assert "shelf_present" in json.loads(listener.wait(self.TOPIC, 2)[1])["components"]
        publisher.publish(a_result(1, region="shelf"))
        assert publisher.flush(5)
        listener.publish("homeassistant/status", "online")
        assert len(listener.wait(self.TOPIC, 3)) == 3
        (late,) = listen(broker.port, self.TOPIC).wait(self.TOPIC)
        assert "shelf_present" in json.loads(late)["components"]

    def test_is_told_nothing_unless_wanted(self, broker: Any, publish_to: Any, listen: Any) -> None:
        listener = listen(broker.port, "#")
        publisher = publish_to(broker)
        publisher.publish(a_result())
        assert publisher.flush(5)
        listener.wait(f"{BASE}/state")
        assert not [m for m in listener.messages if m.topic.startswith("homeassistant")]


class TestAvailability:
    def test_a_lost_device_is_offline_and_a_returning_one_online(
        self, broker: Any, make_proxy: Any, publish_to: Any, listen: Any
    ) -> None:
        listener = listen(broker.port, f"{BASE}/availability")
        proxy = make_proxy(broker.port)
        publish_to(proxy)
        assert listener.wait(f"{BASE}/availability") == [b"online"]
        proxy.refuse = True
        proxy.cut()
        assert listener.wait(f"{BASE}/availability", 2)[1] == b"offline"
        proxy.refuse = False
        assert listener.wait(f"{BASE}/availability", 3)[2] == b"online"

    @pytest.mark.parametrize("persistence", [False, True])
    def test_after_a_restart_of_the_broker_all_that_is_retained_is_there(
        self, persistence: bool, make_broker: Any, publish_to: Any, listen: Any, wait_until: Any
    ) -> None:
        broker = make_broker(persistence=persistence)
        publisher = publish_to(broker, silhouette=True, homeassistant={})
        publisher.publish(a_result(0))
        assert publisher.flush(5)
        broker.restart()
        late = listen(broker.port, "#")
        wait_until(
            lambda: (
                late.on(f"{BASE}/availability")[-1:] == [b"online"]
                and late.on(f"{BASE}/state")
                and late.on(f"{BASE}/silhouette")
                and late.on(TestHomeAssistant.TOPIC)
            )
        )
        assert json.loads(late.on(f"{BASE}/state")[-1])["seq"] == 0


class TestConfig:
    def test_destination_is_without_credentials(self, tmp_path: Path) -> None:
        table = {
            "host": "broker", "username": "me", "password": "swordfish", "tls": {},
            "spool": {"path": str(tmp_path / "s")},
        }  # fmt: skip
        context = Context(device="desk")
        publisher = MqttPublisher(from_mapping(table, MqttPublisherConfig), context)
        assert publisher.destination == (
            f"mqtts://broker:8883/picosam/desk/#, while offline in {tmp_path / 's'}"
        )
        table |= {"transport": "websockets", "qos": 0, "base_topic": "site/a"}
        publisher = MqttPublisher(from_mapping(table, MqttPublisherConfig), context)
        assert publisher.destination == "wss://broker:443/mqtt site/a/#"
        assert "swordfish" not in repr(publisher.config)

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            ({"qos": 2}, "qos"),
            ({"base_topic": "a/+"}, "base_topic"),
            ({"base_topic": "a/"}, "base_topic"),
            ({"base_topic": "$SYS"}, "base_topic"),
            ({"image": True}, "image"),
            ({"image": "gaze"}, "one of '', 'redacted', 'cutout', 'pixels'"),
            ({"iou_below": 1.5}, "iou_below"),
            ({"spool": {"max_count": 0}}, r"spool\.max_count"),
            ({"window": 0}, "window"),
            ({"rate": 1}, "did you mean 'rate_hz'"),
            ({"homeassistant": {"prefix": "#"}}, r"homeassistant\.prefix"),
            ({"host": ""}, "host"),
        ],
    )
    def test_refuses(self, table: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            from_mapping(table, MqttPublisherConfig)

    def test_what_open_refuses_leaves_nothing_open(
        self, broker: Any, publish_to: Any, tmp_path: Path
    ) -> None:
        for options in (
            {"key": "short"},
            {"username": "me", "password": {"env": "PICOSAM_NOT_SET"}},
            {"tls": {"ca_file": str(tmp_path / "none.pem")}},
        ):
            with pytest.raises(ConfigError):
                publish_to(broker, **options)
        publish_to(broker)  # the spool is free

    def test_closed_it_publishes_nothing(self) -> None:
        with pytest.raises(PublishError, match="closed"):
            MqttPublisher(MqttPublisherConfig(), Context()).publish(a_result())

    def test_plugin_offers_it(self) -> None:
        plugins = Plugins(discover=False)
        plugins.register(plugin, "mqtt")
        assert plugins.part(Publisher, "mqtt") is MqttPublisher
        assert "mqtt" in plugins.parts(RoiSource)
        assert "mqtt" in [command.name for command in plugins.commands()]


def test_numbers_go_on_when_it_is_opened_again(
    broker: Any, publish_to: Any, listen: Any, wait_until: Any
) -> None:
    listener = listen(broker.port, f"{BASE}/mask")
    publisher = publish_to(broker)
    for n in range(4):
        publisher.publish(a_result(n))
        publisher.close()
        publisher.open()

    def seqs() -> list[int]:
        """In the order of their first coming: closed before the answer, one is sent again."""
        got = [json.loads(payload)["seq"] for payload in listener.on(f"{BASE}/mask")]
        return list(dict.fromkeys(got))

    wait_until(lambda: len(seqs()) == 4)
    assert seqs() == [0, 1, 2, 3]
