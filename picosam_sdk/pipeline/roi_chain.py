"""The chain of ROI sources: the first that has a prompt is followed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from picosam_sdk.egress import Gate, forget_frames
from picosam_sdk.interfaces import RoiSource
from picosam_sdk.mask import Result
from picosam_sdk.retrying import Backoff, is_permanent
from picosam_sdk.stats import PartStats, Stats
from picosam_sdk.types import Prompt, Roi

__all__ = ["RoiChain"]

_log = logging.getLogger(__name__)

_PATIENCE = 3
"""So many failures in a row, and the source is opened again."""

_JOIN_S = 0.2


class RoiChain:
    """Asks the sources in their order. What one of them raises is counted, and the next is asked.

    Args:
        sources: name, source and the gate for what it may observe.
        stats: counted into, a part for each source: ``prompts``, ``off_view``, ``errors``,
            ``restarts``.
    """

    def __init__(self, sources: Sequence[tuple[str, RoiSource, Gate]], stats: Stats) -> None:
        self._stats = stats
        self._links = [
            _Link(name, source, gate, stats.part("roi", name, _own_stats(source)))
            for name, source, gate in sources
        ]

    def open(self) -> None:
        """Opens all; one that fails is tried again from another thread.

        Raises:
            PicoSamError, ImportError: one cannot be opened, and trying again would not help.
        """
        for link in self._links:
            link.open()

    def latest(self, now_ns: int) -> Prompt | None:
        """The prompt of the first source that has one; None if none has.

        Args:
            now_ns: the monotonic clock.
        """
        began_ns = time.perf_counter_ns()
        prompt = None
        for link in self._links:
            prompt = link.latest(now_ns)
            if prompt is not None:
                break
        self._stats.time("roi", (time.perf_counter_ns() - began_ns) / 1e6)
        return prompt

    def observe(self, result: Result, now_ns: int) -> None:
        """Shows a result to every source that wants it, as far as its gate lets it."""
        for link in self._links:
            link.observe(result, now_ns)

    def close(self) -> None:
        """Closes all; may be called more than once."""
        for link in self._links:
            link.closing.set()
        for link in self._links:
            link.close()


class _Link:
    """One source of the chain."""

    def __init__(self, name: str, source: RoiSource, gate: Gate, stats: PartStats) -> None:
        self._name, self._source, self._gate, self._stats = name, source, gate, stats
        self._watches = type(source).observe is not RoiSource.observe
        self._ready = threading.Event()
        self._backoff = Backoff()
        self._failures = 0
        self._thread: threading.Thread | None = None
        self.closing = threading.Event()

    def open(self) -> None:
        try:
            self._source.open()
        except Exception as error:
            if is_permanent(error):
                raise
            self._stats.error(error)
            self._start_again()
        else:
            self._stats.state = "ready"
            self._ready.set()

    def latest(self, now_ns: int) -> Prompt | None:
        if not self._ready.is_set():
            return None
        try:
            prompt = _as_prompt(self._source.latest(now_ns))
        except Exception as error:  # a plugin's own code: whatever it raises, we go on
            self._failed(error)
            return None
        self._failures = 0
        self._backoff.reset()
        if prompt is not None and prompt.roi is not None and not prompt.roi.overlaps_view():
            self._stats.count("off_view")
            return None
        self._stats.count("prompts", int(prompt is not None))
        return prompt

    def observe(self, result: Result, now_ns: int) -> None:
        if not (self._watches and self._ready.is_set()):
            return
        try:
            admitted = self._gate.admit(result, now_ns)
            released = None if admitted is None else self._gate.release(admitted)
            if released is not None:
                self._source.observe(released)
                self._gate.sent(0)
        except Exception as error:
            self._failed(error)

    def close(self) -> None:
        self.closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                return  # it closes the source itself when it is done
        self._ready.clear()
        self._close_source()
        self._stats.state = "closed"

    def _failed(self, error: Exception) -> None:
        forget_frames(error)
        self._stats.error(error)
        self._failures += 1
        if self._failures == 1:
            _log.warning("ROI source '%s' failed: %s", self._name, self._stats.last_error)
        if self._failures >= _PATIENCE and self._ready.is_set():
            self._start_again()

    def _start_again(self) -> None:
        self._ready.clear()
        self._stats.state = "retrying"
        self._thread = threading.Thread(
            target=self._open_again, name=f"reopen-{self._name}", daemon=True
        )
        self._thread.start()

    def _open_again(self) -> None:
        """In a thread of its own, since opening may block: until it is open, or to be closed."""
        while True:
            self._close_source()
            if self.closing.wait(self._backoff.pause_s()):
                return
            try:
                self._source.open()
            except Exception as error:
                self._stats.error(error)
                continue
            break
        if self.closing.is_set():
            self._close_source()
            return
        self._stats.count("restarts")
        self._stats.state = "ready"
        self._failures = 0
        _log.warning("ROI source '%s' was opened again", self._name)
        self._ready.set()

    def _close_source(self) -> None:
        try:
            self._source.close()
        except Exception as error:
            self._stats.error(error)


def _as_prompt(asked: Any) -> Prompt | None:
    if asked is None or isinstance(asked, Prompt):
        return asked
    if isinstance(asked, Roi):
        return Prompt(roi=asked)
    raise TypeError(f"expected a Prompt, a Roi or None, got {type(asked).__name__}")


def _own_stats(source: RoiSource) -> Any:
    return lambda: source.stats
