"""The publisher "mqtt": masks, state, statistics and silhouettes to a broker.

::

    [[publish]]
    kind = "mqtt"
    host = "broker.local"
    tls = {}
    username = "desk"
    password = { env = "MQTT_PASSWORD" }

``docs/mqtt.md`` describes the topics.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from picosam_mqtt.change import ChangeDetector
from picosam_mqtt.discovery import OFFLINE, ONLINE, Discovery, DiscoveryConfig
from picosam_mqtt.settings import ConnectionConfig, Message, SpoolConfig, Will
from picosam_mqtt.signing import MIN_KEY_BYTES
from picosam_mqtt.state import StateBook
from picosam_sdk.config import Secret, check
from picosam_sdk.errors import ConfigError, PublishError
from picosam_sdk.interfaces import Context, Publisher
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result

if TYPE_CHECKING:
    from picosam_mqtt.connection import Connection
    from picosam_mqtt.outgoing import Courier, Slot, Ticker
    from picosam_mqtt.spool import Spool

__all__ = ["MqttPublisher", "MqttPublisherConfig"]

_FIRST_CONNECT_S = 1.0
_GOODBYE_S = 0.15


@dataclass(frozen=True)
class MqttPublisherConfig(ConnectionConfig):
    """``[[publish]]`` with ``kind = "mqtt"``: how to reach the broker, and

    Args:
        base_topic: "picosam/<device>" if "".
        qos: of the topic ``mask``. 1: each message is stored on disk until the broker has it,
            and delivered in order. 0: the newest counts, nothing is stored, and what comes
            while there is no connection is dropped and counted.
        spool: bounds and place of what is stored, for QoS 1.
        window: messages of QoS 1 that may be under way at once.
        changes_only: whether only changes are sent; see ``iou_below``.
        iou_below: a mask is sent if its IoU with the one sent last is below this, 0 to 1.
        heartbeat_s: one is sent at least so often, changed or not; 0 for no such rule.
        rate_hz: messages a second at most; 0 for no limit.
        stats_s: seconds between two messages on ``stats``; 0 for none.
        silhouette: whether the mask is sent as a picture, too: PNG, no pixel of the camera.
        silhouette_px: its longer side at most.
        image: "redacted", "cutout" or "pixels": the picture is sent on ``image`` as far as the
            egress policy granted just that; "" for no picture.
        image_px: its longer side at most.
        key: signs the messages on ``mask`` (HMAC-SHA256); at least 16 bytes.
        homeassistant: lets Home Assistant find the device; ``homeassistant = {}`` will do.
    """

    base_topic: str = ""
    qos: int = 1
    spool: SpoolConfig = field(default_factory=SpoolConfig)
    window: int = 16
    changes_only: bool = True
    iou_below: float = 0.9
    heartbeat_s: float = 10.0
    rate_hz: float = 10.0
    stats_s: float = 30.0
    silhouette: bool = False
    silhouette_px: int = 160
    image: Literal["", "redacted", "cutout", "pixels"] = ""
    image_px: int = 640
    key: Secret | None = None
    homeassistant: DiscoveryConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        topic = self.base_topic
        plain = not any(character in topic for character in "+#\0") and len(topic.encode()) < 1000
        check(plain, "base_topic", "a topic without wildcards", topic)
        inner = not topic.startswith(("/", "$")) and not topic.endswith("/")
        check(inner, "base_topic", "no '/' at its ends and no '$' in front", topic)
        check(self.qos in (0, 1), "qos", "0 or 1", self.qos)
        check(1 <= self.window <= 1000, "window", "1 to 1000", self.window)
        check(0 <= self.iou_below <= 1, "iou_below", "0 to 1", self.iou_below)
        check(0 <= self.heartbeat_s <= 1e6, "heartbeat_s", "seconds, or 0", self.heartbeat_s)
        check(0 <= self.rate_hz <= 1000, "rate_hz", "0 to 1000", self.rate_hz)
        check(0 <= self.stats_s <= 1e6, "stats_s", "seconds, or 0", self.stats_s)
        check(8 <= self.silhouette_px <= 4096, "silhouette_px", "8 to 4096", self.silhouette_px)
        check(16 <= self.image_px <= 8192, "image_px", "16 to 8192", self.image_px)


class MqttPublisher(Publisher):
    """Keeps a connection to a broker, and publishes on topics below ``base_topic``.

    What happens to the connection never shows in ``publish``: it is in ``stats`` and in the log.
    """

    name: ClassVar[str] = "mqtt"
    Config: ClassVar[type] = MqttPublisherConfig

    def __init__(self, config: MqttPublisherConfig, context: Context) -> None:
        super().__init__(config, context)
        self.base_topic = config.base_topic or f"picosam/{context.device}"
        self._session = context.session or secrets.token_hex(8)
        self._began_s = time.monotonic()
        self._seq = 0
        self._next_ns = 0
        self._size_px = (4, 3)
        self._counts = dict.fromkeys(("unchanged", "too_soon", "coarser", "image_withheld"), 0)
        self._change = ChangeDetector(config.iou_below, config.heartbeat_s)
        self._state = StateBook()
        self._state_lock = threading.Lock()
        self._discovery: Discovery | None = None
        if config.homeassistant is not None:
            self._discovery = Discovery(
                context.device, self.base_topic, config.homeassistant, silhouette=config.silhouette
            )
        self._key: bytes | None = None
        self._connection: Connection | None = None
        self._spool: Spool | None = None
        self._courier: Courier | None = None
        self._ticker: Ticker | None = None
        self._slots: dict[str, Slot] = {}

    @property
    def destination(self) -> str:
        place = "" if self.config.qos == 0 else f", while offline in {self._spool_path()}"
        separator = " " if self.config.transport == "websockets" else "/"
        return f"{self.config.url}{separator}{self.base_topic}/#{place}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.config.image} - {""})

    def open(self) -> None:
        from picosam_mqtt.connection import Connection
        from picosam_mqtt.outgoing import Courier, Slot, Ticker
        from picosam_mqtt.spool import Spool

        self.close()
        config: MqttPublisherConfig = self.config
        self._key = self._reveal_key()
        wanted = config.client_id or f"picosam-{self.context.device}"
        connection = Connection(
            replace(config, client_id=wanted),
            will=Will(self._topic("availability"), OFFLINE.encode()),
            on_message=self._received,
            on_connect=self._connected,
        )

        def slot(name: str, qos: int, kept: bool) -> Slot:
            return Slot(connection, self._topic(name), qos, retain=kept, keep=kept)

        self._slots = {
            "state": slot("state", 1, kept=True),
            "stats": slot("stats", 0, kept=False),
            "silhouette": slot("silhouette", 1, kept=True),
            "image": slot("image", 0, kept=False),
        }
        if config.qos == 1:
            self._spool = Spool(self._spool_path(), config.spool)
            self._courier = Courier(self._spool, connection, config.window)
            self._courier.start()
        else:
            self._slots["mask"] = slot("mask", 0, kept=False)
        self._connection = connection
        try:
            connection.start()
        except BaseException:
            self.close()
            raise
        if self._discovery is not None:
            connection.subscribe(self._discovery.birth_topic)
        if config.stats_s:
            self._ticker = Ticker(config.stats_s, self._publish_stats)
            self._ticker.start()
        if config.qos == 0:
            connection.wait_connected(_FIRST_CONNECT_S)  # the first results would be dropped

    def publish(self, result: Result) -> int | None:
        """Sends what has changed; with QoS 1 it is on the disk when this returns."""
        if self._connection is None:
            raise PublishError("expected an open publisher, got a closed one", hint="Call open().")
        now_ns = time.monotonic_ns()
        if not self._due(result, now_ns):
            return None
        message = encode_result(
            result, device=self.context.device, session=self._session, seq=self._seq
        )
        n_bytes = self._send_mask(message, result)
        self._change.sent(result, now_ns)
        if self.config.rate_hz:
            self._next_ns = now_ns + int(1e9 / self.config.rate_hz)
        n_bytes += self._send_state(message)
        n_bytes += self._send_pictures(result)
        return n_bytes or None

    def flush(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        if self._courier is not None and not self._courier.flush(timeout_s):
            return False
        while not all(slot.idle for slot in self._slots.values()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.stop(_GOODBYE_S)
            self._ticker = None
        if self._courier is not None:
            self._courier.stop(_GOODBYE_S)
            self._courier = None
        if self._connection is not None:
            self._connection.submit(
                self._topic("availability"), OFFLINE, qos=1, retain=True
            )  # a goodbye keeps the broker from sending the will
            self._connection.stop(_GOODBYE_S)
            self._connection = None
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    @property
    def stats(self) -> Mapping[str, Any]:
        """Of the connection, the spool, and each topic; ``seq`` is the next message's."""
        numbers: dict[str, Any] = {"seq": self._seq, **self._counts}
        # Read in other threads, too, while it is being closed.
        connection, courier, spool = self._connection, self._courier, self._spool
        if connection is not None:
            numbers |= connection.stats
        if courier is not None and spool is not None:
            numbers |= {"spool": dict(spool.stats), "delivery": dict(courier.stats)}
        numbers["topics"] = {name: dict(slot.stats) for name, slot in dict(self._slots).items()}
        return numbers

    # Sending ----------------------------------------------------------------------------------

    def _due(self, result: Result, now_ns: int) -> bool:
        if self.config.changes_only and not self._change.wants(result, now_ns):
            self._counts["unchanged"] += 1
            return False
        if now_ns < self._next_ns:
            self._counts["too_soon"] += 1
            return False
        return True

    def _send_mask(self, message: dict[str, Any], result: Result) -> int:
        from picosam_mqtt.contents import mask_payload

        payload, coarser = mask_payload(message, result.mask, self._key)
        self._counts["coarser"] += coarser
        if self._spool is not None and self._courier is not None:
            self._spool.put(self._topic("mask"), payload)
            self._courier.notify()
            sent = True
        else:
            sent = self._slots["mask"].offer(payload)
        self._seq += 1  # only now: what could not be stored is tried again under its number
        return len(payload) if sent else 0

    def _send_state(self, message: dict[str, Any]) -> int:
        with self._state_lock:
            is_new = self._state.update(message)
            payload = json.dumps(self._state.message(), separators=(",", ":")).encode()
        if is_new:
            self._announce()
        return len(payload) if self._slots["state"].offer(payload) else 0

    def _send_pictures(self, result: Result) -> int:
        from picosam_mqtt.contents import picture, silhouette

        config: MqttPublisherConfig = self.config
        n_bytes = 0
        if config.silhouette:
            if result.mask is not None:
                self._size_px = result.mask.size_px
            payload = silhouette(result.mask, config.silhouette_px, self._size_px)
            n_bytes += len(payload) if self._slots["silhouette"].offer(payload) else 0
        image = result.frame.image
        if config.image and image is not None:
            if result.image_grant != config.image:
                self._counts["image_withheld"] += 1
                return n_bytes
            payload = picture(image, config.image_px)
            n_bytes += len(payload) if self._slots["image"].offer(payload) else 0
        return n_bytes

    def _publish_stats(self) -> None:
        message = {
            "v": 1,
            "device": self.context.device,
            "session": self._session,
            "timestamp_ns": time.time_ns(),
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            **{key: value for key, value in self.stats.items() if key != "problem_text"},
        }
        self._slots["stats"].offer(json.dumps(message, separators=(",", ":")).encode())

    # In the connection's thread ---------------------------------------------------------------

    def _connected(self) -> None:
        connection, courier = self._connection, self._courier
        if connection is not None:
            connection.submit(self._topic("availability"), ONLINE, qos=1, retain=True)
            self._announce()
            for slot in self._slots.values():
                slot.resend()
        if courier is not None:
            courier.notify()

    def _received(self, message: Message) -> None:
        if self._discovery is not None and self._discovery.is_birth(message):
            self._announce()

    def _announce(self) -> None:
        """Tells Home Assistant what there is."""
        connection = self._connection
        if self._discovery is None or connection is None:
            return
        with self._state_lock:
            messages = self._discovery.messages(self._state.regions)
        for topic, payload in messages:
            connection.submit(topic, payload, qos=1, retain=True)

    # Names ------------------------------------------------------------------------------------

    def _topic(self, name: str) -> str:
        return f"{self.base_topic}/{name}"

    def _spool_path(self) -> Any:
        config: MqttPublisherConfig = self.config
        name = f"{self.context.device}-{config.host}-{config.usual_port}".replace("/", "_")
        return config.spool.usual_path(name)

    def _reveal_key(self) -> bytes | None:
        if self.config.key is None:
            return None
        key: bytes = self.config.key.reveal("key").encode()
        if len(key) < MIN_KEY_BYTES:
            raise ConfigError(
                f"key: expected at least {MIN_KEY_BYTES} bytes, got {len(key)}",
                hint="Make one with: openssl rand -hex 32",
            )
        return key
