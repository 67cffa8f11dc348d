"""Progress of the upload, and programs that end although the camera hangs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import BackendTimeoutError
from picosam_sdk.backends.imx500 import upload
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.testing.imx500 import EmulatedImx500
from tests.imx500.test_backend import LEFT, settled

Open = Callable[..., tuple[Imx500Backend, EmulatedImx500]]


def test_callback_is_told_the_progress_up_to_the_end(opened: Open, model: Path) -> None:
    told: list[tuple[int, int]] = []
    _, device = opened({"upload_s": 1.5}, progress=lambda done, total: told.append((done, total)))
    size = device.rpk(model).stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert len(told) > 1
    assert {total for _, total in told} == {size}


def test_a_broken_callback_does_not_stop_the_upload(opened: Open) -> None:
    def broken(done: int, total: int) -> None:
        raise RuntimeError("callback")

    backend, _ = opened({"upload_s": 0.5}, progress=broken)
    assert settled(backend, LEFT).mask is not None


def test_the_bar_is_drawn_by_a_process_of_its_own(tmp_path: Path) -> None:
    firmware, bridge = tmp_path / "fw_progress", tmp_path / "transfer_progress"
    firmware.write_text("2 0 3000\n")
    bridge.write_text("1000\n")
    command = [sys.executable, "-m", upload.__name__, f"cat {firmware}", f"cat {bridge}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    shown = b""
    while b"33%" not in shown:
        shown += process.stderr.read1(200)
    firmware.write_text("2 3000 3000\n")
    assert process.wait(timeout=60) == 0
    assert b"100%" in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


@pytest.mark.parametrize("readable", [True, False])
def test_the_bar_ends_with_the_program_that_started_it(tmp_path: Path, readable: bool) -> None:
    firmware = tmp_path / "fw_progress"
    if readable:
        firmware.write_text("2 0 3000\n")
    command = [sys.executable, "-m", upload.__name__, f"cat {firmware}", f"cat {firmware}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=60)


def test_bar_process_reads_what_the_helper_would(monkeypatch: pytest.MonkeyPatch) -> None:
    class Helper:
        imx500_device_id, spi_device_id = "10-001a", "10-0040"

        def __init__(self, kind: int) -> None:
            self.fw_progress = kind

    started: list[list[str]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        started.append(command)
        return real([sys.executable, "-c", "import sys; sys.stdin.read()"], **options)

    monkeypatch.setattr(upload.subprocess, "Popen", popen)
    for kind in (1, 2):
        with upload.bar_process(Helper(kind)) as process:
            assert process.poll() is None
        assert process.returncode == 0
    assert started[0][-2:] == [
        "cat /sys/kernel/debug/imx500-fw:10-001a/fw_progress",
        "cat /sys/kernel/debug/rp2040-spi:10-0040/transfer_progress",
    ]
    assert started[1][-1] == "sudo -n /usr/sbin/debug_stream_rp2040.sh 10-0040"


def test_what_hangs_is_left_behind() -> None:
    import threading

    release = threading.Event()
    assert "0.1 s" in upload.run_within(0.1, release.wait, lambda: "")
    assert upload.run_within(60, release.wait, lambda: "stuck") == "stuck"
    release.set()
    assert upload.run_within(60, lambda: None, lambda: "") == ""
    with pytest.raises(ZeroDivisionError):
        upload.run_within(60, lambda: 1 / 0, lambda: "")


@pytest.mark.parametrize("hang", ["in the upload", "with an open camera"])
def test_a_program_ends_although_the_camera_hangs(hang: str, model: Path) -> None:
    code = f"""
import sys
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
hangs = {hang == "in the upload"!r}
device = EmulatedImx500(fps=None, upload_s=0.05,
                        faults=Faults(upload_hangs_at=0.5 if hangs else None))
device.plug()
try:
    backend = Imx500Backend(device.rpk({str(model)!r}), restarts=0, stall_timeout_s=0.5)
    device.faults.frames_stop_after = 0
except Exception as error:
    print(type(error).__name__)
print("end")
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "end"
    assert (BackendTimeoutError.__name__ in done.stdout) is (hang == "in the upload")
    assert time.monotonic() - began < 110
