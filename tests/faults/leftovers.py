"""What runs leave that were killed: pipelines and a broker that go on, and small disks mounted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["clear_leftovers", "own_folder"]

_PREFIX = "picosam-faults-"
_OWNER = re.compile(rf"{_PREFIX}(\d+)-")


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a run, whose name says which process made it; gone at the end."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)


def clear_leftovers(within: Path | None = None) -> list[Path]:
    """Ends, unmounts and removes what runs left behind whose process is no more.

    Args:
        within: where they made their folders; None for the system's folder for such.

    Returns:
        The folders that were removed.
    """
    removed = []
    for folder in (within or Path(tempfile.gettempdir())).glob(f"{_PREFIX}*"):
        owner = _OWNER.match(folder.name)
        if owner is None or _runs(int(owner[1])) or folder.is_symlink():
            continue
        for process in _at_work_in(folder):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for disk in folder.glob("*/disk"):
            if disk.is_mount():
                subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            removed.append(folder)
    return removed


def _at_work_in(folder: Path) -> Iterator[int]:
    """Pipelines and brokers that were started with a path in this folder, whose name no other has.

    Nothing else: somebody may look at a log there.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            words = (process / "cmdline").read_bytes()
            program = os.fsdecode(words.partition(b"\0")[0]).rpartition("/")[2]
            ours = program.startswith(("python", "mosquitto"))
            said = words + (process / "environ").read_bytes()
            if ours and os.fsencode(f"{folder}/") in said and int(process.name) != os.getpid():
                yield int(process.name)


def _runs(process: int) -> bool:
    try:
        said = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return said.rpartition(")")[2].split()[0] not in "ZX"  # dead, but not fetched by its parent
