"""On the way out: topics where the newest counts, and a queue where each message does."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from picosam_mqtt.connection import Connection, DeliveryError
from picosam_mqtt.spool import Entry, Spool
from picosam_sdk.errors import PublishError

__all__ = ["Courier", "Slot", "Ticker"]

_LOG = logging.getLogger(__name__)


class Slot:
    """A topic where the newest message counts: one is on its way, one waits, older ones give way.

    So a slow network delays what is sent, but nothing piles up.

    Args:
        keep: whether the newest is sent (again) after each connecting, as what is retained
            should be; otherwise what is offered while there is no connection is dropped.
    """

    def __init__(
        self, connection: Connection, topic: str, qos: int, retain: bool = False, keep: bool = False
    ) -> None:
        self.topic = topic
        self._connection = connection
        self._qos, self._retain, self._keep = qos, retain, keep
        self._lock = threading.Lock()
        self._last: bytes | None = None
        self._next: bytes | None = None
        self._busy = False
        self._sent_in = 0  # the number of the connection that the newest was handed to
        self._counts = dict.fromkeys(("sent", "dropped", "dropped_offline", "failed"), 0)

    @property
    def stats(self) -> Mapping[str, int]:
        """Messages sent, dropped (a newer one came), dropped_offline, failed (refused, or lost
        with the connection)."""
        with self._lock:
            return dict(self._counts)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or waits."""
        return not self._busy

    def offer(self, payload: bytes) -> bool:
        """Sends it as soon as the one before is gone; whether it is, or will be, on its way."""
        with self._lock:
            if self._keep:
                self._last = payload
            if self._busy:
                self._counts["dropped"] += self._next is not None
                self._next = payload
                return True
            if not self._connection.connected:
                self._counts["dropped_offline"] += not self._keep
                return self._keep
            self._busy = True
        self._send(payload)
        return True

    def resend(self) -> None:
        """After a connecting: sends the newest, if it is kept and this connection had it not."""
        last = self._last
        if last is not None and self._sent_in != self._connection.connects:
            self.offer(last)

    def _send(self, payload: bytes) -> None:
        self._sent_in = self._connection.connects
        done = self._connection.submit(self.topic, payload, self._qos, self._retain)
        done.add_done_callback(self._done)

    def _done(self, done: Future[None]) -> None:
        error = done.exception()
        if isinstance(error, DeliveryError) and error.refused and not self._counts["failed"]:
            _LOG.warning("%s", error)
        with self._lock:
            self._counts["sent" if error is None else "failed"] += 1
            payload, self._next = self._next, None
            if payload is None or not self._connection.connected:
                self._counts["dropped_offline"] += payload is not None and not self._keep
                self._busy = False
                return
        self._send(payload)


class Courier:
    """Brings what is in the spool to the broker, in order, in a thread of its own.

    Up to ``window`` messages are on their way at once; a message is given up when the broker has
    acknowledged it. When one fails, all behind it are awaited, and then it begins anew with that
    one: a receiver may get a message twice, with the same session and seq, but none is left out.
    Messages overtake one only if the broker refuses it and takes those behind it; they come again.

    Args:
        retry_s, retry_max_s: pause after the broker refused a message that it may take later,
            as when access rules are wrong; doubled each time.
    """

    def __init__(
        self,
        spool: Spool,
        connection: Connection,
        window: int = 16,
        retry_s: float = 1.0,
        retry_max_s: float = 60.0,
    ) -> None:
        self._spool = spool
        self._connection = connection
        self._window = window
        self._retry_s, self._retry_max_s = retry_s, retry_max_s
        self._condition = threading.Condition()
        self._news = True
        self._stopping = False
        self._under_way: deque[tuple[Entry, Future[None]]] = deque()
        self._cursor = 0
        self._sent_in = 0  # the number of the connection that what is under way was handed to
        self._rewind = False
        self._resume_at = 0.0
        self._refusals = 0
        self._counts: dict[str, Any] = {"refused": 0, "last_refusal": "", "errors": 0}
        self._thread = threading.Thread(target=self._run, name="mqtt courier", daemon=True)

    @property
    def stats(self) -> Mapping[str, Any]:
        """How often the broker ``refused`` a message, the ``last_refusal``, ``errors`` of the
        spool."""
        return dict(self._counts)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ends the thread; what is on its way stays in the spool until it is sent again."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def notify(self, *_: Any) -> None:
        """Says that there may be something to do."""
        with self._condition:
            self._news = True
            self._condition.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Waits until the spool is empty; False if it is not in time."""
        with self._condition:
            return self._condition.wait_for(lambda: not len(self._spool), timeout_s)

    def _run(self) -> None:
        idle_s: float | None = None
        while True:
            with self._condition:
                pause_s = max(0.0, self._resume_at - time.monotonic()) or idle_s
                woken = self._condition.wait_for(lambda: self._news or self._stopping, pause_s)
                if self._stopping:
                    return
                self._news = False
            try:
                if not woken and not self._resume_at:
                    self._spool.sync()
                    idle_s = None
                    continue
                idle_s = 1.0 if self._collect() else idle_s
                self._fill()
            except PublishError as error:
                self._counts["errors"] += 1
                self._pause(str(error))

    def _collect(self) -> bool:
        """Gives up what was acknowledged; whether there was any."""
        acknowledged = False
        while self._under_way and self._under_way[0][1].done():
            entry, done = self._under_way.popleft()
            error = done.exception()
            if error is None and self._rewind:
                continue  # one before it was refused: it is sent again behind that one
            if error is None:
                self._spool.ack(entry.id)
                acknowledged, self._refusals = True, 0
            elif isinstance(error, DeliveryError) and error.permanent:
                self._counts["refused"] += 1
                self._counts["last_refusal"] = str(error)
                self._spool.ack(entry.id, delivered=False)
                _LOG.warning("a message can never be delivered and is dropped: %s", error)
            else:
                self._failed(error)
        if acknowledged:
            with self._condition:
                self._condition.notify_all()  # for flush
        return acknowledged

    def _failed(self, error: BaseException) -> None:
        if not self._rewind and isinstance(error, DeliveryError) and error.refused:
            self._counts["refused"] += 1
            self._counts["last_refusal"] = str(error)
            self._pause(str(error))
        self._rewind = True

    def _pause(self, why: str) -> None:
        if not self._refusals:
            _LOG.warning("delivery pauses: %s", why)
        pause_s = min(self._retry_max_s, self._retry_s * 2.0 ** min(self._refusals, 30))
        self._refusals += 1
        self._resume_at = time.monotonic() + pause_s

    def _fill(self) -> None:
        """Sends as many as may be under way."""
        if self._rewind:
            if self._under_way:
                return  # each failure's end wakes us
            self._rewind, self._cursor = False, 0
        if self._resume_at and time.monotonic() < self._resume_at:
            return
        self._resume_at = 0.0
        # After a refusal one at a time: else those behind it might be taken before it.
        window = min(self._window, self._connection.receive_maximum) if not self._refusals else 1
        room = window - len(self._under_way)
        if room <= 0 or not self._connection.connected:
            return
        if not self._under_way:
            self._sent_in = self._connection.connects
        for entry in self._spool.after(self._cursor, room):
            # Were one sent over the next connection, it would overtake what this one lost.
            done = self._connection.submit(entry.topic, entry.payload, 1, only_in=self._sent_in)
            self._under_way.append((entry, done))
            self._cursor = entry.id
            done.add_done_callback(self.notify)


class Ticker:
    """Calls a function again and again, in a thread of its own."""

    def __init__(self, interval_s: float, call: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._call = call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._call()
