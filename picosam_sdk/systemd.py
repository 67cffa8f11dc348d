"""Talking to systemd: ready, alive, stopping. Without systemd, nothing happens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["Notifier"]


class Notifier:
    """Sends datagrams to the socket that systemd names in the environment (sd_notify(3)).

    Args:
        environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environ)
        """How long systemd waits for a sign of life; 0 if it does not watch this process."""

    def send(self, *assignments: str) -> bool:
        """Sends assignments, such as "READY=1"; False if nobody took them. Never blocks."""
        if not self._address:
            return False
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(assignments).encode(), address)
            return True
        return False

    def ready(self) -> bool:
        """The application runs."""
        return self.send("READY=1")

    def alive(self, status: str = "") -> bool:
        """The loop moves; and a line for ``systemctl status``."""
        return self.send("WATCHDOG=1", *([f"STATUS={status}"] if status else []))

    def stopping(self) -> bool:
        """The application is about to end."""
        return self.send("STOPPING=1")


def _watchdog_s(environ: Mapping[str, str]) -> float:
    try:
        if int(environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return 0.0
        return max(0, int(environ.get("WATCHDOG_USEC", 0))) / 1e6
    except ValueError:
        return 0.0
