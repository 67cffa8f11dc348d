"""Connections that nobody may hoard: so many an address, and none that only waits."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from picosam_web.guesses import network_of

__all__ = ["MAX_CONNECTIONS", "MAX_CONNECTIONS_EACH", "REQUEST_S", "BoundedProtocol"]

MAX_CONNECTIONS = 256
"""In all, open pages among them; who asks beyond is answered with 503."""

MAX_CONNECTIONS_EACH = 64
"""From one address (IPv6: a /64)."""

REQUEST_S = 10.0
"""Seconds that a request may take to arrive, from the connection or its first byte."""


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP connection, closed where its address has too many, or it does not ask."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peers = (getattr(each, "client", None) for each in self.connections)  # pages, too
        ours = network_of(self.client[0]) if self.client else ""
        if sum(network_of(peer[0]) == ours for peer in peers if peer) > MAX_CONNECTIONS_EACH:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        is_websocket = self.transport.get_protocol() is not self
        is_here = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        if is_websocket or is_here:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
