"""What the shelf says over MQTT: events, the state, and what makes Home Assistant find it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from picosam_mqtt.discovery import DiscoveryConfig, device_message
from picosam_mqtt.state import region_id
from presence import Place

from picosam_sdk import Context, Result

EVENTS = ("enter", "leave", "change")


class Book:
    """The newest of each place, and the messages about it; ``docs/iot.md`` describes them."""

    def __init__(self, context: Context) -> None:
        self._head = {"v": 1, "device": context.device, "session": context.session}
        self._entries: dict[str, dict[str, Any]] = {}
        self.events = 0

    @property
    def regions(self) -> dict[str, str]:
        """The names of the places by their ids."""
        return {key: entry["name"] for key, entry in self._entries.copy().items()}

    def update(self, place: Place, result: Result) -> dict[str, Any]:
        """The new entry of a place after a look at it, and the event's other values."""
        assert result.mask is not None
        width_px, height_px = result.mask.size_px
        age_ns = time.monotonic_ns() - result.frame.timestamp_ns
        key = region_id(result.region)
        before = self._entries.get(key, {}).get("area")
        self._entries[key] = {
            "name": result.region,
            "learning": place.empty is None,
            "present": place.present,
            "area": round(place.area_px / (width_px * height_px), 5) if place.present else None,
            "evidence": round(place.evidence, 3),
            "timestamp_ns": time.time_ns() - age_ns,
        }
        return {**self._entries[key], "frame": result.frame.index, "area_before": before}

    def state(self) -> bytes:
        """The retained state: all places."""
        present = any(entry["present"] for entry in self._entries.values())
        return self._encode(present=present, regions=self._entries)

    def event(self, kind: str, values: Mapping[str, Any]) -> bytes:
        """An event; ``values`` are those of :meth:`update`."""
        keys = ("frame", "timestamp_ns", "area", "area_before", "evidence")
        about = {key: values[key] for key in keys}
        seq, self.events = self.events, self.events + 1
        return self._encode(seq=seq, event_type=kind, region=values["name"], **about)

    def _encode(self, **values: Any) -> bytes:
        return json.dumps({**self._head, **values}, separators=(",", ":")).encode()


def discovery(
    device: str, base_topic: str, regions: Mapping[str, str], config: DiscoveryConfig
) -> tuple[str, str]:
    """Topic and payload of Home Assistant's device discovery.

    Each place has a binary sensor and its area, as of a device that publishes masks; not the
    network's score, which says nothing about an empty place. One event entity carries what
    happens, with the place as an attribute.
    """
    name = f"{device}_shelf"
    config = replace(config, name=config.name or f"{device} shelf")
    topic, message = device_message(name, base_topic, regions, config)
    parts = {key: one for key, one in message["components"].items() if not key.endswith("_score")}
    parts["event"] = {
        "platform": "event",
        "unique_id": f"picosam_{name}_event",
        "name": "Event",
        "state_topic": f"{base_topic}/event",
        "event_types": list(EVENTS),
    }
    return topic, json.dumps({**message, "components": parts}, separators=(",", ":"))
