"""Connections that somebody hoards, over real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from picosam_web import connections
from websockets.sync.client import connect

OTHER = "127.0.0.2"
"""Another address of this machine."""


@pytest.fixture
def port(direct: Callable[..., Any]) -> int:
    return int(httpx.URL(direct().url).port or 0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough that a whole request arrives in it, on a busy machine too."""
    monkeypatch.setattr(connections, "REQUEST_S", 2.0)


def _is_open(raw: socket.socket) -> bool:
    raw.settimeout(0.05)
    try:
        return raw.recv(65536) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def _read_to_the_end(raw: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while raw.recv(65536):
            pass


def _answers(port: int, address: str) -> bool:
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(transport=transport) as client, suppress(httpx.TransportError):
        return client.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 200
    return False


def _drip(raw: socket.socket, data: bytes) -> None:
    for byte in data:
        raw.sendall(bytes([byte]))
        time.sleep(0.02)


def test_one_address_does_not_shut_others_out(port: int, until: Callable[..., Any]) -> None:
    with ExitStack() as stack:
        hoard = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 10, source_address=(OTHER, 0))
            )
            for _ in range(connections.MAX_CONNECTIONS + 16)
        ]
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 200
        assert sum(map(_is_open, hoard)) == connections.MAX_CONNECTIONS_EACH
        for raw in hoard:
            raw.close()
        until(lambda: _answers(port, OTHER), "an answer to the same address")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: loc",
        b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
    ],
    ids=["silent", "half a head", "half a body"],
)
def test_who_only_waits_is_sent_away(port: int, impatient: None, sent: bytes) -> None:
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        with suppress(ConnectionError):  # the time may be up already
            raw.sendall(sent)
        _read_to_the_end(raw)
        assert 0.2 < time.monotonic() - began_s < 3.0  # uvicorn itself waits for ever


def test_so_is_who_sends_half_of_a_second_request(port: int, hurried: None) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        raw.sendall(b"GET / HT")
        began_s = time.monotonic()
        _read_to_the_end(raw)
        assert time.monotonic() - began_s < 4.0


def test_drops_of_a_request_gain_no_time(port: int, impatient: None) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        began_s = time.monotonic()
        with pytest.raises(ConnectionError):
            _drip(raw, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + 100 * b"a")
        assert time.monotonic() - began_s < 2.0


def test_a_page_stays_open(port: int, hurried: None) -> None:
    with connect(f"ws://127.0.0.1:{port}/ws") as page:
        assert json.loads(page.recv(10))["type"] == "state"
        time.sleep(2.5)
        page.send("nothing that it knows")
        while json.loads(page.recv(10))["type"] == "state":
            pass
