"""A TCP proxy on loopback whose line can be bad."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

HOST = "127.0.0.1"
LIMIT_S = 10.0


class FaultProxy:
    """A TCP proxy on loopback whose line can be slow, narrow, silent or cut.

    Attributes:
        delay_s: before each piece is passed on.
        bytes_per_s: 0 for no limit.
        silent: nothing is passed on, and nothing closed.
        refuse: new connections are closed at once.
        served: connections that stood, both ends of them.
    """

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self.silent = False
        self.refuse = False
        self.served = 0
        self._to = port
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)  # a line holds little
        self._server.bind((HOST, 0))
        self._server.listen()
        self.port = int(self._server.getsockname()[1])
        self._spawn(self._accept)

    def cut(self) -> None:
        """Cuts all connections; new ones can be made."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.refuse = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self._to), 1.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            if self.refuse:
                near.close()
                far.close()
                continue
            with self._lock:
                self._sockets += [near, far]
            self._spawn(self._serve, near, far)
            self.served += 1

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join(LIMIT_S)
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                bytes_per_s = self.bytes_per_s
                size = int(bytes_per_s / 20) + 1 if bytes_per_s else 65536
                data = source.recv(size)
                if not data:
                    break
                pause_s = self.delay_s + (len(data) / bytes_per_s if bytes_per_s else 0)
                if pause_s:
                    time.sleep(pause_s)
                while self.silent and source in self._sockets:
                    time.sleep(0.01)
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
