"""The outbox of a publisher: a bounded queue and a thread, so that the frame loop never waits.

The newest results win: when the queue is full, the oldest is dropped and counted. What a
publisher raises stays here: it is counted, and after a pause the publisher is closed and opened
again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable

from picosam_sdk.egress import Gate, forget_frames
from picosam_sdk.interfaces import Publisher
from picosam_sdk.mask import Result
from picosam_sdk.retrying import Backoff
from picosam_sdk.settings import PublishTable
from picosam_sdk.stats import PartStats

__all__ = ["Outbox", "close_all"]

_CLOSING_S = 0.2
"""How long a publisher may take to close, after its time for delivering."""

_log = logging.getLogger(__name__)


class Outbox:
    """Delivers results to one publisher, in a thread of its own.

    Its ``stats`` count ``withheld`` (by the egress policy), ``accepted``, ``dropped``, ``sent``,
    ``expired`` (withheld when its turn came), ``bytes``, ``errors`` and ``restarts``, and tell the
    ``state``: "opening", "ready", "retrying" or "closed". All that was accepted is sent, dropped,
    expired, or still waiting.

    Args:
        name: for logs and the thread.
        publisher: whose ``open``, ``publish``, ``flush`` and ``close`` run in that thread alone.
        gate: the egress policy for it.
        table: size of the queue and pauses.
        stats: counted into.
    """

    def __init__(
        self, name: str, publisher: Publisher, gate: Gate, table: PublishTable, stats: PartStats
    ) -> None:
        self.name, self.stats = name, stats
        self._publisher, self._gate, self._limit = publisher, gate, table.queue
        self.waits = table.wait
        """Whether the loop waits for it, so that it drops nothing."""
        self._delivering = False
        self._backoff = Backoff(table.retry_s, table.retry_max_s)
        self._condition = threading.Condition()
        self._queue: deque[Result] = deque()
        self._deadline_s: float | None = None  # set once it is being closed
        self._hastened = False  # whether being closed has cut a pause short
        self._opened = threading.Event()
        self._open_error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"publish-{name}", daemon=True)
        self._started = False
        stats.state = "opening"

    def start(self) -> None:
        """Starts the thread, which opens the publisher."""
        self._started = True
        self._thread.start()

    def wait_opened(self, timeout_s: float) -> Exception | None:
        """Waits for the first attempt to open the publisher.

        Returns:
            Why it failed; None if it did not, or has not ended yet. It is tried again anyhow.
        """
        self._opened.wait(timeout_s)
        return self._open_error

    def offer(self, result: Result, now_ns: int) -> None:
        """Hands a result over, as far as the policy lets it. Never blocks, never raises.

        Args:
            result: as the pipeline made it.
            now_ns: the monotonic clock.
        """
        try:
            admitted = self._gate.admit(result, now_ns)
        except Exception as error:  # nothing leaves that the policy has not seen
            self.stats.error(error)
            admitted = None
        if admitted is None:
            self.stats.count("withheld")
            return
        with self._condition:
            if self._deadline_s is not None:
                return
            self.stats.count("accepted")
            if len(self._queue) >= self._limit:
                self._queue.popleft()
                self.stats.count("dropped")
            self._queue.append(admitted)
            self._condition.notify_all()

    def wait_for_room(self, timeout_s: float) -> bool:
        """Waits until a result more would not push another out; False if it still would."""
        with self._condition:
            return self._condition.wait_for(lambda: len(self._queue) < self._limit, timeout_s)

    def wait_delivered(self, timeout_s: float) -> bool:
        """Waits until nothing is left to deliver; False if something still is."""
        with self._condition:
            return self._condition.wait_for(
                lambda: not (self._queue or self._delivering), timeout_s
            )

    @property
    def waiting(self) -> int:
        """How many results wait for the publisher."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def finish(self, timeout_s: float) -> None:
        """Takes no more results, and delivers those that wait for at most this long."""
        with self._condition:
            if self._deadline_s is None:
                self._deadline_s = time.monotonic() + timeout_s
                self._condition.notify_all()

    def close(self, deadline_s: float) -> bool:
        """Delivers what waits, and closes the publisher.

        Args:
            deadline_s: how long that may take, in seconds from now. What is left then is dropped
                and counted; a publisher that hangs is left behind.

        Returns:
            Whether everything was delivered.
        """
        self.finish(deadline_s)
        if self._started:
            left_s = (self._deadline_s or 0.0) + _CLOSING_S - time.monotonic()
            self._thread.join(max(0.0, left_s))
        with self._condition:
            left = len(self._queue)
            self._queue.clear()
            self.stats.count("dropped", left)
        alive = self._thread.is_alive()
        if alive:
            _log.warning("publisher '%s' did not end in time and is left behind", self.name)
        return not (alive or left)

    # In the outbox's thread.

    def _run(self) -> None:
        is_open = self._open()
        if is_open:
            self._works()
        self._opened.set()
        failed: Result | None = None
        while True:
            if not is_open:
                self._close_publisher()
                if not self._pause(anything=failed is not None):
                    break
                is_open = self._open()
                self.stats.count("restarts", int(is_open))
                if is_open and failed is None:
                    self._works()
                continue
            result, failed = self._next(failed), None
            if result is None:
                break
            if not self._deliver(result):
                failed, is_open = result, False
        self.stats.count("dropped", int(failed is not None))
        self._end(is_open)

    def _next(self, failed: Result | None) -> Result | None:
        """The next result, or the failed one if none has come; None at the end."""
        with self._condition:
            if failed is not None and (self.waits or not self._queue):
                return failed
            self.stats.count("dropped", int(failed is not None))
            self._delivering = False
            self._condition.notify_all()
            while not self._queue and self._deadline_s is None:
                self._condition.wait()
            late = self._deadline_s is not None and time.monotonic() >= self._deadline_s
            if late or not self._queue:
                return None  # close() counts what is left
            self._delivering = True
            self._condition.notify_all()
            return self._queue.popleft()

    def _deliver(self, result: Result) -> bool:
        """Whether the publisher is all right."""
        try:
            released = self._gate.release(result)
        except Exception as error:  # nothing leaves that the policy has not seen
            self.stats.error(error)
            self.stats.count("dropped")
            return True
        if released is None:
            self.stats.count("expired")
            return True
        began_ns = time.perf_counter_ns()
        try:
            sent = self._publisher.publish(released)
        except Exception as error:  # a plugin's own code: whatever it raises, we go on
            self._failed(error)
            return False
        self.stats.time("publish", (time.perf_counter_ns() - began_ns) / 1e6)
        self.stats.time("age", (time.monotonic_ns() - result.frame.timestamp_ns) / 1e6)
        self._gate.sent(sent)
        self.stats.count("sent")
        self.stats.count("bytes", sent if isinstance(sent, int) else 0)
        self._backoff.reset()
        self._works()
        return True

    def _open(self) -> bool:
        try:
            self._publisher.open()
        except Exception as error:
            self._open_error = error
            self._failed(error)
            return False
        return True

    def _pause(self, anything: bool) -> bool:
        """Waits before the next attempt; False if there is none.

        That the outbox is being closed cuts one pause short, be it before or after the pause
        began: what waits is tried once more.
        """
        pause_s = self._backoff.pause_s()
        with self._condition:
            if not self._hastened:
                self._condition.wait_for(lambda: self._deadline_s is not None, pause_s)
            if self._deadline_s is None:
                return True
            if self._hastened:
                left_s = self._deadline_s - time.monotonic()
                self._condition.wait(max(0.0, min(pause_s, left_s)))
            self._hastened = True
            return (anything or bool(self._queue)) and time.monotonic() < self._deadline_s

    def _works(self) -> None:
        if self.stats.state == "retrying":
            _log.warning("publisher '%s' works again", self.name)
        self.stats.state = "ready"

    def _failed(self, error: Exception) -> None:
        forget_frames(error)
        self.stats.error(error)
        if self.stats.state != "retrying":  # said once, until it works again
            self.stats.state = "retrying"
            _log.warning("publisher '%s' failed: %s", self.name, self.stats.last_error)

    def _end(self, is_open: bool) -> None:
        if is_open:
            left_s = max(0.0, (self._deadline_s or 0.0) - time.monotonic())
            try:
                if not self._publisher.flush(left_s):
                    _log.warning("publisher '%s' could not deliver all it held", self.name)
            except Exception as error:
                self._failed(error)
            self._close_publisher()
        self.stats.state = "closed"

    def _close_publisher(self) -> None:
        try:
            self._publisher.close()
        except Exception as error:
            forget_frames(error)
            self.stats.error(error)


def close_all(outboxes: Iterable[Outbox], deadline_s: float) -> bool:
    """Closes many at once; together they take no longer than one. As :meth:`Outbox.close`."""
    outboxes = list(outboxes)
    for outbox in outboxes:
        outbox.finish(deadline_s)
    delivered = [outbox.close(deadline_s) for outbox in outboxes]
    return all(delivered)
