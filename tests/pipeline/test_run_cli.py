"""``picosam run`` as a process: real signals, real sockets, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import WAIT_S, until

CONFIG = """
[camera]
kind = "synthetic"
size_px = [160, 120]
fps = 100
[[roi]]
kind = "fixed"
box = [0.2, 0.2, 0.6, 0.6]
[[publish]]
kind = "jsonl"
path = "masks.jsonl"
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_process(
        config: str = CONFIG, *options: str, before: str = "", **environ: str
    ) -> subprocess.Popen[str]:
        (tmp_path / "picosam.toml").write_text(config)
        code = f"{before}\nimport sys\nfrom picosam_sdk.cli.main import main\nsys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", str(tmp_path / "picosam.toml"), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
            | environ,
        )  # fmt: skip
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "masks.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


def test_runs_to_max_frames_and_prints_its_statistics(start: Start, tmp_path: Path) -> None:
    code, out, err = ended(start(CONFIG, "--max-frames", "20", "--json"))
    assert code == 0, err
    stats = json.loads(out)
    assert stats["frames"] == stats["masks"] == 20
    assert stats["publisher"]["jsonl"]["sent"] == 20
    assert [line["frame"] for line in lines(tmp_path)] == list(range(20))
    assert "20 frames" in err.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_cleanly(
    start: Start, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start(CONFIG, "--json")
    until(lambda: len(lines(tmp_path)) >= 5)
    process.send_signal(number)
    returned, out, err = ended(process)
    assert returned == code, err
    stats = json.loads(out)
    assert stats["publisher"]["jsonl"]["state"] == "closed"
    # What the loop handed over was delivered: nothing is left behind.
    assert len(lines(tmp_path)) == stats["publisher"]["jsonl"]["sent"] == stats["frames"]
    assert "Traceback" not in err


HANG = """
import threading, time
from picosam_sdk.{module} import {cls}
{cls}.{method} = lambda *_: (print("hanging", flush=True), time.sleep(60))
"""


@pytest.mark.parametrize(
    ("module", "cls", "method"),
    [
        ("cameras.synthetic", "SyntheticCamera", "read"),
        ("publishers.lines", "JsonlPublisher", "publish"),
    ],
)
def test_what_hangs_does_not_hold_up_the_end(
    start: Start, module: str, cls: str, method: str
) -> None:
    before = HANG.format(module=module, cls=cls, method=method)
    process = start(CONFIG + "[run]\nshutdown_s = 0.3\n", before=before)
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.terminate()
    code, _, err = ended(process)
    assert code == 0, err
    assert "left behind" in err


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    before = HANG.format(module="publishers.lines", cls="JsonlPublisher", method="publish")
    process = start(CONFIG + "[run]\nshutdown_s = 50\n", before=before)
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the publisher
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130


def test_a_signal_ends_what_takes_long_to_open(start: Start) -> None:
    before = HANG.format(module="cameras.synthetic", cls="SyntheticCamera", method="open")
    process = start(CONFIG, before=before)
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.terminate()
    code, _, err = ended(process)
    assert code == 0, err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG.replace("fps", "fsp"), "camera.fsp: unknown key; did you mean 'camera.fps'"),
        (CONFIG.replace("[[publish]]", "[[publish]]\nqueue = 0"), "publish[0].queue: expected"),
        ('[camera]\nkind = "video"\npath = "none.mp4"\n[[roi]]\nkind = "grid"', "none.mp4"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(start: Start, config: str, message: str) -> None:
    code, out, err = ended(start(config))
    assert code == 1
    assert out == ""
    assert message in err
    assert len([line for line in err.splitlines() if "OpenCV" not in line]) == 2


def test_status_on_a_terminal_is_one_line_that_is_rewritten(tmp_path: Path) -> None:
    (tmp_path / "picosam.toml").write_text(CONFIG + "[run]\nstatus_s = 0.1\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "picosam_sdk.cli.main", "run", str(tmp_path / "picosam.toml")],
        stderr=theirs, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + WAIT_S
    while seen.count(b"\r\x1b[K") < 4:
        assert time.monotonic() < deadline, seen
        seen += os.read(ours, 4096)
    process.terminate()
    assert process.wait(WAIT_S) == 0
    os.close(ours)
    assert b"running" in seen
    assert b"fps" in seen.split(b"\r\x1b[K")[1]
    assert seen.count(b"\n") <= 2


def test_metrics_over_http(start: Start, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(CONFIG + f"[metrics]\nport = {port}\n")
    until(lambda: len(lines(tmp_path)) >= 3)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
        text = answer.read().decode()
    assert 'picosam_publisher_sent_total{publisher="jsonl"}' in text
    assert 'picosam_stage_seconds_bucket{le="+Inf",stage="inference"}' in text
    process.terminate()
    assert ended(process)[0] == 0


class Systemd:
    """A datagram socket where systemd's would be."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(WAIT_S)

    def receive(self) -> list[str]:
        return self.socket.recv(4096).decode().splitlines()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_ready_alive_and_stopping(
    start: Start, tmp_path: Path, abstract: bool
) -> None:
    address = f"@picosam-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    systemd = Systemd(address)
    with systemd.socket:
        process = start(CONFIG, NOTIFY_SOCKET=address, WATCHDOG_USEC="300000")
        assert systemd.receive() == ["READY=1"]
        for _ in range(3):
            alive = systemd.receive()
            assert alive[0] == "WATCHDOG=1"
            assert alive[1].startswith("STATUS=")
            assert "fps" in alive[1]
        process.terminate()
        while (heard := systemd.receive()) != ["STOPPING=1"]:
            assert heard[0] == "WATCHDOG=1"
        code, _, err = ended(process)
    assert code == 0
    assert len(err.splitlines()) == 2, err  # no status lines: systemd has them


def test_a_loop_that_hangs_is_not_said_to_be_alive(start: Start, tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    hang = (
        "import time\nimport picosam_sdk.pipeline.host as host\n"
        "from picosam_sdk.pipeline.look import Watch\n"
        "real = host.HostEye.look\n"
        "def look(self, ask):\n"
        "    self._watch.expect(0.2)\n"
        "    time.sleep(60)\n"
        "host.HostEye.look = look\n"
    )
    with systemd.socket:
        start(CONFIG, before=hang, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="150000")
        assert systemd.receive() == ["READY=1"]
        systemd.socket.settimeout(1.0)
        count = 0
        with suppress(TimeoutError):
            while count < 30:
                assert systemd.receive()[0] == "WATCHDOG=1"
                count += 1
    assert count < 20
