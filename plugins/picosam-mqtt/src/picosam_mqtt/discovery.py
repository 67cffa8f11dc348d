"""Home Assistant finds the device by one retained message.

The format is Home Assistant's MQTT device discovery
(https://www.home-assistant.io/integrations/mqtt, "Device discovery payload", since 2024.12):
``<prefix>/device/<id>/config`` with ``device``, ``origin``, ``components``, and what all of them
share. Keys are written out, not abbreviated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from picosam_mqtt.settings import Message
from picosam_mqtt.state import WHOLE
from picosam_sdk.config import check

__all__ = ["Discovery", "DiscoveryConfig", "device_message"]

OFFLINE, ONLINE = "offline", "online"
"""What is on the topic ``availability``: the will, and the birth; both retained."""


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """``homeassistant = { ... }``.

    Args:
        prefix: Home Assistant's discovery prefix.
        name: what it calls the device; "" for the device's own name.
        area: room that it suggests, such as "Hall".
        expire_after_s: seconds without news after which Home Assistant shows the object as
            unavailable; 0 for never. Choose it longer than the heartbeat.
    """

    prefix: str = "homeassistant"
    name: str = ""
    area: str = ""
    expire_after_s: int = 0

    def __post_init__(self) -> None:
        ok = re.fullmatch(r"[^/+#\0]+(/[^/+#\0]+)*", self.prefix) is not None
        check(ok, "prefix", "a topic without wildcards, such as 'homeassistant'", self.prefix)
        check(self.expire_after_s >= 0, "expire_after_s", "seconds, or 0", self.expire_after_s)


class Discovery:
    """What a publisher sends and watches for Home Assistant.

    On each connecting it subscribes to ``birth_topic`` and publishes ``messages()``; again when
    ``is_birth`` says that Home Assistant has started, and when a region is new.

    Args:
        device: name of this device; it becomes part of the ids, so that another name is another
            device to Home Assistant.
        base_topic: such as "picosam/desk", without a slash at the end.
        config: see there.
        silhouette: whether pictures are published on ``<base_topic>/silhouette``.
    """

    def __init__(
        self, device: str, base_topic: str, config: DiscoveryConfig, *, silhouette: bool = False
    ) -> None:
        self._device = device
        self._base_topic = base_topic
        self._config = config
        self._silhouette = silhouette
        self._announced: dict[str, str] = {}  # components and their platforms

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self._config.prefix}/status"

    @property
    def config_topic(self) -> str:
        return f"{self._config.prefix}/device/picosam_{self._device}/config"

    def is_birth(self, message: Message) -> bool:
        """Whether Home Assistant has just started, rather than long ago."""
        born = message.payload == ONLINE.encode()
        return message.topic == self.birth_topic and born and not message.retain

    def messages(self, regions: Mapping[str, str]) -> list[tuple[str, bytes]]:
        """Topics and payloads to publish with QoS 1, retained.

        Args:
            regions: :attr:`picosam_mqtt.state.StateBook.regions`; the view if there is none yet.
                What was announced before and is not there now is removed, such as that view.
        """
        topic, message = device_message(
            self._device, self._base_topic, regions, self._config, silhouette=self._silhouette
        )
        components = message["components"]
        for key, platform in self._announced.items():
            components.setdefault(key, {"platform": platform})  # with nothing else: remove it
        self._announced = {key: one["platform"] for key, one in components.items()}
        return [(topic, json.dumps(message, separators=(",", ":")).encode())]

    def removal(self) -> list[tuple[str, bytes]]:
        """What removes the device from Home Assistant, in the same way."""
        return [(self.config_topic, b"")]


def device_message(
    device: str,
    base_topic: str,
    regions: Mapping[str, str],
    config: DiscoveryConfig,
    *,
    silhouette: bool = False,
) -> tuple[str, dict[str, Any]]:
    """The discovery message of a device, and its topic. For the arguments see Discovery.

    Each region becomes a binary sensor of device class "occupancy" (is there an object?), and
    two sensors, the network's score and the object's area, both in percent.
    """
    components: dict[str, Any] = {}
    for key, name in (regions or {WHOLE: ""}).items():
        components |= _components(f"picosam_{device}_{key}", key, name, config.expire_after_s)
    if silhouette:
        components["silhouette"] = {
            "platform": "image",
            "unique_id": f"picosam_{device}_silhouette",
            "name": "Silhouette",
            "image_topic": f"{base_topic}/silhouette",
            "content_type": "image/png",
        }
    about = {
        "identifiers": [f"picosam_{device}"],
        "name": config.name or device,
        "manufacturer": "picosam_sdk",
        "model": "Promptable segmentation",
        "sw_version": _version("picosam-sdk"),
    }
    if config.area:
        about["suggested_area"] = config.area
    message = {
        "device": about,
        "origin": {"name": "picosam-mqtt", "sw_version": _version("picosam-mqtt")},
        "components": components,
        "availability_topic": f"{base_topic}/availability",
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "state_topic": f"{base_topic}/state",
        "qos": 1,
    }
    return f"{config.prefix}/device/picosam_{device}/config", message


def _components(unique: str, key: str, name: str, expire_after_s: int) -> dict[str, Any]:
    """What Home Assistant shows of one region.

    The retained state may be of a time before this region was known: its object is then absent,
    its numbers are None, which Home Assistant shows as unknown.
    """
    entry = f"value_json.regions.get('{key}', {{}})"
    expires = {"expire_after": expire_after_s} if expire_after_s else {}

    def percent(value: str, digits: int) -> str:
        given = f"{entry}.get('{value}')"
        return f"{{{{ ({given} * 100) | round({digits}) if {given} is not none else none }}}}"

    def label(what: str) -> str:
        return f"{name} {what}" if name else what.capitalize()

    return {
        f"{key}_present": {
            "platform": "binary_sensor",
            "unique_id": f"{unique}_present",
            "name": label("object"),
            "device_class": "occupancy",
            "value_template": f"{{{{ 'ON' if {entry}.get('present') else 'OFF' }}}}",
            "payload_on": "ON",
            "payload_off": "OFF",
            **expires,
        },
        f"{key}_score": {
            "platform": "sensor",
            "unique_id": f"{unique}_score",
            "name": label("score"),
            "value_template": percent("score", 1),
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "icon": "mdi:gauge",
            **expires,
        },
        f"{key}_area": {
            "platform": "sensor",
            "unique_id": f"{unique}_area",
            "name": label("area"),
            "value_template": percent("area", 2),
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "icon": "mdi:vector-polygon",
            **expires,
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
