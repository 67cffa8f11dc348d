"""Gaze of Pupil Labs Neon and Pupil Invisible: their real-time API (HTTP, RTSP, time echo).

The Companion app on the phone tells over HTTP where its gaze stream is, sends gaze over RTSP in
pixels of the scene camera, stamped with the phone's Unix time, and answers with that time on its
time echo port. The package ``pupil-labs-realtime-api`` speaks the protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_gaze.clock import OneWayOffset, RoundTripOffset
from picosam_gaze.source import MissingGazeExtraError
from picosam_gaze.sources.place import INVISIBLE_PX, NEON_PX, place
from picosam_gaze.sources.threaded import LinkConfig, PeerLostError, ThreadedSource
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

__all__ = ["PupilLabsConfig", "PupilLabsSource"]

_LOG = logging.getLogger(__name__)
_SCENE_PX = {"1": INVISIBLE_PX, "2": NEON_PX}
"""By the hardware's version, as the status tells it."""

_WITH_GAZE_FIRST = {9, 25, 65, 89, 105}
"""Bytes of the formats that begin with x, y and worn; what follows is of no interest here."""

_ECHOES = 10
_END_S = 0.4


@dataclass(frozen=True, kw_only=True)
class PupilLabsConfig(LinkConfig):
    """``{kind = "pupil-labs", ...}``.

    Args:
        host: address of the phone, as the Companion app shows it under "Streaming", such as
            "192.168.1.42" or "neon.local".
        port: of its HTTP API.
        answer_s: an answer that takes longer means that the phone is gone.
        silent_s: a stream that sends nothing for so long is opened anew.
        sync_s: seconds between two estimates of the offset of the phone's clock.
    """

    host: str
    port: int = 8080
    answer_s: float = 3.0
    silent_s: float = 3.0
    sync_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.host), "host", "the phone's address", self.host)
        check(1 <= self.port <= 65535, "port", "a port, 1 to 65535", self.port)
        for key in ("answer_s", "silent_s", "sync_s"):
            value = getattr(self, key)
            check(0 < value <= 600, key, "seconds, up to 600", value)


class PupilLabsSource(ThreadedSource):
    """Follows the gaze stream of one phone."""

    name: ClassVar[str] = "pupil-labs"
    Config: ClassVar[type] = PupilLabsConfig

    def __init__(self, config: PupilLabsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._api: Any = None
        self._echo = RoundTripOffset()
        self._arrival: OneWayOffset | None = None
        self._size_px: tuple[int, int] | None = None
        self._address = ""
        self._resync: asyncio.Event | None = None

    @property
    def view_px(self) -> tuple[int, int] | None:
        return super().view_px or self._size_px

    @property
    def stats(self) -> Mapping[str, Any]:
        now_ns = time.monotonic_ns()
        arrival = self._arrival
        offset_ns = self._echo.offset_ns(now_ns) if arrival is None else arrival.offset_ns
        return {
            **super().stats,
            "clock_offset_ns": offset_ns,
            "clock_error_ns": self._echo.error_ns(now_ns),
            "clock_by": "echo" if arrival is None else "arrival",
        }

    def _prepare(self) -> None:
        try:
            self._api = importlib.import_module("pupil_labs.realtime_api")
            self._time_echo = importlib.import_module("pupil_labs.realtime_api.time_echo")
        except ImportError as error:
            raise MissingGazeExtraError("pupil_labs.realtime_api", "pupil-labs") from error

    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        asyncio.run(self._session(wake))

    async def _session(self, wake: socket.socket) -> None:
        """Runs until the phone is lost, which is raised, or the source is closed."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_quietly)  # the library leaves errors in tasks of its own
        stopped = asyncio.Event()
        loop.add_reader(wake, stopped.set)
        try:
            work = asyncio.ensure_future(self._follow())
            end = asyncio.ensure_future(stopped.wait())
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            loop.remove_reader(wake)
            await _end_tasks()

    async def _follow(self) -> None:
        config = self.config
        self._address = await _address(config.host)
        async with self._api.Device(self._address, config.port) as device:
            status = await asyncio.wait_for(device.get_status(), config.answer_s)
        sensor = status.direct_gaze_sensor()
        if sensor is None or sensor.url is None:
            raise PeerLostError("the phone has no gaze to stream: are the glasses plugged in?")
        self._size_px = _SCENE_PX.get(str(status.hardware.version))
        if self.view_px is None:
            raise PeerLostError("the glasses' scene camera is of unknown size: set view_px")
        self._echo, self._arrival = RoundTripOffset(), None
        self._resync = asyncio.Event()
        echo_port = status.phone.time_echo_port
        if not (echo_port and await self._sync(echo_port)):
            self._arrival = OneWayOffset()
        syncing = asyncio.ensure_future(self._keep_synced(echo_port))
        try:
            await self._stream(sensor.url)
        finally:
            syncing.cancel()

    async def _stream(self, url: str) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        streamer = self._api.RTSPRawStreamer(
            url, run_loop=False, log_level=logging.CRITICAL, timeout=config.answer_s
        )
        async with streamer:
            try:
                async with asyncio.timeout(config.answer_s + config.silent_s) as limit:
                    async for data in streamer.receive():
                        limit.reschedule(loop.time() + config.silent_s)
                        self._linked = True
                        self._read(data)
            except TimeoutError:
                raise PeerLostError("the phone sends no gaze any more") from None
        raise PeerLostError("the gaze stream ended, or could not be opened")

    async def _keep_synced(self, echo_port: int | None) -> None:
        assert self._resync is not None
        while echo_port and self._arrival is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._resync.wait(), self.config.sync_s)
            await self._sync(echo_port)
            self._resync.clear()

    async def _sync(self, echo_port: int) -> bool:
        """Measures the offset of the phone's clock; False if that failed."""
        estimator = self._time_echo.TimeOffsetEstimator(self._address, echo_port)
        try:
            estimates = await asyncio.wait_for(
                estimator.estimate(_ECHOES, time_fn_ms=_monotonic_ms), self.config.answer_s
            )
        except (OSError, TimeoutError):
            estimates = None
        if estimates is None:
            self._inbox.count("syncs_failed")
            return False
        pairs = zip(
            estimates.roundtrip_duration_ms.measurements,
            estimates.time_offset_ms.measurements,
            strict=True,
        )
        measured = sorted(pairs)[: _ECHOES // 2]  # the quickest answers
        offset_ms = sum(offset for _, offset in measured) / len(measured)
        # The clocks tick in whole milliseconds on both sides.
        error_ns = int((measured[-1][0] / 2 + 1) * 1e6)
        steps = self._echo.steps
        self._echo.add_measured(int(offset_ms * 1e6), error_ns, time.monotonic_ns())
        if self._echo.steps != steps:
            self._inbox.restart()
        return True

    def _read(self, data: Any) -> None:
        arrived_ns = time.monotonic_ns()
        raw = bytes(data.raw)
        if len(raw) in _WITH_GAZE_FIRST:
            gaze = self._api.GazeData.from_raw(data._replace(raw=raw[:9]))
            x, y = gaze.x, gaze.y
        elif len(raw) == 17:
            gaze = self._api.DualMonocularGazeData.from_raw(data)
            x, y = (gaze.left.x + gaze.right.x) / 2, (gaze.left.y + gaze.right.y) / 2
        else:
            self._inbox.count("malformed")
            return
        assert self.view_px is not None
        peer_ns = int(data.timestamp_unix_seconds * 1e9)
        host_ns = self._to_host(peer_ns, arrived_ns)
        x, y = place(x, y, self.view_px)
        if host_ns is None:
            self._inbox.count("clock_refused")
        elif not self._inbox.put(Gaze(x, y, host_ns, worn=gaze.worn), peer_ns, arrived_ns):
            self._sync_soon()

    def _to_host(self, peer_ns: int, arrived_ns: int) -> int | None:
        if self._arrival is not None:
            steps = self._arrival.steps
            host_ns = self._arrival.to_host(peer_ns, arrived_ns)
            if self._arrival.steps != steps:
                self._inbox.restart()
            return host_ns
        offset_ns = self._echo.offset_ns(arrived_ns)
        assert offset_ns is not None
        return peer_ns + offset_ns

    def _sync_soon(self) -> None:
        if self._resync is not None:
            self._resync.set()


async def _address(host: str) -> str:
    """The host's address, looked up by the system: it knows names such as "neon.local"."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _log_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _LOG.debug("real-time API: %s", context.get("exception") or context.get("message"))


async def _end_tasks() -> None:
    """Ends all that runs; the second time also a good-bye that nobody answers."""
    for _ in range(2):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_END_S)
