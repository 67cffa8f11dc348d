"""Stands in for Pupil Capture: Pupil Remote and its message bus, for tests and demos."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from typing import Any

__all__ = ["EmulatedPupilCapture"]


class EmulatedPupilCapture:
    """Speaks Pupil Capture's network API on loopback; needs pyzmq and msgpack.

    Args:
        offset_s: how far its clock is ahead of the host's monotonic clock.
        drift: how much faster its clock runs; 1e-3 is 1 ms a second.
    """

    def __init__(self, offset_s: float = 0.0, drift: float = 0.0) -> None:
        self._zmq: Any = importlib.import_module("zmq")
        self._msgpack: Any = importlib.import_module("msgpack")
        self.offset_s, self.drift = offset_s, drift
        self._began_s = time.monotonic()
        self.port = 0
        self.silent = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._context: Any = None
        self._bus: Any = None

    def __enter__(self) -> EmulatedPupilCapture:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, on the port it had before; its bus gets another, as after a restart."""
        self._stop = threading.Event()
        self._context = self._zmq.Context()
        remote = self._context.socket(self._zmq.REP)
        self._bus = self._context.socket(self._zmq.PUB)
        remote.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        self.port = int(remote.getsockopt_string(self._zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._bus.bind("tcp://127.0.0.1:*")
        bus_port = self._bus.getsockopt_string(self._zmq.LAST_ENDPOINT).rpartition(":")[2]
        self._thread = threading.Thread(
            target=self._answer, args=(remote, bus_port), name="emulated-capture", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ends it, as a crash would."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join(5)
            self._context.destroy(linger=0)
            self._thread = None

    def time_s(self, host_ns: int) -> float:
        """Pupil's time at a moment of the host."""
        host_s = host_ns / 1e9
        return host_s + self.offset_s + self.drift * (host_s - self._began_s)

    def send(self, x: float, y: float, confidence: float, host_ns: int) -> None:
        """Sends a gaze; y has its origin at the bottom, as in Pupil."""
        datum = {
            "topic": "gaze.3d.01.",
            "norm_pos": (x, y),
            "confidence": confidence,
            "timestamp": self.time_s(host_ns),
            "gaze_normals_3d": {0: (0.0, 0.0, 1.0), 1: (0.0, 0.0, 1.0)},
            "base_data": [],
        }
        self.send_frames([b"gaze.3d.01.", self._msgpack.packb(datum)])

    def send_frames(self, frames: list[bytes]) -> None:
        """Sends any message over the bus; it is lost while this is stopped."""
        if self._thread is not None:
            with contextlib.suppress(self._zmq.ZMQError):
                self._bus.send_multipart(frames)

    def _answer(self, remote: Any, bus_port: str) -> None:
        while not self._stop.is_set():
            if not remote.poll(20) or self.silent:
                continue
            question = remote.recv_string()
            if question == "SUB_PORT":
                remote.send_string(bus_port)
            elif question == "t":
                remote.send_string(repr(self.time_s(time.monotonic_ns())))
            else:
                remote.send_string(f"Unknown command: {question}")
        remote.close(0)
