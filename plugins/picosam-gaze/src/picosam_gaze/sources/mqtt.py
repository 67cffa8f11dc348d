"""Gaze as JSON over MQTT; :mod:`picosam_gaze.sources.message` says what is in a message."""

from __future__ import annotations

import importlib
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from picosam_gaze.source import GazeSourceError, MissingGazeExtraError
from picosam_gaze.sources.message import MessageConfig, MessageReader
from picosam_gaze.sources.threaded import LinkConfig, PeerLostError, ThreadedSource
from picosam_sdk.config import Secret, check, warn_if_shared
from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context

__all__ = ["MqttConfig", "MqttSource"]

_CONNECT_S = 2.5


@dataclass(frozen=True, kw_only=True)
class MqttConfig(LinkConfig, MessageConfig):
    """``{kind = "mqtt", ...}``.

    Args:
        topic: where gaze is published. A retained message is ignored: it is an old gaze.
        host, port: the broker; port 0 is 1883, or 8883 with TLS.
        transport: "tcp" or "websockets".
        username, password: for the broker.
        tls: whether to use TLS; the system's certificates are trusted, or ``ca``.
        ca, certificate, key: files in PEM format; certificate and key are this client's own.
        version: of MQTT.
        client_id: the broker makes one up if "".
        keepalive_s: a broker that is silent for longer is given up.
    """

    topic: str
    host: str = "127.0.0.1"
    port: int = 0
    transport: Literal["tcp", "websockets"] = "tcp"
    username: str = ""
    password: Secret = Secret()
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    version: Literal["3.1.1", "5"] = "3.1.1"
    client_id: str = ""
    keepalive_s: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_message(self.view_px)
        check(_is_filter(self.topic), "topic", "a topic, perhaps with + or #", self.topic)
        check(0 <= self.port <= 65535, "port", "a port, 0 to 65535", self.port)
        check(1 <= self.keepalive_s <= 3600, "keepalive_s", "1 to 3600", self.keepalive_s)
        paired = (self.certificate is None) == (self.key is None)
        check(paired, "certificate", "both certificate and key, or neither", self.certificate)
        files = (self.ca, self.certificate)
        check(self.tls or not any(files), "tls", "true beside ca or certificate", self.tls)


class MqttSource(ThreadedSource):
    """Subscribes to a topic with QoS 0: a gaze that was lost is not worth sending again."""

    name: ClassVar[str] = "mqtt"
    Config: ClassVar[type] = MqttConfig

    def __init__(self, config: MqttConfig, context: Context) -> None:
        super().__init__(config, context)
        self._paho: Any = None
        self._client: Any = None
        self._reader = MessageReader(config, config.view_px, self._inbox)

    @property
    def stats(self) -> Mapping[str, Any]:
        return {**super().stats, "clock_offset_ns": self._reader.offset.offset_ns}

    def _prepare(self) -> None:
        try:
            self._paho = importlib.import_module("paho.mqtt.client")
        except ImportError as error:
            raise MissingGazeExtraError("paho.mqtt", "mqtt") from error
        try:
            self._make_client(MessageReader(self.config, self.config.view_px, self._inbox))
        except ConfigError:
            raise  # the password's variable or file; it names it
        except (OSError, ValueError) as error:
            raise GazeSourceError(
                f"expected certificates and keys for MQTT that can be read, got: {error}",
                hint="Check ca, certificate and key of this gaze source.",
            ) from error

    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        self._reader = MessageReader(self.config, self.config.view_px, self._inbox)
        self._client = client = self._make_client(self._reader)
        port = self.config.port or (8883 if self.config.tls else 1883)
        try:
            client.connect(self.config.host, port, self.config.keepalive_s)
            if not stop.is_set():
                client.loop_forever(retry_first_connection=False)
        finally:
            client.disconnect()
        raise PeerLostError(client.user_data_get()["problem"] or "the broker is gone")

    def _wake(self) -> None:
        client = self._client
        if client is not None:
            client.disconnect()

    def _release(self) -> None:
        self._client = None

    def _make_client(self, reader: MessageReader) -> Any:
        """A client that is not connected yet; what happens to it is told by its callbacks."""
        config, paho = self.config, self._paho
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            userdata={"problem": ""},
            protocol=paho.MQTTv5 if config.version == "5" else paho.MQTTv311,
            transport=config.transport,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        if config.username:
            client.username_pw_set(config.username, config.password.reveal("password") or None)
        if config.tls:
            client.tls_set_context(_tls_context(config))

        def on_connect(client: Any, state: Any, flags: Any, reason: Any, _: Any) -> None:
            if reason.is_failure:
                state["problem"] = f"the broker refused the connection: {reason}"
            else:
                client.subscribe(config.topic, qos=0)

        def on_subscribe(client: Any, state: Any, _: Any, reasons: Any, __: Any) -> None:
            if any(reason.is_failure for reason in reasons):
                state["problem"] = f"the broker refused the topic {config.topic}: {reasons[0]}"
                client.disconnect()
            else:
                self._linked = True

        def on_message(client: Any, state: Any, message: Any) -> None:
            if message.retain:
                self._inbox.count("retained")
            else:
                reader.read(message.payload)

        client.on_connect, client.on_subscribe = on_connect, on_subscribe
        client.on_message = on_message
        return client


def _tls_context(config: MqttConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.certificate is not None and config.key is not None:
        warn_if_shared(config.key, "key")
        context.load_cert_chain(config.certificate, config.key)
    context.sslsocket_class = _TidySocket
    return context


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho 2 leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _is_filter(topic: str) -> bool:
    """Whether MQTT allows it in a subscription."""
    levels = topic.split("/")
    wild = all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
    size = len(topic.encode("utf-8", "replace"))
    return 0 < size < 65536 and "\0" not in topic and wild and "#" not in levels[:-1]
