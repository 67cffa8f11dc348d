"""Gaze of Pupil Core: Pupil Capture's network API (ZeroMQ and msgpack).

Pupil Remote (REQ, port 50020) answers ``SUB_PORT`` with the port of the message bus and ``t`` with
Pupil's time; on the bus, ``gaze.`` topics carry ``norm_pos`` (origin bottom left), ``confidence``
and ``timestamp``.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_gaze.clock import RoundTripOffset
from picosam_gaze.source import MissingGazeExtraError
from picosam_gaze.sources.place import place
from picosam_gaze.sources.threaded import LinkConfig, PeerLostError, ThreadedSource
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

__all__ = ["PupilCoreConfig", "PupilCoreSource"]

_FIRST_SYNCS = 5
_MAX_BYTES = 1_000_000
_MAX_BURST = 256


@dataclass(frozen=True, kw_only=True)
class PupilCoreConfig(LinkConfig):
    """``{kind = "pupil-core", ...}``.

    Args:
        host, port: Pupil Remote, as Pupil Capture's Network API menu shows it.
        topic: what is subscribed to; "gaze.3d.01." is binocular gaze alone.
        min_confidence: below, the eye counts as lost (0.6 is what Pupil Labs recommends).
        sync_s: seconds between two questions for Pupil's time; they also tell that it is alive.
        answer_s: an answer that takes longer means that Pupil Capture is gone.
    """

    host: str = "127.0.0.1"
    port: int = 50020
    topic: str = "gaze."
    min_confidence: float = 0.6
    sync_s: float = 1.0
    answer_s: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.port <= 65535, "port", "a port, 1 to 65535", self.port)
        check(self.topic.startswith("gaze"), "topic", "one that starts with 'gaze'", self.topic)
        ok = 0 <= self.min_confidence <= 1
        check(ok, "min_confidence", "a confidence, 0 to 1", self.min_confidence)
        check(0 < self.sync_s <= 600, "sync_s", "seconds, up to 600", self.sync_s)
        check(0 < self.answer_s <= 60, "answer_s", "seconds, up to 60", self.answer_s)


class PupilCoreSource(ThreadedSource):
    """Subscribes to the gaze of Pupil Capture (or Pupil Service)."""

    name: ClassVar[str] = "pupil-core"
    Config: ClassVar[type] = PupilCoreConfig

    def __init__(self, config: PupilCoreConfig, context: Context) -> None:
        super().__init__(config, context)
        self._zmq: Any = None
        self._msgpack: Any = None
        self._offset = RoundTripOffset()

    @property
    def stats(self) -> Mapping[str, Any]:
        now_ns = time.monotonic_ns()
        return {
            **super().stats,
            "clock_offset_ns": self._offset.offset_ns(now_ns),
            "clock_error_ns": self._offset.error_ns(now_ns),
        }

    def _prepare(self) -> None:
        for name in ("zmq", "msgpack"):
            try:
                setattr(self, f"_{name}", importlib.import_module(name))
            except ImportError as error:
                raise MissingGazeExtraError(name, "pupil-core") from error

    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        with self._sockets() as (remote, bus):
            poller = self._zmq.Poller()
            poller.register(remote, self._zmq.POLLIN)
            poller.register(wake, self._zmq.POLLIN)
            remote.connect(f"tcp://{self.config.host}:{self.config.port}")
            port = self._ask(remote, poller, stop, "SUB_PORT")
            self._offset = RoundTripOffset()
            for _ in range(_FIRST_SYNCS):
                self._sync(time.monotonic_ns(), self._ask(remote, poller, stop, "t"))
            bus.connect(f"tcp://{self.config.host}:{int(port)}")
            bus.subscribe(self.config.topic)
            poller.register(bus, self._zmq.POLLIN)
            self._linked = True
            self._follow(remote, bus, poller, stop)

    @contextlib.contextmanager
    def _sockets(self) -> Iterator[tuple[Any, Any]]:
        context = self._zmq.Context()
        remote, bus = context.socket(self._zmq.REQ), context.socket(self._zmq.SUB)
        bus.setsockopt(self._zmq.MAXMSGSIZE, _MAX_BYTES)
        try:
            yield remote, bus
        finally:
            context.destroy(linger=0)

    def _ask(self, remote: Any, poller: Any, stop: threading.Event, question: str) -> str:
        """Asks Pupil Remote, and waits for the answer."""
        self._asked_ns = time.monotonic_ns()
        remote.send_string(question)
        ready = dict(poller.poll(self.config.answer_s * 1e3))
        if remote not in ready:
            raise PeerLostError("stopped" if stop.is_set() else "Pupil Remote does not answer")
        answer: str = remote.recv_string()
        return answer

    def _follow(self, remote: Any, bus: Any, poller: Any, stop: threading.Event) -> None:
        """Reads gaze, and asks for the time every now and then."""
        due_ns = time.monotonic_ns()
        waiting = False
        while not stop.is_set():
            now_ns = time.monotonic_ns()
            if waiting and now_ns - self._asked_ns > self.config.answer_s * 1e9:
                raise PeerLostError("Pupil Remote does not answer any more")
            if not waiting and now_ns >= due_ns:
                self._asked_ns = time.monotonic_ns()
                remote.send_string("t")
                waiting, due_ns = True, now_ns + int(self.config.sync_s * 1e9)
            end_ns = self._asked_ns + int(self.config.answer_s * 1e9) if waiting else due_ns
            ready = dict(poller.poll(max(1.0, (end_ns - now_ns) / 1e6)))
            if remote in ready:
                self._sync(time.monotonic_ns(), remote.recv_string())
                waiting = False
            if bus in ready:
                self._drain(bus)

    def _sync(self, answered_ns: int, answer: str) -> None:
        steps = self._offset.steps
        seconds = float(answer)
        if not math.isfinite(seconds):
            raise PeerLostError(f"expected Pupil's time, got {answer!r}")
        self._offset.add(self._asked_ns, int(seconds * 1e9), answered_ns)
        if self._offset.steps != steps:
            self._inbox.restart()

    def _drain(self, bus: Any) -> None:
        for _ in range(_MAX_BURST):
            try:
                frames = bus.recv_multipart(self._zmq.NOBLOCK)
            except self._zmq.Again:
                return
            arrived_ns = time.monotonic_ns()
            try:
                self._read(frames, arrived_ns)
            except Exception:  # msgpack has its own errors, which are not all ValueErrors
                self._inbox.count("malformed")

    def _read(self, frames: list[bytes], arrived_ns: int) -> None:
        message = self._msgpack.unpackb(frames[1], raw=False, strict_map_key=False)
        x, y = (float(value) for value in message["norm_pos"])
        confidence, seconds = float(message["confidence"]), float(message["timestamp"])
        if not (0 <= confidence <= 1 and math.isfinite(seconds)):
            raise ValueError("out of range")
        if confidence < self.config.min_confidence:
            x = math.nan
        x, y = place(x, 1 - y)
        peer_ns = int(seconds * 1e9)
        offset_ns = self._offset.offset_ns(arrived_ns)
        assert offset_ns is not None  # asked for before anything is subscribed to
        gaze = Gaze(x, y, peer_ns + offset_ns, confidence)
        self._inbox.put(gaze, peer_ns, arrived_ns)
