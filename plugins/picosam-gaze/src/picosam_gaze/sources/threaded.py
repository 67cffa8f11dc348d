"""A source with a thread of its own, which connects, receives, and connects again."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_gaze.source import GazeSource, SourceConfig
from picosam_gaze.sources.inbox import Inbox
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

__all__ = ["LinkConfig", "PeerLostError", "ThreadedSource"]

_LOG = logging.getLogger(__name__)
_JOIN_S = 3.0


class PeerLostError(Exception):
    """The peer is gone, or not there yet; the source looks for it again."""


@dataclass(frozen=True, kw_only=True)
class LinkConfig(SourceConfig):
    """What sources with a connection have besides.

    Args:
        retry_s: pause before it connects again, doubled each time up to ``retry_max_s``.
    """

    retry_s: float = 0.5
    retry_max_s: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = 0 < self.retry_s <= self.retry_max_s <= 3600
        check(ok, "retry_s", "0 < retry_s <= retry_max_s", self.retry_s)


class ThreadedSource(GazeSource):
    """Runs ``_receive`` in a thread until the source is closed, with a pause after each loss."""

    Config: ClassVar[type] = LinkConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._inbox = Inbox(config.buffer)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._linked = False
        self._error = ""

    def _prepare(self) -> None:
        """Imports what is needed and opens what must not fail later. In the caller's thread."""

    @abstractmethod
    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        """Connects and puts samples into the inbox, until it is stopped.

        Sets ``_linked`` once the peer is there.

        Args:
            stop: ends it.
            wake: becomes readable when ``stop`` is set, to end a wait for other sockets.

        Raises:
            Exception: the peer is not there, or was lost.
        """

    def _wake(self) -> None:
        """Ends a wait in ``_receive`` that does not look at its ``wake``."""

    def _release(self) -> None:
        """Frees what ``_prepare`` opened; the thread has ended."""

    def open(self) -> None:
        self.close()
        self._inbox = Inbox(self.config.buffer)
        self._error = ""
        self._prepare()
        self._stop = threading.Event()
        self._waker = socket.socketpair()
        self._thread = threading.Thread(
            target=self._run,
            args=(self._stop, self._waker[0]),
            name=f"gaze-{self.name}",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and self._waker is not None:
            self._stop.set()
            with contextlib.suppress(OSError):
                self._waker[1].send(b"\0")
            self._wake()
            thread.join(_JOIN_S)
            if thread.is_alive():
                _LOG.warning("the thread of the gaze source '%s' does not end", self.name)
            for one in self._waker:
                one.close()
        self._waker = None
        self._linked = False
        self._release()

    def samples(self) -> list[Gaze]:
        return self._inbox.drain()

    @property
    def connected(self) -> bool:
        age_s = self._inbox.age_s
        return self._linked and age_s is not None and age_s <= self.config.timeout_s

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"connected": self.connected, **self._inbox.stats, "last_error": self._error}

    def _run(self, stop: threading.Event, wake: socket.socket) -> None:
        pause_s = self.config.retry_s
        while not stop.is_set():
            try:
                self._receive(stop, wake)
            except Exception as error:  # whatever a driver raises, the source must find back
                self._report(error, quiet=stop.is_set())
            if self._linked:
                pause_s = self.config.retry_s
            self._linked = False
            if not stop.wait(pause_s):
                self._inbox.count("reconnects")
            pause_s = min(pause_s * 2, self.config.retry_max_s)

    def _report(self, error: Exception, quiet: bool) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._error and not quiet:
            _LOG.warning("gaze source '%s': %s", self.name, text)
        self._error = text
