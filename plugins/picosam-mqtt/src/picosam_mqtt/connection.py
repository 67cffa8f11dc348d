"""A connection to a broker that comes back by itself, for as long as it is wanted.

::

    connection = Connection(ConnectionConfig(host="broker.local"), on_message=print)
    connection.subscribe("picosam/desk/mask", qos=1)
    connection.start()
    connection.publish("picosam/desk/availability", b"online", qos=1, retain=True)
    connection.stop()
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from picosam_mqtt.reasons import DeliveryError, Problem, Reason
from picosam_mqtt.settings import ConnectionConfig, Message, TlsConfig, Will
from picosam_sdk.errors import ConfigError

if TYPE_CHECKING:
    from picosam_mqtt.link import Link, Request

__all__ = [
    "Connection", "ConnectionConfig", "DeliveryError", "Message", "Problem", "Reason", "TlsConfig",
    "Will",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

STABLE_S = 30.0
"""A connection that held for so long was a good one: the pauses begin anew after it."""

_SHORT_LIVES = 3
_MAYBE_OLD = frozenset({Reason.PROTOCOL_VERSION, Reason.PROTOCOL, Reason.CLOSED})
_STOPPED = Problem(Reason.STOPPED, "the connection was stopped.")
_CONNECTING = Problem(Reason.CLOSED, "not connected yet.")


class Connection:
    """Keeps one connection to a broker in a thread of its own.

    Sessions are always clean: what was not delivered is whose it is who published it, and a
    subscription gets nothing that is older than the connection, but for retained messages.

    Args:
        config: how to reach the broker.
        will: what the broker publishes if the connection is lost.
        on_message: gets what comes in.
        on_connect: called after each connecting, when the subscriptions have been asked for.
            Both are called in the connection's thread: they must not wait, and publish with
            ``submit`` only. What they raise is logged and counted.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        will: Will | None = None,
        on_message: Callable[[Message], None] | None = None,
        on_connect: Callable[[], None] | None = None,
    ) -> None:
        if not config.client_id:
            config = replace(config, client_id=f"picosam-{secrets.token_hex(6)}")
        self.config = config
        self._will = will
        self._on_message = on_message
        self._on_connect = on_connect
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_fds: tuple[int, int] | None = None
        self._requests: deque[Request] = deque()
        self._new_topics: deque[str] = deque()
        self._topics: dict[str, tuple[int, str]] = {}  # QoS, and what the broker said
        self._connected = threading.Event()
        self._problem: Problem | None = _CONNECTING
        self._receive_maximum = 0
        self._version: Literal["5", "3.1.1"] = "3.1.1" if config.version == "3.1.1" else "5"
        self._refuses_v5 = False
        self._said: Reason | None = None
        self._tries = 0
        self._short_lives = 0
        self._counts = dict.fromkeys(
            ("connects", "losses", "taken_over", "received", "callback_errors"), 0
        )

    def start(self) -> None:
        """Begins to connect, and goes on with it for ever; does not wait for the broker.

        A connection is started once.

        Raises:
            ConfigError: a secret or a file of the configuration cannot be read.
        """
        from picosam_mqtt import link  # noqa: F401 - paho: fails here if at all

        if self._thread is not None:
            raise RuntimeError("expected a new Connection, got one that was started before")
        if self.config.password is not None:
            self.config.password.reveal("password")
        if self.config.exposes_password:
            _LOG.warning("the password for %s goes out unencrypted: set tls", self.config.url)
        if self.config.tls is not None:
            self.config.tls.context()
        self._wake_fds = os.pipe()
        for fd in self._wake_fds:
            os.set_blocking(fd, False)
        name = f"mqtt {self.config.client_id}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Says goodbye to the broker, which then does not send the will, and ends the thread.

        A thread that is just connecting to a host which does not answer ends when that gives up.
        """
        thread = self._thread
        self._stop.set()
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and it has not been lost since."""
        return self._connected.is_set()

    @property
    def problem(self) -> Problem | None:
        """Why there is no connection; None while there is one."""
        return None if self.connected else self._problem

    @property
    def version(self) -> str:
        """The version of MQTT that is spoken, or tried next: "5" or "3.1.1"."""
        return self._version

    @property
    def connects(self) -> int:
        """How often it has been connected; 1 is the first connection."""
        return self._counts["connects"]

    @property
    def receive_maximum(self) -> int:
        """How many messages of QoS 1 the broker takes at a time; 0 while not connected."""
        return self._receive_maximum if self.connected else 0

    @property
    def stats(self) -> Mapping[str, Any]:
        """State and counts: connected, problem, problem_text, version, connects, losses (of a
        connection that had been there), taken_over, received, callback_errors, subscriptions
        (topic to "asked", "granted" or "denied")."""
        problem = self.problem
        return {
            "connected": self.connected,
            "problem": str(problem.reason) if problem else "",
            "problem_text": str(problem) if problem else "",
            "version": self._version,
            **self._counts,
            "subscriptions": {topic: said for topic, (_, said) in self._topics.copy().items()},
        }

    def wait_connected(self, timeout_s: float) -> bool:
        """Whether the connection is there, at the latest after the time."""
        return self._connected.wait(timeout_s)

    def subscribe(self, topic: str, qos: int = 0) -> None:
        """Subscribes now, if connected, and after each connecting. Does not wait."""
        with self._lock:
            self._topics[topic] = (qos, "asked")
            if self.connected:
                self._new_topics.append(topic)
        self._wake()

    def submit(
        self, topic: str, payload: bytes | str, qos: int = 0, retain: bool = False, only_in: int = 0
    ) -> Future[None]:
        """Hands over a message without waiting.

        Args:
            only_in: the number of a connection (``connects``) if no later one will do; 0 for any.

        Returns:
            Done when the broker has acknowledged the message (QoS 1), or the socket has taken
            it (QoS 0); holds a :class:`DeliveryError` if there is no connection, it is lost
            before that, or the broker refuses. Nothing is sent again by itself.
        """
        from picosam_mqtt.link import Request

        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        request = Request(topic, data, qos, retain)
        with self._lock:
            accepted = self.connected and only_in in (0, self.connects)
            if accepted:
                self._requests.append(request)
        if accepted:
            self._wake()
        else:
            request.fail(self.problem or _CONNECTING)
        return request.done

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        qos: int = 0,
        retain: bool = False,
        timeout_s: float = 5.0,
    ) -> None:
        """Publishes, and waits until the message is delivered; see ``submit``.

        Raises:
            DeliveryError: a PublishError: it was not, or not in time; it may arrive yet.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("expected another thread than the connection's: use submit there")
        done = self.submit(topic, payload, qos, retain)
        try:
            done.result(timeout_s)
        except TimeoutError:
            done.cancel()
            raise DeliveryError(
                f"expected the broker to take a message on {topic} within {timeout_s} s, "
                "got no answer",
                reason=Reason.TIMEOUT,
                hint="Check the network, or allow more time.",
            ) from None

    # The connection's thread ------------------------------------------------------------------

    def _run(self) -> None:
        assert self._wake_fds is not None
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                had_connects = self._counts["connects"]
                problem = self._connect_once()
                if self._stop.is_set():
                    break
                connected_s = time.monotonic() - began
                self._stop.wait(
                    self._lost(problem, connected_s)
                    if self._counts["connects"] > had_connects
                    else self._failed(problem)
                )
        finally:
            self._problem = _STOPPED
            with self._lock:
                fds, self._wake_fds = self._wake_fds, None
            for fd in fds:
                os.close(fd)

    def _connect_once(self) -> Problem:
        """Connects, serves the connection until it ends, and says why it did."""
        from picosam_mqtt.link import Link

        assert self._wake_fds is not None
        try:
            link = Link(self.config, self._version, self._will, self._received, self._subacked)
        except ConfigError as error:  # a secret or a certificate that is being renewed
            return Problem(Reason.SECRET, f"{error}.", error.hint)
        problem: Problem | None = _STOPPED
        try:
            problem = link.open()
            while problem is None and not self._stop.is_set():
                problem = link.turn(self._wake_fds[0], 1.0)
                self._drain_wake()
                if link.connected and problem is None:
                    self._serve(link)
            if problem is None:
                problem = _STOPPED
                self._send_all(link)
                link.goodbye(self._wake_fds[0])
        except Exception as error:  # paho's own fault: we go on with a new client
            _LOG.exception("the MQTT client failed")
            problem = Problem(Reason.PROTOCOL, f"the MQTT client failed: {error!r}.")
        finally:
            self._cut(link, problem or _STOPPED)
        return problem

    def _serve(self, link: Link) -> None:
        if not self._connected.is_set():
            self._counts["connects"] += 1
            self._receive_maximum = link.receive_maximum
            _LOG.info("connected to %s, MQTT %s", self.config.url, self._version)
            with self._lock:
                self._new_topics = deque(self._topics)
                self._connected.set()
            self._send_all(link)
            self._call(self._on_connect)
        self._send_all(link)

    def _send_all(self, link: Link) -> None:
        with self._lock:
            topics, self._new_topics = self._new_topics, deque()
            requests, self._requests = self._requests, deque()
        for topic in topics:
            link.subscribe(topic, self._topics[topic][0])
        for request in requests:
            link.send(request)

    def _cut(self, link: Link, problem: Problem) -> None:
        with self._lock:
            self._problem = problem
            self._connected.clear()
            requests, self._requests = self._requests, deque()
        link.close(problem)
        for request in requests:
            request.fail(problem)

    def _failed(self, problem: Problem) -> float:
        """After an attempt that gave no connection: the pause before the next."""
        reason = problem.reason
        if self.config.version == "auto":
            # A broker of 3.1.1 refuses version 5, or just hangs up; so does one that restarts.
            if self._version == "5" and reason in _MAYBE_OLD:
                self._refuses_v5 = reason is Reason.PROTOCOL_VERSION
                self._version = "3.1.1"
                _LOG.info("%s does not seem to speak MQTT 5; trying 3.1.1", self.config.url)
                return 0.0
            self._version = "3.1.1" if self._refuses_v5 else "5"
        return self._pause(problem)

    def _lost(self, problem: Problem, connected_s: float) -> float:
        """After a connection that was there: the pause before the next attempt."""
        self._counts["losses"] += 1
        if connected_s >= STABLE_S:
            self._tries, self._short_lives, self._said = 0, 0, None
        if problem.reason is Reason.CLOSED:
            self._short_lives += 1
            # MQTT 3.1.1 has no word for it, and mosquitto 2.0.11 does not say it in 5 either. A
            # bad network looks the same, so the pauses stay those of one: they grow.
            if self._short_lives >= _SHORT_LIVES:
                problem = Problem(
                    Reason.MAYBE_TAKEN_OVER,
                    f"{self._short_lives} connections in a row were closed within "
                    f"{STABLE_S:.0f} s each, and the broker did not say why.",
                    f"If another client uses the client id {self.config.client_id}, too, give "
                    "each device its own name in [device]; else look at the network.",
                )
        if problem.reason in (Reason.TAKEN_OVER, Reason.MAYBE_TAKEN_OVER):
            self._counts["taken_over"] += 1
        if self.config.version == "auto" and not self._refuses_v5:
            self._version = "5"
        return self._pause(problem)

    def _pause(self, problem: Problem) -> float:
        config = self.config
        if problem.reason is not self._said:  # once, not at each attempt
            _LOG.warning("no connection to %s: %s", config.url, problem)
            self._said = problem.reason
        self._problem = problem
        longest = config.refused_retry_s
        if not problem.reason.slow:
            longest = min(config.reconnect_max_s, config.reconnect_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return longest * random.uniform(0.5, 1.0)

    def _received(self, message: Message) -> None:
        self._counts["received"] += 1
        self._call(self._on_message, message)

    def _subacked(self, topic: str, granted: bool) -> None:
        qos = self._topics[topic][0]
        self._topics[topic] = (qos, "granted" if granted else "denied")
        if not granted:
            _LOG.warning("%s does not let us subscribe to %s", self.config.url, topic)

    def _call(self, function: Callable[..., None] | None, *args: Any) -> None:
        try:
            if function is not None:
                function(*args)
        except Exception:  # a callback's own fault must not end the connection
            self._counts["callback_errors"] += 1
            _LOG.exception("a callback of the MQTT connection failed")

    def _wake(self) -> None:
        with self._lock:
            if self._wake_fds is not None:
                with contextlib.suppress(BlockingIOError):  # full: it will wake up anyhow
                    os.write(self._wake_fds[1], b"\0")

    def _drain_wake(self) -> None:
        assert self._wake_fds is not None
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._wake_fds[0], 4096)) == 4096:
                pass
