"""The pauses that ``make stalls`` puts between threads find a race, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RACE = """
import threading, time

def work(said):
    for step in range(5000):
        abs(step)
    said.append("done")

def test_asserts_too_early():
    said = []
    threading.Thread(target=work, args=(said,)).start()
    time.sleep(0.02)
    assert said

def test_waits():
    said = []
    thread = threading.Thread(target=work, args=(said,))
    thread.start()
    thread.join()
    assert said
"""


def test_a_race_is_found(tmp_path: Path, root: Path) -> None:
    (tmp_path / "test_race.py").write_text(RACE, encoding="utf-8")
    words = ["-q", "-p", "tests.stalls", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(tmp_path / "test_race.py")],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "test_asserts_too_early" in done.stdout
