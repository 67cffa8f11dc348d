"""A run that was killed is cleared away by the next; one that is interrupted leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.leftovers import clear_leftovers
from tests.faults.world import ROOT, bad_network, late_growth_mb

SCRIPT = ROOT / "scripts/faults.py"


@pytest.mark.parametrize("fetched", [True, False])
def test_only_what_a_dead_process_left_is_cleared(tmp_path: Path, fetched: bool) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, done.pid, os.WEXITED | (0 if fetched else os.WNOWAIT))
    dead = tmp_path / f"picosam-faults-{done.pid}-x"
    own = tmp_path / f"picosam-faults-{os.getpid()}-x"
    other = tmp_path / "picosam-faults-notes"
    for folder in (dead, own, other):
        (folder / "world/disk").mkdir(parents=True)
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", str(dead / "world")]
    )
    mounted = False
    if shutil.which("mount") and os.geteuid() == 0:
        command = ["mount", "-t", "tmpfs", "tmpfs", str(dead / "world/disk")]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert clear_leftovers(tmp_path) == [dead]
    assert orphan.wait(10) == -signal.SIGKILL
    assert own.exists()
    assert other.exists()
    assert not mounted or str(dead) not in Path("/proc/mounts").read_text()
    assert clear_leftovers(tmp_path) == []
    done.wait()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    if bad_network().MOSQUITTO is None:
        pytest.skip("needs mosquitto: apt install mosquitto")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--events", "100000"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*/world/host/audit.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(how)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert b"nothing is left behind" in said
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_late_growth_is_told_from_what_is_kept() -> None:
    levels = [100.0] * 50 + [140.0] * 350
    assert late_growth_mb(levels) == 0
    assert late_growth_mb([100 + 0.1 * at for at in range(400)]) == pytest.approx(20)
    assert late_growth_mb([100.0, 140.0, 100.0, 100.0] * 100) == 0  # a moment's need
    assert late_growth_mb([100.0, 200.0]) == 0  # too short to say
