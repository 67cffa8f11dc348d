"""One connection to a broker, from connecting to its end; all of it in one thread.

paho-mqtt's own threads and queues are not used: its queue of unsent messages has no bound, and
its reconnecting says neither why a connection failed nor when it will try again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from picosam_mqtt.reasons import (
    MAYBE_CERTIFICATE,
    MAYBE_OTHER_CERTIFICATE,
    DeliveryError,
    Problem,
    Reason,
    of_code,
    of_exception,
)
from picosam_mqtt.settings import ConnectionConfig, Message, Will

__all__ = ["Link", "Request"]

MAX_INCOMING_BYTES = 1 << 20
"""What a broker of MQTT 5 is told to send at most in one packet."""

_LAST_ACK_S = 0.1
_DISCONNECT_S = 0.3
_HEADER_BYTES = 16
_PERMANENT = frozenset({Reason.INVALID})


@dataclass(slots=True, eq=False)
class Request:
    """A message on its way out; ``done`` is set when the broker has it (QoS 1) or the socket."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    done: Future[None] = field(default_factory=Future)

    def succeed(self) -> None:
        """Tells who waits that it was delivered."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_result(None)

    def fail(self, problem: Problem, *, refused: bool = False, permanent: bool = False) -> None:
        """Tells who waits that it was not delivered."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(
                DeliveryError(
                    f"expected the broker to take a message on {self.topic}, got "
                    f"{problem.reason}: {problem.text}",
                    reason=problem.reason,
                    refused=refused,
                    permanent=permanent,
                    hint=problem.hint,
                )
            )


class _Client(paho.Client):
    """Remembers its sockets, so that one of a failed handshake can be closed.

    The two methods that it overrides are paho's own; were they renamed, only that would be lost.
    """

    def __init__(self, **options: Any) -> None:
        self.sockets: list[socket.socket] = []
        super().__init__(CallbackAPIVersion.VERSION2, **options)

    def _create_socket_connection(self) -> socket.socket:
        sock = super()._create_socket_connection()
        # A mask is followed by a state: else the second waits until the first is acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets.append(sock)
        return sock

    def _sock_send(self, buf: bytes | bytearray) -> int:
        # Over WebSockets paho 2.2 says 0 where the socket took a part only, and then forgets the
        # packet whose rest it holds; this makes it try the packet again.
        sent = super()._sock_send(buf)
        if sent == 0 and buf:
            raise BlockingIOError
        return sent


class Link:
    """One paho client, used by one thread: ``open``, then ``turn`` until it returns a problem.

    Args:
        version: "5" or "3.1.1".
        on_message: is called with what comes in.
        on_suback: is called with a topic and whether the subscription was granted.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        version: Literal["5", "3.1.1"],
        will: Will | None,
        on_message: Callable[[Message], None],
        on_suback: Callable[[str, bool], None],
    ) -> None:
        self.version = version
        self.connected = False
        self.receive_maximum = 65535
        self._packet_maximum = 268_435_455
        self._config = config
        self._will = will
        self._on_message = on_message
        self._on_suback = on_suback
        self._problem: Problem | None = None
        self._tls_failures: list[ssl.SSLError] = []
        self._tls_sockets: list[ssl.SSLSocket] = []
        self._waiting: dict[int, Request] = {}
        self._subscribing: dict[int, str] = {}
        self._deadline = 0.0
        self._client = self._make_client()

    @property
    def where(self) -> str:
        return f"{self._config.host}:{self._config.usual_port}"

    def open(self) -> Problem | None:
        """Connects the socket and asks the broker for a connection; may block.

        Returns:
            Why that failed; None if the broker's answer is now to be waited for.
        """
        config = self._config
        options: dict[str, Any] = {}
        if self.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_INCOMING_BYTES
            options = {"clean_start": True, "properties": properties}
        self._deadline = time.monotonic() + config.connect_timeout_s
        try:
            self._client.connect(config.host, config.usual_port, config.keepalive_s, **options)
        except (OSError, ValueError) as error:
            if self._tls_failures:
                return self._of_exception(self._tls_failures[0])
            if isinstance(error, paho.WebsocketConnectionError):
                text = f"{self.where} did not answer as a WebSocket: {error}."
                return Problem(Reason.WEBSOCKET, text, "Check port and path.")
            return self._of_exception(error)
        return None

    def send(self, request: Request) -> None:
        """Hands a message to the socket, or to its queue."""
        size = len(request.topic.encode()) + len(request.payload) + _HEADER_BYTES
        if size > self._packet_maximum:
            text = f"the broker takes packets of {self._packet_maximum} bytes, got {size}."
            request.fail(Problem(Reason.INVALID, text), refused=True, permanent=True)
            return
        try:
            if not request.topic:
                raise ValueError("the topic is empty")
            info = self._client.publish(request.topic, request.payload, request.qos, request.retain)
        except ValueError as error:  # a wildcard in the topic, or too long a payload
            request.fail(Problem(Reason.INVALID, f"{error}."), refused=True, permanent=True)
            return
        if info.rc != paho.MQTT_ERR_SUCCESS:
            request.fail(self._problem or Problem(Reason.CLOSED, "the connection is gone."))
        elif request.qos == 0 and info.is_published():
            request.succeed()
        else:
            self._waiting[info.mid] = request

    def subscribe(self, topic: str, qos: int) -> None:
        _, mid = self._client.subscribe(topic, qos)
        if mid is not None:
            self._subscribing[mid] = topic

    def turn(self, wake_fd: int, timeout_s: float) -> Problem | None:
        """Waits for the network, the wake-up or the time, and does what is to be done.

        Returns:
            Why the connection ended; None as long as it has not.
        """
        client = self._client
        sock = client.socket()
        if sock is None:
            return self._ended()
        readable, writable = _wait(sock, wake_fd, client.want_write(), timeout_s)
        rc = client.loop_read() if readable else paho.MQTT_ERR_SUCCESS
        if rc == paho.MQTT_ERR_SUCCESS and writable:
            rc = client.loop_write()
        if rc == paho.MQTT_ERR_SUCCESS:
            rc = client.loop_misc()
        if rc != paho.MQTT_ERR_SUCCESS or client.socket() is None:
            return self._ended(rc)
        if not self.connected and time.monotonic() > self._deadline:
            return Problem(Reason.TIMEOUT, f"{self.where} did not answer in time.")
        return None

    def goodbye(self, wake_fd: int) -> None:
        """Tells the broker that this end was meant, so that it does not send the will."""
        if not self.connected:
            return
        # A broker whose acknowledgement meets a closed socket may not read the goodbye behind it.
        deadline = time.monotonic() + _LAST_ACK_S
        while self._waiting and time.monotonic() < deadline:
            if self.turn(wake_fd, 0.05) is not None:
                return
        deadline = time.monotonic() + _DISCONNECT_S
        self._client.disconnect()
        while self._client.socket() is not None and time.monotonic() < deadline:
            if self.turn(wake_fd, 0.05) is not None:
                break

    def close(self, problem: Problem) -> None:
        """Closes the sockets; whatever still waits fails with the problem."""
        self.connected = False
        sock = self._client.socket()
        for one in (sock, *self._tls_sockets, *self._client.sockets):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.close()
        waiting, self._waiting = self._waiting, {}
        for request in waiting.values():
            request.fail(problem)

    @property
    def _has_certificate(self) -> bool:
        return self._config.tls is not None and self._config.tls.cert_file is not None

    def _of_exception(self, error: Exception) -> Problem:
        return of_exception(error, self.where, self._has_certificate)

    def _make_client(self) -> _Client:
        config = self._config
        options: dict[str, Any] = {} if self.version == "5" else {"clean_session": True}
        client = _Client(
            client_id=config.client_id,
            protocol=paho.MQTTv5 if self.version == "5" else paho.MQTTv311,
            transport=config.transport,
            reconnect_on_failure=False,
            **options,
        )
        client.connect_timeout = config.connect_timeout_s
        client.max_inflight_messages_set(0)  # who publishes holds the window
        if config.transport == "websockets":
            client.ws_set_options(path=config.path)
        if config.username:
            password = config.password.reveal("password") if config.password else None
            client.username_pw_set(config.username, password)
        if config.tls is not None:
            context = config.tls.context()
            context.sslsocket_class = self._recording_socket()
            client.tls_set_context(context)
        if self._will is not None:
            will = self._will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        return client

    def _recording_socket(self) -> type[ssl.SSLSocket]:
        """A socket that keeps its TLS errors; paho turns them all into 'connection lost'.

        In TLS 1.3 a server refuses a client's certificate after the handshake, in what is read.
        """
        sockets, failures = self._tls_sockets, self._tls_failures

        class RecordingSocket(ssl.SSLSocket):
            def do_handshake(self, block: bool = False) -> None:
                sockets.append(self)
                super().do_handshake(block)

            def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
                try:
                    return super().recv(buflen, flags)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    raise
                except ssl.SSLError as error:
                    failures.append(error)
                    raise

            def send(self, data: Any, flags: int = 0) -> int:
                try:
                    return super().send(data, flags)
                except (ConnectionError, ssl.SSLEOFError):
                    with contextlib.suppress(OSError):  # why it was closed may wait to be read
                        self.recv(1)
                    raise

        return RecordingSocket

    def _ended(self, rc: int = paho.MQTT_ERR_CONN_LOST) -> Problem:
        was_connecting, self.connected = not self.connected, False
        if self._problem is None or self._problem.reason is Reason.CLOSED:
            if self._tls_failures:
                return self._of_exception(self._tls_failures[0])
            if rc == paho.MQTT_ERR_PROTOCOL:
                return Problem(Reason.PROTOCOL, f"{self.where} does not speak MQTT as expected.")
        if self._problem is not None:
            return self._problem
        hint = ""
        if was_connecting and self._config.tls is not None:
            hint = MAYBE_OTHER_CERTIFICATE if self._has_certificate else MAYBE_CERTIFICATE
        return Problem(Reason.CLOSED, f"{self.where} closed the connection.", hint)

    # paho's callbacks -------------------------------------------------------------------------

    def _connected(
        self, client: Any, userdata: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if code.is_failure:
            self._problem = of_code(code.value, str(code), "refused the connection")
            return
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self._packet_maximum = getattr(properties, "MaximumPacketSize", self._packet_maximum)
        self.connected = True

    def _disconnected(
        self, client: Any, userdata: Any, flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        if self._problem is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._problem = of_code(code.value, str(code), "closed the connection")
        elif code == "Keep alive timeout" and not self.connected:
            self._problem = Problem(Reason.TIMEOUT, f"{self.where} did not answer in time.")
        elif code == "Keep alive timeout":
            self._problem = Problem(
                Reason.KEEPALIVE,
                f"{self.where} has not answered for longer than keepalive_s = "
                f"{self._config.keepalive_s}.",
            )

    def _published(
        self, client: Any, userdata: Any, mid: int, code: ReasonCode, properties: Any
    ) -> None:
        request = self._waiting.pop(mid, None)
        if request is None:
            return
        if code.is_failure:
            problem = of_code(code.value, str(code), "refused the message")
            request.fail(problem, refused=True, permanent=problem.reason in _PERMANENT)
        else:
            request.succeed()

    def _subscribed(
        self, client: Any, userdata: Any, mid: int, codes: list[ReasonCode], properties: Any
    ) -> None:
        topic = self._subscribing.pop(mid, None)
        if topic is not None:
            self._on_suback(topic, not any(code.is_failure for code in codes))

    def _received(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._on_message(Message(topic, bytes(message.payload), message.qos, message.retain))


def _wait(sock: Any, wake_fd: int, write: bool, timeout_s: float) -> tuple[bool, bool]:
    """Waits until the socket can be read or written, or the wake-up pipe has something."""
    pending = sock.pending() if hasattr(sock, "pending") else 0
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN | (select.POLLOUT if write else 0))
    poller.register(wake_fd, select.POLLIN)
    events = dict(poller.poll(0 if pending else timeout_s * 1000))
    of_socket = events.get(sock.fileno(), 0)
    failed = select.POLLERR | select.POLLHUP | select.POLLNVAL
    return bool(pending or of_socket & (select.POLLIN | failed)), bool(of_socket & select.POLLOUT)
