"""Gaze as JSON datagrams over UDP; :mod:`picosam_gaze.sources.message` says what is in one."""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_gaze.source import GazeSourceError
from picosam_gaze.sources.message import MessageConfig, MessageReader
from picosam_gaze.sources.threaded import LinkConfig, ThreadedSource
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context

__all__ = ["UdpConfig", "UdpSource"]


@dataclass(frozen=True, kw_only=True)
class UdpConfig(LinkConfig, MessageConfig):
    """``{kind = "udp", ...}``.

    Args:
        port: where it listens; 0 takes a free one.
        host: address that it listens on. Anybody who can reach it can send gaze, so that it is
            this machine alone unless told otherwise.
        allow: addresses or networks that may send, such as "192.168.1.20" or "192.168.1.0/24";
            empty: all.
    """

    port: int
    host: str = "127.0.0.1"
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_message(self.view_px)
        check(0 <= self.port <= 65535, "port", "a port, 0 to 65535", self.port)
        for text in self.allow:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                check(False, "allow", "addresses or networks, as '192.168.1.0/24'", text)


class UdpSource(ThreadedSource):
    """Listens on a UDP port. One sender at a time: two would be mixed up."""

    name: ClassVar[str] = "udp"
    Config: ClassVar[type] = UdpConfig

    def __init__(self, config: UdpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._allow = [ipaddress.ip_network(text) for text in config.allow]
        self._socket: socket.socket | None = None
        self._reader = MessageReader(config, config.view_px, self._inbox)

    @property
    def port(self) -> int:
        """The port that it listens on; the configured one while it is closed."""
        return int(self._socket.getsockname()[1]) if self._socket else int(self.config.port)

    @property
    def stats(self) -> Mapping[str, Any]:
        return {**super().stats, "clock_offset_ns": self._reader.offset.offset_ns}

    def _prepare(self) -> None:
        host, port = self.config.host, self.config.port
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.bind(address)
            self._socket.setblocking(False)
        except OSError as error:
            self._release()
            raise GazeSourceError(
                f"expected to listen for gaze on UDP {host}:{port}, got: {error}",
                hint="Choose another port, or end the program that uses it.",
            ) from error

    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        assert self._socket is not None
        self._reader = MessageReader(self.config, self.config.view_px, self._inbox)
        self._linked = True
        while not stop.is_set():
            ready, _, _ = select.select([self._socket, wake], [], [])
            if self._socket in ready:
                payload, sender = self._socket.recvfrom(self.config.max_bytes + 1)
                arrived_ns = time.monotonic_ns()
                if self._allowed(sender[0]):
                    self._reader.read(payload, arrived_ns)
                else:
                    self._inbox.count("refused")

    def _allowed(self, sender: str) -> bool:
        if not self._allow:
            return True
        address = ipaddress.ip_address(sender.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._allow)

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
