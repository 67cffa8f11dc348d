"""A spool on a disk of 2 MB: less than SQLite's log takes before it is written back by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from picosam_mqtt.room import has_room
from picosam_mqtt.spool import Spool, SpoolConfig

from picosam_sdk.errors import PublishError

LARGE = SpoolConfig(max_count=100_000, max_bytes=50_000_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    may = shutil.which("mount") and os.geteuid() == 0
    if not may or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def put_all(spool: Spool, count: int) -> int:
    """How many could be stored."""
    stored = 0
    for _ in range(count):
        with suppress(PublishError):
            spool.put("t", os.urandom(500))
            stored += 1
    return stored


def test_the_log_does_not_fill_the_disk(disk: Path) -> None:
    spool = Spool(disk / "s")
    for _ in range(1500):
        spool.ack(spool.put("t", os.urandom(500)))
    assert len(spool) == 0
    spool.close()


def test_it_works_again_once_there_is_room(disk: Path) -> None:
    spool = Spool(disk / "s")
    put_all(spool, 10)
    ballast = fill(disk)
    assert put_all(spool, 300) < 300  # what its log gave back was soon used up
    ballast.unlink()
    assert put_all(spool, 300) == 300
    spool.close()


def test_a_queue_that_filled_the_disk_can_be_delivered(disk: Path) -> None:
    spool = Spool(disk / "s", LARGE)
    stored = put_all(spool, 6000)
    assert 1000 < stored < 6000
    waiting = spool.after(0, 6000)
    assert len(waiting) == stored
    for entry in waiting:
        spool.ack(entry.id)
    assert len(spool) == 0
    assert put_all(spool, 1000) == 1000
    spool.close()
    assert len(Spool(disk / "s", LARGE)) == 1000


def test_a_full_disk_is_refused_before_it_is_written_to(disk: Path) -> None:
    spool = Spool(disk / "s")
    with pytest.raises(PublishError, match="disk that is full"):
        spool.put("t", bytes(4_000_000))
    assert len(spool) == 0
    spool.close()


def test_a_disk_that_cannot_be_asked_is_not_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    assert spool._db is not None
    assert has_room(spool._db, tmp_path / "away" / "s", 1)
    spool.close()
