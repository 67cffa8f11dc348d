"""What is on its way to the pages: the newest result wins, and all is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st
from picosam_web.hub import Client, Hub, Message, picture_message


class Socket:
    """Keeps what it is sent; ``open`` says whether it takes anything now."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send_text(self, data: str) -> None:
        await self.open.wait()
        self.sent.append(data)

    async def send_bytes(self, data: bytes) -> None:
        await self.open.wait()
        self.sent.append(data)


def _message(seq: int, picture: bytes | None = None) -> Message:
    return Message(seq, f"result {seq}", picture)


def _run(scenario: Callable[[Socket, Client, Hub], Awaitable[None]], max_clients: int = 2) -> None:
    async def main() -> None:
        socket, hub = Socket(), Hub(max_clients)
        client = hub.join(socket)
        assert client is not None
        sending = asyncio.create_task(client.send_all())
        try:
            await scenario(socket, client, hub)
        finally:
            sending.cancel()

    # In a thread of its own, since the browser's driver has a loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, main()).result(60)


async def _settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def test_a_picture_follows_its_result() -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        hub.offer(_message(7, picture_message(7, b"jpeg")))
        await _settle()
        assert socket.sent == ["result 7", b"\0\0\0\0\0\0\0\x07jpeg"]
        assert hub.counts == {"sent": 1, "dropped": 0, "bytes": 8 + 12}

    _run(scenario)


def test_a_page_that_hangs_gets_the_newest_when_it_goes_on() -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        socket.open.clear()
        for seq in range(5):
            hub.offer(_message(seq))
            await _settle()
        assert not hub.is_idle()
        socket.open.set()
        await _settle()
        assert socket.sent == ["result 0", "result 4"]
        assert hub.counts["dropped"] == 3
        assert hub.is_idle()

    _run(scenario)


def test_one_that_confirms_is_never_more_than_two_behind() -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        hub.offer(_message(0))
        await _settle()
        client.seen(0)
        for seq in range(1, 9):
            hub.offer(_message(seq))
            await _settle()
        assert socket.sent == ["result 0", "result 1", "result 2"]
        client.seen(1)
        await _settle()
        assert socket.sent[3:] == ["result 8"]
        client.seen(8)
        hub.offer(_message(9))
        await _settle()
        assert socket.sent[4:] == ["result 9"]
        assert hub.counts["dropped"] == 5

    _run(scenario)


def test_state_is_replaced_and_replies_are_kept_in_order() -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        socket.open.clear()
        client.reply({"n": 0})
        await _settle()
        for n in (1, 2):
            client.reply({"n": n})
            hub.tell({"state": n})
        socket.open.set()
        await _settle()
        got = [json.loads(text) for text in socket.sent]
        assert got == [{"n": 0}, {"n": 1}, {"n": 2}, {"state": 2}]

    _run(scenario)


def test_there_is_room_for_so_many_pages() -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        second = hub.join(Socket())
        assert second is not None
        assert hub.join(Socket()) is None
        hub.leave(second)
        assert len(hub) == 1
        assert hub.join(Socket()) is not None

    _run(scenario)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["offer", "open", "close", "seen"]), max_size=40))
def test_what_it_says_that_leaves_is_what_leaves(steps: list[str]) -> None:
    async def scenario(socket: Socket, client: Client, hub: Hub) -> None:
        told = seq = 0
        for step in steps:
            if step == "offer":
                told += hub.offer(_message(seq, bytes(seq)))
                seq += 1
            elif step == "seen":
                client.seen(seq)
            else:
                socket.open.set() if step == "open" else socket.open.clear()
            await _settle()
        socket.open.set()
        await _settle()
        client.seen(seq)
        await _settle()
        sent = sum(len(data) for data in socket.sent)
        assert told == sent == hub.counts["bytes"]
        assert hub.counts["sent"] + hub.counts["dropped"] == seq

    _run(scenario)
