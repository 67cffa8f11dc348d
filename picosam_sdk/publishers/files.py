"""Files and folders that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

__all__ = ["append_lines", "private_folder"]


def private_folder(path: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner alone.

    One that is there already is left as it is. ``Path.mkdir`` gives its mode to the last folder
    only; the others would follow the umask, and who may write there can put another in its place.

    Raises:
        OSError: it cannot be made, or is no folder.
    """
    if not path.parent.exists():
        private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def append_lines(path: Path) -> TextIO:
    """Opens a file to append lines of ASCII to it; it is made if it is not there.

    A last line that was cut off, as by a loss of power, is ended, so that it does not swallow
    the next.

    Raises:
        OSError: it cannot be opened or written.
    """
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(number).st_size
        if size and os.pread(number, 1, size - 1) != b"\n":
            os.write(number, b"\n")
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "a", encoding="ascii", newline="\n")
