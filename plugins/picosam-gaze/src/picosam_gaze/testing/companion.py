"""Stands in for the phone of Neon or Pupil Invisible, for tests and demos; needs nothing else.

Speaks what a source needs of Pupil Labs' real-time API: the status over HTTP, gaze over RTSP and
RTP with the phone's clock in RTCP sender reports, and the time echo protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["EmulatedCompanion"]

_RATE_HZ = 90_000
_PAYLOAD_TYPE = 96
_SSRC = 0x5A5A5A5A
_SINCE_1900_S = 2_208_988_800
_SDP = f"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=gaze
t=0 0
m=application 0 RTP/AVP {_PAYLOAD_TYPE}
c=IN IP4 127.0.0.1
a=rtpmap:{_PAYLOAD_TYPE} com.pupillabs.gaze1/{_RATE_HZ}
"""


class EmulatedCompanion:
    """A phone on loopback.

    Args:
        offset_s: how far its clock is ahead of Unix time.
        drift: how much faster its clock runs; 1e-3 is 1 ms a second.
        version: of the glasses: "2" for Neon, "1" for Pupil Invisible.
        echo: whether it has a time echo port.
    """

    def __init__(
        self, offset_s: float = 0.0, drift: float = 0.0, version: str = "2", echo: bool = True
    ) -> None:
        self.offset_s, self.drift, self.version, self.echo = offset_s, drift, version, echo
        self.plugged_in = True
        self._hung = False
        self._began_ns = time.monotonic_ns()
        self._unix_ns = time.time_ns() - self._began_ns
        self._ports = [0, 0, 0]
        self._player: tuple[str, int, int] | None = None
        self._sequence = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._media: list[socket.socket] = []

    def __enter__(self) -> EmulatedCompanion:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Of its HTTP API."""
        return self._ports[0]

    @property
    def playing(self) -> bool:
        """Whether somebody has asked for the stream."""
        return self._player is not None

    def start(self) -> None:
        """Starts it, on the ports it had before."""
        self._hung = False
        self._media = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for one in self._media:
            one.bind(("127.0.0.1", 0))
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="emulated-phone", daemon=True
        )
        self._thread.start()
        if not started.wait(10):
            raise TimeoutError("the emulated phone did not start")

    def stop(self) -> None:
        """Ends it, as if its battery were empty."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join(10)
            self._player = None
            for one in self._media:
                one.close()

    def hang(self) -> None:
        """From now on it answers nothing, while its connections stay open."""
        self._hung = True

    def unix_s(self, host_ns: int) -> float:
        """The phone's Unix time at a moment of the host's monotonic clock."""
        ran_s = (host_ns - self._began_ns) / 1e9
        return (host_ns + self._unix_ns) / 1e9 + self.offset_s + self.drift * ran_s

    def send(self, x_px: float, y_px: float, host_ns: int, worn: bool = True) -> None:
        """Sends a gaze in Neon's format with eye state (65 bytes)."""
        gaze = struct.pack("!ffB", x_px, y_px, 255 if worn else 0)
        self.send_raw(gaze + struct.pack("!14f", *range(14)), host_ns)

    def send_raw(self, payload: bytes, host_ns: int) -> None:
        """Sends any payload, after a report that ties the stream's time to the phone's clock."""
        player = self._player
        if player is None:
            return
        stamp_s = self.unix_s(host_ns)
        stamp = round(stamp_s * _RATE_HZ) & 0xFFFFFFFF
        host, rtp_port, rtcp_port = player
        seconds, fraction = divmod(round(stamp_s * 2**32), 2**32)
        ntp = (seconds + _SINCE_1900_S) & 0xFFFFFFFF, fraction
        report = struct.pack("!BBHIIIIII", 0x80, 200, 6, _SSRC, *ntp, stamp, 0, 0)
        self._sequence = (self._sequence + 1) & 0xFFFF
        header = struct.pack("!BBHII", 0x80, _PAYLOAD_TYPE, self._sequence, stamp, _SSRC)
        with contextlib.suppress(OSError):
            self._media[1].sendto(report, (host, rtcp_port))
            self._media[0].sendto(header + payload, (host, rtp_port))

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        handlers = (self._http, self._rtsp, self._time_echo)
        servers = []
        for number, handler in enumerate(handlers):
            server = await asyncio.start_server(
                self._guarded(handler), "127.0.0.1", self._ports[number]
            )
            self._ports[number] = server.sockets[0].getsockname()[1]
            servers.append(server)
        started.set()
        await self._stopped.wait()
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)  # what has just been accepted gets its handler, which closes it
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what they closed is closed in the loop's next turn

    def _guarded(
        self, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        """Ends a connection quietly, whoever ends it."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await handler(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self._tasks.discard(task)
                writer.close()

        return serve

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = head.startswith(b"GET /api/status ")
        body = json.dumps({"message": "Success", "result": self._status()}).encode()
        line = "200 OK" if found else "404 Not Found"
        writer.write(
            f"HTTP/1.1 {line}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()

    def _status(self) -> list[dict[str, Any]]:
        phone = {
            "battery_level": 80,
            "battery_state": "OK",
            "device_id": "emulated",
            "device_name": "Emulated Companion",
            "ip": "127.0.0.1",
            "memory": 10**10,
            "memory_state": "OK",
            "time_echo_port": self._ports[2] if self.echo else None,
        }
        gaze = {
            "sensor": "gaze",
            "conn_type": "DIRECT",
            "connected": self.plugged_in,
            "ip": "127.0.0.1",
            "port": self._ports[1],
            "protocol": "rtsp",
            "params": "camera=gaze",
            "stream_error": False,
        }
        hardware = {"version": self.version, "module_serial": "0"}
        return [
            {"model": "Phone", "data": phone},
            {"model": "Hardware", "data": hardware},
            {"model": "Sensor", "data": gaze},
        ]

    async def _rtsp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        player: tuple[str, int, int] | None = None
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method = head.split(" ", 1)[0]
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.splitlines()[1:])
            }
            answer, body = {"CSeq": headers.get("cseq", "0"), "Session": "1;timeout=60"}, ""
            if method == "OPTIONS":
                answer["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
            elif method == "DESCRIBE":
                body = _SDP.replace("\n", "\r\n")
                answer |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
            elif method == "SETUP":
                ports = headers["transport"].partition("client_port=")[2].split(";")[0].split("-")
                player = (writer.get_extra_info("peername")[0], int(ports[0]), int(ports[1]))
                own = "-".join(str(one.getsockname()[1]) for one in self._media)
                answer["Transport"] = f"{headers['transport']};server_port={own}"
            elif method == "PLAY":
                self._player = player
            elif method == "TEARDOWN" and self._player == player:
                self._player = None
            if self._hung:
                continue
            lines = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
            writer.write(f"RTSP/1.0 200 OK\r\n{lines}\r\n{body}".encode())
            await writer.drain()

    async def _time_echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await reader.readexactly(8)
            if self._hung:
                continue
            now_ms = int(self.unix_s(time.monotonic_ns()) * 1e3)
            writer.write(asked + struct.pack("!Q", now_ms))
            await writer.drain()
