"""The server: uvicorn in a thread of its own, which takes no signals and ends when told to."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from picosam_sdk.errors import PublishError
from picosam_web.site import MAX_MESSAGE_BYTES

__all__ = ["Server", "listen"]

T = TypeVar("T")

_START_S = 10.0
_STOP_S = 2.0
_CALL_S = 2.0
_TICK_S = 1.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        PublishError: the address is in use, or is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PublishError(
            f"expected to listen on {host}, got: {error}",
            hint="Use an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all.",
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise PublishError(
            f"expected to listen on {host}:{port}, got: {error.strerror}",
            hint="Stop what uses that port, or choose another one; 0 is any free one.",
        ) from error
    return listener


class Server:
    """Serves an ASGI application on a socket.

    Args:
        site: the application.
        listener: of :func:`listen`; closed in the end.
        tick: called in the server's loop every second.
    """

    def __init__(self, site: Any, listener: socket.socket, tick: Callable[[], None]) -> None:
        import uvicorn

        from picosam_web.connections import MAX_CONNECTIONS, BoundedProtocol

        self._tick = tick
        self._listener = listener
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                site, loop="asyncio", http=BoundedProtocol, ws="websockets-sansio", lifespan="off",
                log_config=None, log_level="error", access_log=False, server_header=False,
                proxy_headers=False, ws_max_size=MAX_MESSAGE_BYTES,
                limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="picosam-web", daemon=True)

    def start(self) -> None:
        """Starts it, and waits until it serves.

        Raises:
            PublishError: it does not.
        """
        self._thread.start()
        self._ready.wait(_START_S)
        if not self.alive:
            self.stop()
            raise PublishError(
                f"expected the web server to start, got: {self._problem or 'no answer in time'}",
                hint="Try again; if it stays so, reinstall uvicorn and websockets.",
            )

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive() and self._uvicorn.started

    def call(self, function: Callable[[], T]) -> T:
        """Runs a function in the server's loop.

        Raises:
            PublishError: the server has ended, or hangs.
        """
        loop, done = self._loop, concurrent.futures.Future[T]()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        try:
            if loop is None or not self.alive:
                raise RuntimeError("it has ended")
            loop.call_soon_threadsafe(run)
            return done.result(_CALL_S)
        except (RuntimeError, concurrent.futures.TimeoutError) as error:
            raise PublishError(
                f"expected the web server to answer, got: {error or 'nothing in time'}",
                hint="It is started again by itself.",
            ) from error

    def stop(self) -> None:
        """Ends it: pages are told that it went away."""
        self._uvicorn.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                self._uvicorn.force_exit = True
                self._thread.join(_STOP_S)
        self._listener.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # uvicorn ends the process where it cannot start
            self._problem = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[self._listener]))
        ticking = asyncio.create_task(self._tick_on())
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.002)
        self._ready.set()
        try:
            await serving
        finally:
            ticking.cancel()

    async def _tick_on(self) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S - (time.monotonic() - began_s) % _TICK_S)
            self._tick()
