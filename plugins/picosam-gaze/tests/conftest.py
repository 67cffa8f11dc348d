"""Peers on loopback for the tests of the gaze sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from picosam_gaze.testing.contract import poll

LSL_CONFIG = """
[ports]
IPv6 = disable
AllowRandomPorts = 1
[multicast]
ResolveScope = machine
AddressesOverride = {{239.255.172.215}}
TTLOverride = 0
Interfaces = {{127.0.0.1}}
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = {session}
[tuning]
MulticastMinRTT = 0.05
MulticastMaxRTT = 0.3
UnicastMinRTT = 0.05
UnicastMaxRTT = 0.3
ContinuousResolveInterval = 0.2
TimeProbeInterval = 0.01
TimeProbeMaxRTT = 0.05
TimeUpdateInterval = 0.5
WatchdogCheckInterval = 1
WatchdogTimeThreshold = 2
[log]
level = -3
"""


@pytest.fixture(scope="session")
def lsl_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the Lab Streaming Layer on loopback, and apart from everybody else's streams.

    liblsl reads it once, when it is first used in the process.
    """
    path = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    path.write_text(LSL_CONFIG.format(session=uuid.uuid4().hex))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLAPICFG", str(path))
        pytest.importorskip("pylsl")
        yield path


class Broker:
    """mosquitto with a configuration of its own."""

    def __init__(self, folder: Path, program: str, anonymous: bool, more: str = "") -> None:
        self._folder, self._program = folder, program
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        (folder / "acl").write_text("topic readwrite gaze/#\n")
        user = "user root\n" if os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\n"
            f"allow_anonymous {str(anonymous).lower()}\nacl_file {folder / 'acl'}\n"
            f"persistence false\nlog_dest none\n{user}{more}"
        )

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        poll(self._answers, "mosquitto to listen")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts a mosquitto; takes further lines of its configuration."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    brokers: list[Broker] = []

    def make(anonymous: bool = True, more: str = "") -> Broker:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        brokers.append(Broker(folder, program, anonymous, more))
        brokers[-1].start()
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker], request: pytest.FixtureRequest) -> Broker:
    """A running mosquitto; its parameter says whether it lets in clients without a name."""
    return make_broker(anonymous=getattr(request, "param", True))
