"""Notifying systemd, and not being bothered when it is not there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from picosam_sdk.systemd import Notifier


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    assert not notifier.ready()
    assert notifier.watchdog_s == 0


def test_nobody_at_the_socket(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive("fine")


def test_a_full_socket_never_blocks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        sent = [notifier.alive() for _ in range(2_000)]
        assert sent[0]
        assert not sent[-1]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-5"}, 0.0),
    ],
)
def test_how_long_systemd_waits(environ: dict[str, str], seconds: float) -> None:
    assert Notifier(environ).watchdog_s == seconds


def test_the_example_of_a_unit_fits_the_command(root: Path) -> None:
    text = (root / "packaging" / "picosam.service").read_text()
    assert "Type=notify" in text
    assert "\nWatchdogSec=" in text
    assert "picosam run --quiet" in text
