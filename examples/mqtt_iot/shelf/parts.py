"""The publisher "shelf": what happens in each region, as events and as a state, over MQTT.

Below ``picosam/<device>/shelf/``: ``event`` (QoS 1), ``state`` and ``availability`` (retained).
It needs no grant: it sees masks, never a picture.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import messages
import presence
from picosam_mqtt.connection import Connection
from picosam_mqtt.discovery import OFFLINE, ONLINE, DiscoveryConfig
from picosam_mqtt.outgoing import Slot
from picosam_mqtt.settings import ConnectionConfig, Message, Will

from picosam_sdk import Context, Publisher, Result, hookimpl
from picosam_sdk.errors import PublishError


@dataclass(frozen=True)
class ShelfConfig(ConnectionConfig):
    """How to reach the broker, as for ``kind = "mqtt"``, and

    Args:
        rules: see :class:`presence.Rules`.
        reference: what is known of the empty places is read from this file, and written to it
            when it has been learnt. None: the shelf must be empty at each start.
        trace: a file for a line of JSON for each look.
        heartbeat_s: the state is sent at least so often, while there are results.
        homeassistant: lets Home Assistant find the places; ``{}`` will do.
    """

    rules: presence.Rules = field(default_factory=presence.Rules)
    reference: Path | None = None
    trace: Path | None = None
    heartbeat_s: float = 10.0
    homeassistant: DiscoveryConfig | None = None


class ShelfPublisher(Publisher):
    """Tells what enters, leaves and changes; events wait in memory while there is no broker."""

    name: ClassVar[str] = "shelf"
    Config: ClassVar[type] = ShelfConfig

    def __init__(self, config: ShelfConfig, context: Context) -> None:
        super().__init__(config, context)
        self.base_topic = f"picosam/{context.device}/shelf"
        self._book = messages.Book(context)
        self._places: dict[str, presence.Place] = {}
        self._known: dict[str, presence.Empty] = {}
        self._waiting: deque[bytes] = deque(maxlen=1000)
        self._connection: Connection | None = None
        self._state: Slot | None = None
        self._trace: Any = None
        self._due_s = 0.0

    @property
    def destination(self) -> str:
        return f"{self.config.url}/{self.base_topic}/#"

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"events": self._book.events, "waiting": len(self._waiting)}

    def open(self) -> None:
        config: ShelfConfig = self.config
        if config.reference is not None and config.reference.exists():
            self._known = presence.load(config.reference)
        if config.trace is not None:
            self._trace = config.trace.open("w", encoding="utf-8")
        own = replace(config, client_id=config.client_id or f"picosam-{self.context.device}-shelf")
        will = Will(f"{self.base_topic}/availability", OFFLINE.encode())
        self._connection = Connection(own, will, self._received, self._connected)
        self._state = Slot(self._connection, f"{self.base_topic}/state", 1, retain=True, keep=True)
        if config.homeassistant is not None:
            self._connection.subscribe(f"{config.homeassistant.prefix}/status")
        self._connection.start()
        self._connection.wait_connected(1.0)

    def publish(self, result: Result) -> int | None:
        if result.mask is not None and not result.settling:  # else it may be the place before
            self._look(result, result.mask)
        return self._deliver() or None

    def flush(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self._waiting or not (self._state is None or self._state.idle):
            self._deliver()
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._submit(f"{self.base_topic}/availability", OFFLINE)  # so that no will is sent
            self._connection.stop(0.2)
            self._connection = None
        if self._trace is not None:
            self._trace.close()
            self._trace = None

    def _look(self, result: Result, mask: Any) -> None:
        region, is_new = result.region, result.region not in self._places
        if is_new:
            self._places[region] = presence.Place(self.config.rules, self._known.get(region))
        place = self._places[region]
        was_learning = place.empty is None
        event = place.look(mask)
        learnt = was_learning and place.empty is not None
        values = self._book.update(place, result)
        if self._trace is not None:
            self._trace.write(json.dumps({**values, "score": round(mask.score, 3)}) + "\n")
        if event:
            self._waiting.append(self._book.event(event, values))
        if learnt and self.config.reference is not None:
            presence.save(self.config.reference, self._places)
        if is_new:
            self._announce()
        if event or learnt or is_new or time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + self.config.heartbeat_s
            if self._state is not None:
                self._state.offer(self._book.state())

    def _deliver(self) -> int:
        """Sends the events that wait, in order; what the broker did not take waits on."""
        n_bytes = 0
        while self._waiting and self._connection is not None and self._connection.connected:
            try:
                self._connection.publish(f"{self.base_topic}/event", self._waiting[0], qos=1)
            except PublishError:
                break
            n_bytes += len(self._waiting.popleft())
        return n_bytes

    def _connected(self) -> None:
        self._submit(f"{self.base_topic}/availability", ONLINE)
        self._announce()
        if self._state is not None:
            self._state.resend()

    def _received(self, message: Message) -> None:
        if message.payload == ONLINE.encode() and not message.retain:  # Home Assistant has started
            self._announce()

    def _announce(self) -> None:
        regions, config = self._book.regions, self.config.homeassistant
        if regions and config is not None:
            device = self.context.device
            self._submit(*messages.discovery(device, self.base_topic, regions, config))

    def _submit(self, topic: str, payload: str) -> None:
        connection = self._connection  # its thread asks, too, while it is being closed
        if connection is not None:
            connection.submit(topic, payload, qos=1, retain=True)


@hookimpl
def picosam_publishers() -> list[type[Publisher]]:
    return [ShelfPublisher]
