"""The pages that are open, and what is on its way to each. Used by the server's loop alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Client", "Hub", "Message", "picture_message"]

_WINDOW = 2
"""Results that a page may have got and not yet shown; the next waits, and gives way to newer."""

_MAX_REPLIES = 32


class Socket(Protocol):
    """What a client needs of a WebSocket."""

    async def send_text(self, data: str) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A result on its way.

    Args:
        seq: of its payload.
        text: the JSON.
        picture: the binary message that follows it, or None.
    """

    seq: int
    text: str
    picture: bytes | None = None

    @property
    def n_bytes(self) -> int:
        return len(self.text.encode()) + len(self.picture or b"")


def picture_message(seq: int, jpeg: bytes) -> bytes:
    """The binary message of a picture: seq as 8 bytes, the highest first, then the JPEG."""
    return seq.to_bytes(8, "big") + jpeg


class Client:
    """One page. The newest result wins: one that waits is dropped when the next comes.

    A page that says what it has shown (see :meth:`seen`) is never more than two results behind,
    whatever the network keeps in its buffers.
    """

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._wake = asyncio.Event()
        self._waiting: Message | None = None
        self._replies: deque[str] = deque(maxlen=_MAX_REPLIES)
        self._state: str | None = None
        self._on_its_way: deque[int] = deque()
        self._confirms = False
        self._sending = False
        self.counts: Counter[str] = Counter()

    @property
    def idle(self) -> bool:
        """Whether no result waits."""
        return not self._sending and self._waiting is None

    def offer(self, message: Message) -> int:
        """Takes a result; returns the bytes of the one that gave way to it, 0 if none did."""
        before, self._waiting = self._waiting, message
        self._wake.set()
        if before is None:
            return 0
        self.counts["dropped"] += 1
        return before.n_bytes

    def tell(self, state: dict[str, Any]) -> None:
        """Takes the state of things; a newer one replaces it."""
        self._state = json.dumps(state, separators=(",", ":"))
        self._wake.set()

    def reply(self, message: dict[str, Any]) -> None:
        """Takes an answer to what the page has sent."""
        self._replies.append(json.dumps(message, separators=(",", ":")))
        self._wake.set()

    def seen(self, seq: int) -> None:
        """The page has shown a result; all before count as shown."""
        self._confirms = True
        while self._on_its_way and self._on_its_way[0] <= seq:
            self._on_its_way.popleft()
        self._wake.set()

    async def send_all(self) -> None:
        """Sends what it was given, for ever; ends by an error if the page is gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._sending = True
            while self._replies:
                await self._socket.send_text(self._replies.popleft())
            if self._state is not None:
                state, self._state = self._state, None
                await self._socket.send_text(state)
            if self._waiting is not None and self._has_room():
                message, self._waiting = self._waiting, None
                await self._send(message)
            self._sending = False

    async def _send(self, message: Message) -> None:
        self._on_its_way.append(message.seq)
        if not self._confirms:  # then nothing takes them away again
            while len(self._on_its_way) > _WINDOW:
                self._on_its_way.popleft()
        await self._socket.send_text(message.text)
        if message.picture is not None:
            await self._socket.send_bytes(message.picture)
        self.counts["sent"] += 1
        self.counts["bytes"] += message.n_bytes

    def _has_room(self) -> bool:
        return not self._confirms or len(self._on_its_way) < _WINDOW


class Hub:
    """All pages.

    Args:
        max_clients: of them at once.
    """

    def __init__(self, max_clients: int) -> None:
        self._max_clients = max_clients
        self._clients: set[Client] = set()
        self._gone: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def counts(self) -> dict[str, int]:
        """Results ``sent`` and ``dropped`` and ``bytes``, of all pages since the start."""
        total = self._gone.copy()
        for client in tuple(self._clients):
            total.update(client.counts)
        return {key: total[key] for key in ("sent", "dropped", "bytes")}

    def is_idle(self) -> bool:
        """Whether every page has got the newest result."""
        return all(client.idle for client in self._clients)

    def join(self, socket: Socket) -> Client | None:
        """A client for a page that was opened; None if there are too many."""
        if len(self._clients) >= self._max_clients:
            return None
        client = Client(socket)
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self._clients.discard(client)
        self._gone.update(client.counts)

    def offer(self, message: Message) -> int:
        """Hands a result to every page.

        Returns:
            How many bytes that is, less those that give way to it; so, over many results, all
            that leaves.
        """
        given = len(self._clients) * message.n_bytes
        return given - sum(client.offer(message) for client in self._clients)

    def tell(self, state: dict[str, Any]) -> None:
        """Tells every page the state of things."""
        for client in self._clients:
            client.tell(state)
