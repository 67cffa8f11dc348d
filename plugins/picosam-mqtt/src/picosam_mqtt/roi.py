"""The ROI source "mqtt": somebody else says where to look.

Nothing is taken from the network unless this source stands in the configuration::

    [[roi]]
    kind = "mqtt"
    host = "broker.local"
    accept = ["roi", "gaze"]
    key = { env = "PICOSAM_COMMAND_KEY" }

Orders come on ``<base>/roi/set``; the retained topic ``<base>/roi/state`` answers each and says
what is in force. :mod:`picosam_mqtt.orders` says what may be in a message.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from picosam_mqtt.orders import Order, OrderError, read_gaze, read_order
from picosam_mqtt.settings import ConnectionConfig, Message, Will
from picosam_mqtt.signing import SignatureError, Verifier
from picosam_sdk.config import Secret, check
from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.types import Gaze, Prompt

__all__ = ["MqttRoi", "MqttRoiConfig", "RateLimit"]

_ANSWERS_HZ = 5.0


@dataclass(frozen=True)
class MqttRoiConfig(ConnectionConfig):
    """``[[roi]]`` with ``kind = "mqtt"``: how to reach the broker, and

    Args:
        base_topic: of the commands; "picosam/<device>" if "".
        accept: "roi" for orders, "gaze" for gaze samples, which prompt with a point each. For
            filters, calibration and a ROI that follows the object use the gaze plugin instead.
        max_ttl_s: how long an order holds at most, and if it does not say; 0: until it is
            taken back.
        gaze_max_age_s: a gaze that came longer ago prompts no more.
        min_confidence: of a gaze, 0 to 1.
        max_rate_hz, max_gaze_rate_hz: orders and samples a second; what is beyond is dropped.
        key: for signed messages (at least 16 bytes); then all others are refused.
        window_s: how far the time of a signed message may be from this machine's clock.
    """

    base_topic: str = ""
    accept: tuple[Literal["roi", "gaze"], ...] = ("roi",)
    max_ttl_s: float = 300.0
    gaze_max_age_s: float = 0.3
    min_confidence: float = 0.6
    max_rate_hz: float = 10.0
    max_gaze_rate_hz: float = 300.0
    key: Secret | None = None
    window_s: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.accept), "accept", "'roi', 'gaze' or both", self.accept)
        check(0 <= self.max_ttl_s <= 86_400, "max_ttl_s", "0 to 86400", self.max_ttl_s)
        check(0 < self.gaze_max_age_s <= 10, "gaze_max_age_s", "above 0, at most 10",
              self.gaze_max_age_s)  # fmt: skip
        check(0 <= self.min_confidence <= 1, "min_confidence", "0 to 1", self.min_confidence)
        check(0 < self.max_rate_hz <= 1000, "max_rate_hz", "above 0, at most 1000",
              self.max_rate_hz)  # fmt: skip
        check(0 < self.max_gaze_rate_hz <= 2000, "max_gaze_rate_hz", "above 0, at most 2000",
              self.max_gaze_rate_hz)  # fmt: skip
        check(0 < self.window_s <= 3600, "window_s", "above 0, at most 3600", self.window_s)
        wild = any(character in self.base_topic for character in "+#\0")
        check(not wild, "base_topic", "a topic without wildcards", self.base_topic)
        check(not self.base_topic.endswith("/"), "base_topic", "no slash at the end",
              self.base_topic)  # fmt: skip


class RateLimit:
    """A bucket of tokens: so many events a second in the long run, a second's worth at once."""

    def __init__(self, rate_hz: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._rate_hz = rate_hz
        self._clock_ns = clock_ns
        self._size = max(1.0, rate_hz)
        self._tokens = self._size
        self._last_ns = clock_ns()

    def allow(self) -> bool:
        """Whether one more may pass now."""
        now_ns = self._clock_ns()
        self._tokens += (now_ns - self._last_ns) / 1e9 * self._rate_hz
        self._tokens, self._last_ns = min(self._tokens, self._size), now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Standing:
    """The order in force, until ``ends_ns`` on the monotonic clock if that is not None."""

    prompt: Prompt
    ends_ns: int | None


class MqttRoi(RoiSource):
    """Prompts with what was ordered; while no order holds, with the newest fresh gaze.

    An order that has expired or was taken back, a gaze that is stale, lost, unsure or outside
    the view give no prompt. What the broker had retained is refused: nobody knows its age.
    """

    name: ClassVar[str] = "mqtt"
    Config: ClassVar[type] = MqttRoiConfig

    def __init__(self, config: MqttRoiConfig, context: Context) -> None:
        super().__init__(config, context)
        self.base_topic = config.base_topic or f"picosam/{context.device}"
        self._lock = threading.Lock()
        self._standing: _Standing | None = None
        self._gaze: Gaze | None = None
        self._connection: Any = None
        self._verifier: Verifier | None = None
        self._counts: Counter[str] = Counter()
        self._set_topic = f"{self.base_topic}/roi/set"
        self._gaze_topic = f"{self.base_topic}/gaze"
        self._reset_limits()

    def open(self) -> None:
        from picosam_mqtt.connection import Connection  # imports paho

        self.close()
        self._verifier = self._make_verifier()
        self._reset_limits()
        self._counts = Counter()
        connection = Connection(
            self.config,
            will=Will(*self._state(None)),
            on_message=self._received,
            on_connect=lambda: self._answer(None),
        )
        if "roi" in self.config.accept:
            connection.subscribe(self._set_topic, qos=1)
        if "gaze" in self.config.accept:
            connection.subscribe(self._gaze_topic, qos=0)
        self._connection = connection
        connection.start()

    def close(self) -> None:
        with self._lock:
            self._standing = self._gaze = None
        connection, self._connection = self._connection, None
        if connection is not None:
            if "roi" in self.config.accept:
                connection.submit(*self._state(None), qos=1, retain=True)
            connection.stop()

    def latest(self, now_ns: int) -> Prompt | None:
        expired = False
        with self._lock:
            standing, gaze = self._standing, self._gaze
            if standing is not None and standing.ends_ns is not None:
                expired = now_ns >= standing.ends_ns
                if expired:
                    self._standing = standing = None
        if expired:
            self._answer(None)
        if standing is not None:
            return standing.prompt
        if gaze is None or now_ns - gaze.timestamp_ns > self.config.gaze_max_age_s * 1e9:
            return None
        if not gaze.inside or gaze.confidence < self.config.min_confidence:
            return None
        return Prompt(point=(gaze.x, gaze.y), timestamp_ns=gaze.timestamp_ns, gaze=gaze)

    @property
    def stats(self) -> Mapping[str, Any]:
        """Counts: accepted, gazes, refused_<reason>, gaze_refused_<reason>; and ``connection``."""
        connection = self._connection
        link = {} if connection is None else {"connection": connection.stats}
        with self._lock:
            return {**self._counts, **link}

    # In the connection's thread ---------------------------------------------------------------

    def _received(self, message: Message) -> None:
        now_ns = time.monotonic_ns()
        if message.topic == self._gaze_topic:
            try:
                self._take_gaze(message, now_ns)
            except OrderError as error:
                self._count(f"gaze_refused_{error.reason}")
        elif message.topic == self._set_topic:
            try:
                order = self._take_order(message, now_ns)
            except OrderError as error:
                self._count(f"refused_{error.reason}")
                self._answer(error)
            else:
                self._count("accepted")
                self._answer(order)

    def _take_order(self, message: Message, now_ns: int) -> Order:
        if not self._order_limit.allow():
            raise OrderError(
                "rate", f"expected at most {self.config.max_rate_hz:g} orders a second"
            )
        if message.retain:
            raise OrderError("retained", "expected an order that is sent when it is meant")
        order = read_order(message.payload, now_ns)
        self._verify(order.message, order.order_id)
        longest_s = self.config.max_ttl_s
        ttl_s = order.ttl_s or longest_s
        if longest_s:
            ttl_s = min(ttl_s, longest_s)
        ends_ns = now_ns + round(ttl_s * 1e9) if ttl_s else None
        with self._lock:
            self._standing = None if order.prompt is None else _Standing(order.prompt, ends_ns)
        return order

    def _take_gaze(self, message: Message, now_ns: int) -> None:
        if not self._gaze_limit.allow():
            raise OrderError("rate", "more samples than max_gaze_rate_hz")
        if message.retain:
            raise OrderError("retained", "a gaze of unknown age")
        gaze, whole = read_gaze(message.payload, now_ns)
        self._verify(whole, None)
        self._count("gazes")
        with self._lock:
            self._gaze = gaze

    def _verify(self, message: Mapping[str, Any], order_id: str | int | None) -> None:
        if self._verifier is None:
            return
        try:
            self._verifier.verify(message)
        except SignatureError as error:
            raise OrderError(error.reason, str(error), order_id) from None
        if message["device"] != self.context.device:  # it was caught on its way to another one
            raise OrderError("device", f"expected device {self.context.device!r}", order_id)

    def _answer(self, to: Order | OrderError | None) -> None:
        """Says what is in force, and what became of an order; in the loop's thread, too."""
        connection = self._connection
        if connection is None or "roi" not in self.config.accept:
            return
        if isinstance(to, OrderError) and not self._answer_limit.allow():
            self._count("unanswered")
            return
        connection.submit(*self._state(to), qos=1, retain=True)

    def _state(self, to: Order | OrderError | None) -> tuple[str, bytes]:
        with self._lock:
            standing = self._standing
        state: dict[str, Any] = {"roi": None, "point": None, "ttl_s": None}
        if standing is not None:
            roi, point = standing.prompt.roi, standing.prompt.point
            state["roi"] = None if roi is None else [roi.x, roi.y, roi.width, roi.height]
            state["point"] = None if point is None else list(point)
            if standing.ends_ns is not None:
                left_s = (standing.ends_ns - time.monotonic_ns()) / 1e9
                state["ttl_s"] = round(max(left_s, 0.0), 3)
        state["timestamp_ns"] = time.time_ns()
        if to is not None:
            refused = isinstance(to, OrderError)
            state |= {"accepted": not refused, "id": to.order_id}
            state |= {"reason": to.reason, "text": str(to)} if isinstance(to, OrderError) else {}
        return f"{self.base_topic}/roi/state", json.dumps(state).encode()

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _make_verifier(self) -> Verifier | None:
        if self.config.key is None:
            return None
        try:
            return Verifier(self.config.key.reveal("key").encode(), self.config.window_s)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"key: {error}", hint="Give both sides the same long key.") from None

    def _reset_limits(self) -> None:
        self._order_limit = RateLimit(self.config.max_rate_hz)
        self._gaze_limit = RateLimit(self.config.max_gaze_rate_hz)
        self._answer_limit = RateLimit(_ANSWERS_HZ)
