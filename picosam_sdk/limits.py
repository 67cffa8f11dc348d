"""Reading what a stranger may have made: files up to a size, JSON up to a depth.

Both fail with the errors that a reader of files and JSON handles anyway. docs/limits.md lists
every limit of the SDK.
"""

from __future__ import annotations

import errno
import json
import tarfile
from pathlib import Path
from typing import Any, Self

__all__ = ["CheckedMember", "parse_json", "read_limited"]


def read_limited(path: Path, most_bytes: int) -> bytes:
    """Reads a file, unless it is too long.

    Raises:
        OSError: it cannot be read, or has more than ``most_bytes`` (EFBIG).
    """
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes, the most that is read")
    return data


def parse_json(text: str | bytes) -> Any:
    """``json.loads``, whose only error is ValueError.

    Raises:
        ValueError: it is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class CheckedMember(tarfile.TarInfo):
    """A tar file's entry as far as it may be believed: ``tarfile.open(..., tarinfo=...)``.

    A negative size would lead :mod:`tarfile` of older Pythons in a circle (CVE-2025-8194), and a
    sparse file of a few bytes asks for terabytes of zeros. Both are taken for damage.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(archive)
        except (ValueError, OverflowError, RecursionError) as error:  # of its PAX headers
            raise tarfile.ReadError(f"a header that cannot be read: {error}") from error
        if member.issparse() or member.size < 0:
            raise tarfile.ReadError("a sparse entry, or one with a negative size")
        return member

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("an entry with a negative size")
        return super()._block(count)  # type: ignore[misc]
