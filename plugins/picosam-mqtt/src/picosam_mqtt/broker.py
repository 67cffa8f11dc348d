"""A broker inside the process, for a first run where none is installed.

::

    with DemoBroker() as broker:
        print(broker.port)

It is amqtt (extra ``demo``), which speaks MQTT 3.1.1; it listens on loopback only, lets everybody
on this machine in, and forgets everything when it ends. For anything that lasts, install a broker
such as mosquitto.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from typing import Any

from picosam_sdk.errors import PicoSamError, UnavailableError

__all__ = ["DemoBroker"]

_HOST = "127.0.0.1"
_START_S = 20.0  # a small computer imports amqtt for some seconds
_STOP_S = 5.0
_CONNECT_S = 10.0
_CONNECT_BYTES = 1 << 16
_NO_MQTT_5 = b"\x20\x03\x00\x84\x00"  # CONNACK: unsupported protocol version
_LOGGERS = ("amqtt", "transitions")
_LOG = logging.getLogger(__name__)


class DemoBroker:
    """The broker. It runs in a thread of its own, and does not keep the process alive.

    Args:
        port: 0 for a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.host = _HOST
        self.port = port
        self._wanted_port = port
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._problem: Exception | None = None
        self._levels: dict[str, int] = {}

    def start(self) -> DemoBroker:
        """Starts it; :attr:`port` is then the one that it listens on.

        Raises:
            PicoSamError: amqtt is not installed.
            UnavailableError: it cannot listen, as when the port is in use.
        """
        if self._thread is not None:
            return self
        try:
            import amqtt.broker  # noqa: F401
        except ImportError as error:
            raise PicoSamError(
                f"this needs the module 'amqtt', which is not installed: {error}",
                hint="Install it with: pip install 'picosam-mqtt[demo]'",
            ) from error
        self._quieten()
        self._started.clear()
        self._problem = None
        self._thread = threading.Thread(target=self._run, name="mqtt broker", daemon=True)
        self._thread.start()
        self._started.wait(_START_S)
        if self._problem is not None or not self._started.is_set():
            problem = self._problem or "no answer from it in time"
            self.stop()
            raise UnavailableError(
                f"expected a broker on {self.host}:{self._wanted_port}, got: {problem}",
                hint="Choose another port, or 0 for a free one.",
            )
        return self

    def stop(self) -> None:
        """Closes all connections and ends the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(_STOP_S)
        self.port = self._wanted_port
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def __enter__(self) -> DemoBroker:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _quieten(self) -> None:
        """amqtt logs each connection, and warns of each that ends without a goodbye."""
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self._problem = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # We listen ourselves: amqtt does not tell which free port it got, and takes a CONNECT of
        # MQTT 5 for a longer one of 3.1.1, for whose rest it waits without an end.
        everybody = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": everybody})
        serve = functools.partial(_client, broker)
        server = await asyncio.start_server(serve, self.host, self._wanted_port)
        try:
            await broker.start()
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            await self._stop.wait()
        finally:
            server.close()
            await broker.shutdown()


class _Replaying:
    """amqtt's ReaderAdapter that gives what was read already, then what comes."""

    def __init__(self, reader: asyncio.StreamReader, first: bytes) -> None:
        self._reader = reader
        self._first = first

    async def read(self, n: int = -1) -> bytes:
        if n == -1:
            return await self._reader.read(n)
        first, self._first = self._first[:n], self._first[n:]
        return first + await self._reader.readexactly(n - len(first))

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _client(broker: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves one client until it is gone."""
    from amqtt.adapters import StreamWriterAdapter

    try:
        first = await asyncio.wait_for(_read_connect(reader), _CONNECT_S)
        if _protocol_level(first) == 5:
            writer.write(_NO_MQTT_5)
            await writer.drain()
        elif first:
            adapters = _Replaying(reader, first), StreamWriterAdapter(writer)
            await broker.external_connected(*adapters, "default")
    except Exception as error:  # whoever connects may send anything, or go at any time
        _LOG.debug("a client of the demo broker: %r", error)
    finally:
        writer.close()


async def _read_connect(reader: asyncio.StreamReader) -> bytes:
    """The first packet of a client; empty if it is no CONNECT."""
    packet = await reader.readexactly(1)
    if packet[0] != 0x10:
        return b""
    length = 0
    for place in range(4):  # MQTT's variable byte integer
        packet += await reader.readexactly(1)
        length |= (packet[-1] & 0x7F) << (7 * place)
        if packet[-1] < 0x80:
            break
    if length > _CONNECT_BYTES:
        return b""
    return packet + await reader.readexactly(length)


def _protocol_level(connect: bytes) -> int:
    """The level in a CONNECT packet: 4 is MQTT 3.1.1; 0 where there is none."""
    _, name, rest = connect.partition(b"\x00\x04MQTT")
    return rest[0] if name and rest else 0
