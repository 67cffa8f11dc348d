"""Room on the disk for a spool: SQLite's log must always fit back into the file.

A deletion is written to the log first. On a disk that is full to the last byte nothing could be
deleted, so a spool that filled its disk would stay full for ever.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

__all__ = ["has_room", "write_back"]

_RESERVE_BYTES = 64 * 1024  # the log of a small deletion


def has_room(db: sqlite3.Connection, path: Path, size: int) -> bool:
    """Whether a message can be added, and messages can be deleted after it.

    Args:
        db: the open spool.
        path: its file.
        size: bytes of the message.
    """
    try:
        disk = os.statvfs(path.parent)
        log_bytes = path.with_name(f"{path.name}-wal").stat().st_size
        free_bytes = disk.f_bavail * disk.f_frsize
        added_bytes = log_bytes + size + _RESERVE_BYTES
        if not disk.f_blocks or free_bytes >= added_bytes + _RESERVE_BYTES:
            return True
        # Little is left on the disk; but within the file, where messages were deleted?
        return free_bytes >= size + _RESERVE_BYTES and _unused_bytes(db) >= added_bytes
    except (OSError, sqlite3.Error):
        return True  # writing will tell


def _unused_bytes(db: sqlite3.Connection) -> int:
    names = ("freelist_count", "page_size")
    pages, page_bytes = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return pages * page_bytes


def write_back(db: sqlite3.Connection) -> bool:
    """Writes the log back into the file and empties it; whether that went.

    SQLite does it by itself once the log has 4 MB, which a small disk may never come to.
    """
    try:
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error:
        return False
    return not busy
