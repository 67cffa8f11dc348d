"""``tail``: follows the masks of devices on a broker, with paho-mqtt alone."""

from __future__ import annotations

import contextlib
import queue
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picosam_mqtt.report import Report

__all__ = ["Broker", "TailError", "disconnect", "follow", "tls_context"]

_ANSWER_S = 10.0
_WAITING = 1000  # messages that may wait for a slow terminal


class TailError(Exception):
    """The broker cannot be reached, or does not let us read.

    Args:
        message: what was expected and what came.
        hint: what to do next.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach it; ``tls`` is a context, or None for none."""

    host: str = "localhost"
    port: int = 0
    websockets: bool = False
    path: str = "/mqtt"
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""
    version: str = "3.1.1"
    client_id: str = ""
    keepalive_s: int = 30

    @property
    def usual_port(self) -> int:
        usual = (80, 443) if self.websockets else (1883, 8883)
        return self.port or usual[self.tls is not None]


def follow(
    broker: Broker,
    base_topic: str,
    device: str,
    report: Report,
    *,
    qos: int = 0,
    count: int = 0,
    timeout_s: float = 0.0,
) -> int:
    """Reports masks and availability until it is told to stop.

    Args:
        base_topic: the topic above the devices', such as "picosam".
        device: "" for all.
        qos: of the subscription.
        count: messages after which it ends; 0 for no end.
        timeout_s: silence after which it ends; 0 for no end.

    Returns:
        0, or 1 if it was silent for too long.

    Raises:
        TailError: the first connection fails. A later loss is reported, and mended.
    """
    events: queue.Queue[tuple[str, Any]] = queue.Queue(_WAITING)
    topics = [f"{base_topic}/{device or '+'}/{name}" for name in ("mask", "availability")]
    client = _connect(broker, [(topic, qos) for topic in topics], events)
    try:
        early = _await_answer(broker, events, topics)
        report.problem(f"reading {topics[0]} on {broker.host}:{broker.usual_port}")
        for event in early:
            events.put(event)
        return _loop(report, events, len(base_topic.split("/")), count, timeout_s)
    finally:
        disconnect(client)
        report.problem(report.summary())


def disconnect(client: Any) -> None:
    """Disconnects a client on paho's own loop, and waits for the end of the loop's thread.

    The thread takes itself out of the client as it ends, be it while ``loop_stop`` waits for it.
    """
    client.disconnect()
    with contextlib.suppress(AttributeError):
        client.loop_stop()


def _loop(
    report: Report,
    events: queue.Queue[tuple[str, Any]],
    levels: int,
    count: int,
    timeout_s: float,
) -> int:
    heard = time.monotonic()
    while not count or report.masks < count:
        try:
            # A pause without an end would not be interrupted by Ctrl-C everywhere.
            kind, value = events.get(timeout=min(timeout_s or 1.0, 1.0))
        except queue.Empty:
            if timeout_s and time.monotonic() - heard >= timeout_s:
                report.problem(f"no message for {timeout_s:g} s")
                return 1
            continue
        if kind == "granted":
            report.problem("connected again")
        elif kind != "message":
            report.problem(f"connection {kind}: {value}; trying again")
        else:
            heard = time.monotonic()
            topic, payload, retained = value
            if topic.endswith("/availability"):
                report.availability(topic.split("/")[levels], payload == b"online")
            else:
                report.message(payload, topic, retained)
    return 0


def _connect(
    broker: Broker, topics: list[tuple[str, int]], events: queue.Queue[tuple[str, Any]]
) -> Any:
    try:
        import paho.mqtt.client as paho
    except ImportError as error:
        raise TailError(
            f"this needs paho-mqtt, which is not installed: {error}",
            "Install it with: pip install paho-mqtt",
        ) from error

    client = _make_client(paho, broker)
    _listen(client, topics, events)
    client.reconnect_delay_set(1, 30)
    client.connect_timeout = _ANSWER_S
    where = f"{broker.host}:{broker.usual_port}"
    try:
        client.connect(broker.host, broker.usual_port, broker.keepalive_s)
    except (OSError, ValueError, paho.WebsocketConnectionError) as error:
        raise TailError(
            f"expected a broker at {where}, got: {error}",
            "Check --host, --port and --tls, and that the broker runs.",
        ) from error
    client.loop_start()
    return client


def _make_client(paho: Any, broker: Broker) -> Any:
    """A client of paho's, not connected yet."""
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version == "5" else paho.MQTTv311,
        transport="websockets" if broker.websockets else "tcp",
    )
    if broker.websockets:
        client.ws_set_options(path=broker.path)
    if broker.username:
        client.username_pw_set(broker.username, broker.password or None)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    return client


def _listen(
    client: Any, topics: list[tuple[str, int]], events: queue.Queue[tuple[str, Any]]
) -> None:
    """Has the client subscribe whenever it is connected, and put what happens into the queue."""

    def put(kind: str, value: Any = None) -> None:
        while True:
            try:
                events.put_nowait((kind, value))
            except queue.Full:  # the newest counts; the numbers show the gap
                with contextlib.suppress(queue.Empty):
                    events.get_nowait()
            else:
                return

    def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            put("refused", str(reason))
        else:
            client.subscribe(topics)

    def on_subscribe(client: Any, data: Any, mid: int, reasons: Any, properties: Any) -> None:
        if all(reason.is_failure for reason in reasons):
            put("denied", str(reasons[0]))
        else:
            put("granted")

    def on_disconnect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        put("lost", str(reason))

    def on_message(client: Any, data: Any, message: Any) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # of a topic that is no UTF-8
            put("message", (message.topic, message.payload, message.retain))

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.on_disconnect, client.on_message = on_disconnect, on_message


def _await_answer(
    broker: Broker, events: queue.Queue[tuple[str, Any]], topics: list[str]
) -> list[tuple[str, Any]]:
    """Waits until the broker has granted the subscription; returns messages that came before."""
    where = f"{broker.host}:{broker.usual_port}"
    early: list[tuple[str, Any]] = []
    kind, value = "message", None
    while kind == "message":
        try:
            kind, value = events.get(timeout=_ANSWER_S)
        except queue.Empty:
            raise TailError(
                f"expected an answer of the broker at {where}, got none in {_ANSWER_S:g} s",
                "Check that an MQTT broker listens there, and --tls.",
            ) from None
        early.append((kind, value))
    if kind == "refused":
        raise TailError(
            f"expected the broker at {where} to let us in, got: {value}",
            "Check --username, --password and --mqtt.",
        )
    if kind == "denied":
        raise TailError(
            f"expected to be allowed to read {topics[0]}, got: {value}",
            "Ask for the right in the broker's access list, or choose another --device.",
        )
    if kind == "lost":
        raise TailError(
            f"expected the broker at {where} to keep the connection, got: {value}",
            "Check --tls, and whether it wants a client certificate.",
        )
    return early[:-1]


def tls_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """A context that verifies the broker; with a certificate of our own if there is one.

    Raises:
        TailError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None:
            context.load_cert_chain(cert, key)
    except OSError as error:
        raise TailError(
            f"expected certificates in PEM format, got: {error}", "Check --ca, --cert, --cert-key."
        ) from error
    return context
