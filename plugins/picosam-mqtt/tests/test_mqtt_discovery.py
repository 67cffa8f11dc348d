"""Home Assistant's discovery, with a consumer that reads it as Home Assistant does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import numpy as np
import paho.mqtt.client as paho
import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from picosam_mqtt.discovery import Discovery, DiscoveryConfig, device_message
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.settings import Message
from picosam_mqtt.tail import disconnect

from picosam_sdk import ConfigError, Context, Frame, Mask, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.mask import Result

BASE = "picosam/desk"
TEXT = {"type": "string", "minLength": 1}
SHARED = {
    "availability_topic": TEXT,
    "payload_available": TEXT,
    "payload_not_available": TEXT,
    "qos": {"enum": [0, 1, 2]},
}
ENTITY = {"platform": TEXT, "unique_id": TEXT, "name": TEXT, "icon": {"pattern": "^mdi:"}}
READING = {"value_template": TEXT, "expire_after": {"type": "integer", "minimum": 1}}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


# After https://www.home-assistant.io/integrations/mqtt (device discovery payload) and the pages
# of the three platforms; additional keys at the top are refused there, too.
COMPONENT = {
    "oneOf": [
        _object(
            ("platform", "unique_id", "value_template"),
            **{**ENTITY, "platform": {"const": "binary_sensor"}},
            **READING,
            device_class={"enum": ["occupancy", "presence"]},
            payload_on=TEXT,
            payload_off=TEXT,
        ),
        _object(
            ("platform", "unique_id", "value_template"),
            **{**ENTITY, "platform": {"const": "sensor"}},
            **READING,
            unit_of_measurement=TEXT,
            state_class={"enum": ["measurement", "total", "total_increasing"]},
        ),
        _object(
            ("platform", "unique_id", "image_topic"),
            **{**ENTITY, "platform": {"const": "image"}},
            image_topic=TEXT,
            content_type=TEXT,
        ),
        _object(("platform",), platform={"enum": ["binary_sensor", "sensor", "image"]}),  # removed
    ]
}
SCHEMA = _object(
    ("device", "origin", "components"),
    device=_object(
        ("identifiers",),
        identifiers={"type": "array", "items": TEXT, "minItems": 1},
        name=TEXT,
        manufacturer=TEXT,
        model=TEXT,
        sw_version=TEXT,
        suggested_area=TEXT,
    ),
    origin=_object(("name",), name=TEXT, sw_version=TEXT, support_url=TEXT),
    components={
        "type": "object",
        "propertyNames": {"pattern": "^[a-zA-Z0-9_-]+$"},
        "additionalProperties": COMPONENT,
    },
    state_topic=TEXT,
    **SHARED,
)


class HomeAssistant:
    """Discovers devices, subscribes to what they name, and evaluates their templates."""

    def __init__(self, port: int) -> None:
        self.states: dict[str, Any] = {}  # by unique id; None is Home Assistant's "unknown"
        self.available: dict[str, bool] = {}  # by device
        self.devices: dict[str, Any] = {}  # discovery messages by their topic
        self.discoveries = 0
        self.problems: list[str] = []
        self._templates = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *rest: client.subscribe(
            "homeassistant/device/+/config", 1
        )
        self._client.on_subscribe = lambda *rest: self._ready.set()
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def say(self, status: str) -> None:
        self._client.publish("homeassistant/status", status, 1).wait_for_publish(10)

    def close(self) -> None:
        disconnect(self._client)

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            if message.topic.endswith("/config"):
                self._discovered(message.topic, message.payload)
            else:
                for device in self.devices.values():
                    self._state(device, message.topic, message.payload)
        except Exception as error:
            self.problems.append(repr(error))

    def _discovered(self, topic: str, payload: bytes) -> None:
        self.discoveries += 1
        if not payload:
            del self.devices[topic]
            return
        device = json.loads(payload)
        jsonschema.Draft202012Validator(SCHEMA).validate(device)
        components = device["components"]
        for key in [key for key, component in components.items() if len(component) == 1]:
            del components[key]
        ids = [component["unique_id"] for component in components.values()]
        assert len(ids) == len(set(ids))
        self.devices[topic] = device
        topics = {device["availability_topic"], device["state_topic"]}
        topics |= {c["image_topic"] for c in device["components"].values() if "image_topic" in c}
        for one in topics:
            self._client.subscribe(one, device["qos"])

    def _state(self, device: Any, topic: str, payload: bytes) -> None:
        if topic == device["availability_topic"]:
            known = {device["payload_available"]: True, device["payload_not_available"]: False}
            self.available[device["device"]["name"]] = known[payload.decode()]
        for component in device["components"].values():
            key = component["unique_id"]
            if component["platform"] == "image" and topic == component["image_topic"]:
                self.states[key] = payload
            elif component["platform"] != "image" and topic == device["state_topic"]:
                text = self._templates.from_string(component["value_template"]).render(
                    value=payload.decode(), value_json=json.loads(payload)
                )
                self.states[key] = self._value(component, text)

    def _value(self, component: Any, text: str) -> Any:
        if text == "None":
            return None
        if component["platform"] == "sensor":
            return float(text)
        return {component["payload_on"]: True, component["payload_off"]: False}[text]


class Device:
    """A publisher, and results to publish."""

    def __init__(self, port: int) -> None:
        config = from_mapping(
            {
                "host": "127.0.0.1", "port": port, "reconnect_s": 0.05, "qos": 0, "rate_hz": 0,
                "silhouette": True, "homeassistant": {},
            },
            MqttPublisherConfig,
        )  # fmt: skip
        self.publisher = MqttPublisher(config, Context(device="desk", session="s"))
        self.publisher.open()

    def see(self, share: float | None, region: str = "") -> None:
        """Publishes a result whose object covers a share of the view."""
        mask = None
        if share is not None:
            bits = np.zeros((100, 200), bool)
            bits[:, : round(share * 200)] = True
            mask = Mask.from_bits(bits, Roi(0, 0, 1, 1), score=0.756)
        self.publisher.publish(Result(Frame(None, time.monotonic_ns()), mask, None, region=region))
        assert self.publisher.flush(10)


@pytest.fixture
def start_ha(broker: Any) -> Iterator[Callable[[], HomeAssistant]]:
    started: list[HomeAssistant] = []

    def start() -> HomeAssistant:
        started.append(HomeAssistant(broker.port))
        return started[-1]

    yield start
    for ha in started:
        ha.close()
        assert not ha.problems


@pytest.fixture
def device(broker: Any) -> Iterator[Device]:
    device = Device(broker.port)
    yield device
    device.publisher.close()


def test_home_assistant_sees_the_object_come_and_go(
    device: Device, start_ha: Any, wait_until: Any
) -> None:
    ha = start_ha()
    wait_until(lambda: ha.available.get("desk"))
    for share in (0.25, None, 0.5, 0.0):
        device.see(share)
        wait_until(lambda share=share: ha.states.get("picosam_desk_view_present") is bool(share))
        expected = (75.6, 100 * share) if share else (None, None)
        wait_until(lambda expected=expected: _numbers(ha, "view") == expected)
    wait_until(lambda: (ha.states.get("picosam_desk_silhouette") or b"").startswith(b"\x89PNG"))


def _numbers(ha: HomeAssistant, region: str) -> Any:
    ids = (f"picosam_desk_{region}_score", f"picosam_desk_{region}_area")
    return tuple(ha.states.get(key) for key in ids)


def test_all_of_it_is_retained_for_a_home_assistant_that_comes_later(
    device: Device, start_ha: Any, wait_until: Any
) -> None:
    device.see(0.25)
    late = start_ha()
    wait_until(lambda: late.states.get("picosam_desk_view_present") is True)
    wait_until(lambda: late.available == {"desk": True})
    assert late.discoveries == 1


def test_a_new_region_becomes_entities(device: Device, start_ha: Any, wait_until: Any) -> None:
    ha = start_ha()
    wait_until(lambda: ha.devices)
    device.see(0.25, "left")
    device.see(0.5, "Regal 2 'oben' \u00e4")
    device.see(None, "left")
    names = {"left object": False, "Regal 2 'oben' \u00e4 object": True}

    def seen() -> Any:
        (message,) = ha.devices.values()
        present = [c for k, c in message["components"].items() if k.endswith("_present")]
        return {c["name"]: ha.states.get(c["unique_id"]) for c in present} == names

    wait_until(seen)


def test_the_discovery_is_sent_again_when_home_assistant_is_born(
    device: Device, start_ha: Any, wait_until: Any
) -> None:
    ha = start_ha()
    wait_until(lambda: ha.discoveries)
    before = ha.discoveries
    ha.say("offline")
    ha.say("online")
    wait_until(lambda: ha.discoveries == before + 1)


def test_a_device_that_dies_is_unavailable_and_a_removed_one_gone(
    broker: Any, device: Device, start_ha: Any, wait_until: Any, listen: Any
) -> None:
    ha = start_ha()
    wait_until(lambda: ha.available.get("desk"))
    thief = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="picosam-desk")
    thief.connect("127.0.0.1", broker.port)
    thief.loop_start()
    wait_until(lambda: ha.available.get("desk") is False)
    disconnect(thief)
    wait_until(lambda: ha.available.get("desk"))  # it is back
    (removal,) = Discovery("desk", BASE, DiscoveryConfig()).removal()
    listen(broker.port, "nothing").publish(*removal, retain=True)
    wait_until(lambda: not ha.devices)
    assert removal[1] == b""  # which takes the retained message off the broker, too


def test_an_old_state_does_not_break_the_templates() -> None:
    """Retained by a run that knew other regions."""
    _, message = device_message("desk", BASE, {"left": "left"}, DiscoveryConfig())
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for component in message["components"].values():
        template = environment.from_string(component["value_template"])
        old: dict[str, Any] = {"present": True, "regions": {"right": {"present": True}}}
        assert template.render(value_json=old) in ("OFF", "None")


def test_only_a_fresh_birth_counts() -> None:
    discovery = Discovery("desk", BASE, DiscoveryConfig(prefix="ha/discovery"))
    assert discovery.birth_topic == "ha/discovery/status"
    assert discovery.is_birth(Message("ha/discovery/status", b"online"))
    assert not discovery.is_birth(Message("ha/discovery/status", b"offline"))
    assert not discovery.is_birth(Message("ha/discovery/status", b"online", retain=True))
    assert not discovery.is_birth(Message("homeassistant/status", b"online"))


def test_what_the_user_says_of_the_device() -> None:
    config = DiscoveryConfig("ha", "Desk lamp", "Hall", 30)
    topic, message = device_message("desk", BASE, {}, config)
    assert topic == "ha/device/picosam_desk/config"
    jsonschema.Draft202012Validator(SCHEMA).validate(message)
    assert (message["device"]["name"], message["device"]["suggested_area"]) == ("Desk lamp", "Hall")
    assert {c["expire_after"] for c in message["components"].values()} == {30}
    assert all(c["platform"] != "image" for c in message["components"].values())


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"prefix": ""}, "prefix"),
        ({"prefix": "a/+"}, "prefix"),
        ({"prefix": "a/"}, "prefix"),
        ({"expire_after_s": -1}, "expire_after_s"),
    ],
)
def test_a_wrong_configuration_is_refused(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        from_mapping(table, DiscoveryConfig)
