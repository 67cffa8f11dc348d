"""Appending lines to a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

__all__ = ["append_lines"]


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
