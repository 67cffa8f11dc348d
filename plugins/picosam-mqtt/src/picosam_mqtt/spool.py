"""Messages on disk until the broker has them: bounded, in order, surviving kill -9.

SQLite in WAL mode with ``synchronous=FULL``: each ``put`` returns after an fsync of the log, so
that a message which it took is there after a crash of the process, of the system, and after a
loss of power (as far as the disk keeps what it says it has written). With ``NORMAL`` SQLite would
sync at checkpoints only: consistent, but the newest messages lost with the power. What was
acknowledged is deleted together with the next ``put``, so that a message costs one fsync; a crash
in between only sends a message twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from picosam_mqtt.room import has_room, write_back
from picosam_mqtt.settings import SpoolConfig
from picosam_sdk.errors import PublishError
from picosam_sdk.publishers.files import private_folder

__all__ = ["Entry", "Spool", "SpoolConfig"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

SCHEMA = 1
_APPLICATION = 0x5053414D  # "PSAM": SQLite's place for saying whose file it is
_CREATE = f"""
BEGIN;
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- grows for ever, so that an id never comes again
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    created_ns INTEGER NOT NULL           -- Unix time
);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""
_COLUMNS = [  # name, type, not null, default, part of the key
    ("id", "INTEGER", 0, None, 1), ("topic", "TEXT", 1, None, 0),
    ("payload", "BLOB", 1, None, 0), ("created_ns", "INTEGER", 1, None, 0),
]  # fmt: skip
_STRANGE = """
SELECT 1 FROM message WHERE typeof(topic) <> 'text' OR typeof(payload) <> 'blob'
OR typeof(created_ns) <> 'integer' LIMIT 1
"""
_CLOCK_SET_NS = 1_577_836_800 * 10**9  # 2020: a clock before was never set
_ACK_EVERY = 256
_BUSY_S = 0.5
_FEW = 8
_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits."""

    id: int
    topic: str
    payload: bytes


class _CorruptError(Exception):
    """The file is no database, or a broken one."""


class _FullError(PublishError):
    """There is no room on the disk."""


class Spool:
    """A queue of messages in one file. One process may hold it; its threads may share it.

    Args:
        path: the file; made with its folder, for its owner alone.
        config: the bounds.
        clock: Unix time in nanoseconds.

    Raises:
        PublishError: the file cannot be opened, another process holds it, or it is no spool of
            this version. One that is corrupt is moved aside, and a new one begun.
    """

    def __init__(
        self,
        path: Path,
        config: SpoolConfig | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self._config = config or SpoolConfig()
        self._clock = clock
        self._lock = threading.RLock()
        self._acked: list[int] = []
        self._counts = dict.fromkeys(("stored", "delivered", "dropped", "expired", "corrupt"), 0)
        self._count = self._bytes = self._last_id = 0
        self._db: sqlite3.Connection | None = None
        self._open()

    @property
    def stats(self) -> Mapping[str, Any]:
        """``waiting`` messages and ``waiting_bytes``; since it was opened: stored, delivered,
        dropped (for want of room, or refused), expired (too old), corrupt (files moved aside)."""
        with self._lock:
            return {"waiting": len(self), "waiting_bytes": self._bytes, **self._counts}

    def __len__(self) -> int:
        """How many messages wait."""
        return self._count - len(self._acked)

    def put(self, topic: str, payload: bytes) -> int:
        """Adds a message. When this returns, it is on the disk.

        Returns:
            Its id, larger than all before.

        Raises:
            PublishError: it could not be written, as with a full disk; it was not added.
        """

        def work(db: sqlite3.Connection) -> int:
            self._forget(db)
            self._make_room(db, len(payload))
            cursor = db.execute(
                "INSERT INTO message (topic, payload, created_ns) VALUES (?, ?, ?)",
                (topic, payload, self._clock()),
            )
            self._count += 1
            self._bytes += len(payload)
            self._counts["stored"] += 1
            self._last_id = int(cursor.lastrowid or 0)
            return self._last_id

        with self._lock:
            self._keep_room(len(payload))
            return self._transact(work)

    def after(self, entry_id: int, limit: int) -> list[Entry]:
        """The oldest messages with a larger id, in order; 0 for the very oldest.

        Raises:
            PublishError: it cannot be read.
        """

        def work(db: sqlite3.Connection) -> list[Entry]:
            self._expire(db)
            rows = db.execute(
                "SELECT id, topic, payload FROM message WHERE id > ? ORDER BY id LIMIT ?",
                (entry_id, limit + len(self._acked)),
            )
            done = set(self._acked)
            return [Entry(*row) for row in rows if row[0] not in done][:limit]

        return self._transact(work)

    def ack(self, entry_id: int, delivered: bool = True) -> None:
        """Gives a message up: the broker has it (or refuses it for ever, if not delivered).

        It is deleted with the next ``put``, ``sync`` or ``close``.
        """
        with self._lock:
            self._acked.append(entry_id)
            self._counts["delivered" if delivered else "dropped"] += 1
            if len(self._acked) >= _ACK_EVERY:
                self.sync()

    def sync(self) -> None:
        """Deletes what was given up.

        Raises:
            PublishError: the file could not be written.
        """
        with self._lock:
            if not self._acked:
                return
            try:
                self._transact(self._forget)
            except _FullError:  # there may be room for the log of a few at a time
                while self._acked:
                    self._transact(lambda db: self._forget(db, _FEW))

    def close(self) -> None:
        """Closes the file; what waits stays in it. May be called more than once."""
        with self._lock:
            with contextlib.suppress(PublishError):
                if self._db is not None:
                    self.sync()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does all of the work, or none of it."""
        with self._lock:
            try:
                return self._try(work)
            except _CorruptError as error:
                self._move_aside(error)
                self._connect()
                return self._try(work)
            except _FullError:
                if self._db is None or not write_back(self._db):
                    raise
                return self._try(work)

    def _keep_room(self, size: int) -> None:
        """Refuses a message after which nothing could be deleted any more."""
        db = self._db
        if db is None or has_room(db, self.path, size):
            return  # a closed one says so later
        if not (write_back(db) and has_room(db, self.path, size)):
            raise _FullError(
                f"expected to use the spool {self.path}, got a disk that is full",
                hint="Free some space, or lower spool.max_bytes.",
            )

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            raise PublishError(f"expected an open spool, got a closed one: {self.path}")
        before = self._count, self._bytes, list(self._acked), dict(self._counts)
        try:
            self._db.execute("BEGIN")
            result = work(self._db)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self._count, self._bytes, self._acked, self._counts = before
            raise self._explained(error) from error
        return result

    def _explained(self, error: sqlite3.Error | OSError) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return _CorruptError(str(error))
        hint = "Check the folder, who may write there, and the free space."
        if code == sqlite3.SQLITE_FULL:
            return _FullError(f"expected to use the spool {self.path}, got: {error}", hint=hint)
        if code == sqlite3.SQLITE_BUSY:
            hint = "Another process or table holds it: end that, or set spool.path to another file."
        return PublishError(f"expected to use the spool {self.path}, got: {error}", hint=hint)

    # Opening ----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._connect()
        except _CorruptError as error:
            self._move_aside(error)
            self._connect()

    def _connect(self) -> None:
        db: sqlite3.Connection | None = None
        try:
            private_folder(self.path.parent)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(
                self.path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None
            )
            # The process alone holds the file, until it ends; so there is no shared memory file.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._check_schema(db)
            self.path.chmod(0o600)  # SQLite gives its log the same mode
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 4194304")
            row = db.execute("SELECT count(*), total(length(payload)) FROM message").fetchone()
            self._count, self._bytes = int(row[0]), int(row[1])
        except (sqlite3.Error, OSError) as error:
            if db is not None:
                db.close()
            raise self._explained(error) from error
        except BaseException:
            if db is not None:
                db.close()
            raise
        self._db = db

    def _check_schema(self, db: sqlite3.Connection) -> None:
        problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise _CorruptError(problem)
        owner = int(db.execute("PRAGMA application_id").fetchone()[0])
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = int(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if not (owner or version or tables):
            db.executescript(_CREATE)
            # After a corrupt file: what is under way from that must not be taken for new ones.
            db.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (self._last_id,))
            return
        if (owner, version) != (_APPLICATION, SCHEMA):
            what = f"version {version}" if owner == _APPLICATION else "another program's file"
            raise PublishError(
                f"expected a spool of version {SCHEMA} at {self.path}, got {what}",
                hint="Update picosam-mqtt, or set spool.path to another file.",
            )
        columns = [row[1:] for row in db.execute("PRAGMA table_info(message)")]
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if columns != _COLUMNS or names != {"message", "sqlite_sequence"}:
            raise _CorruptError("its tables are others")
        if db.execute(_STRANGE).fetchone():
            raise _CorruptError("a message of it is none")

    def _move_aside(self, error: Exception) -> None:
        """Keeps one corrupt file for whoever wants to look; an older one gives way."""
        if self._db is not None:
            self._db.close()
            self._db = None
        aside = self.path.with_name(f"{self.path.name}.corrupt")
        try:
            self.path.replace(aside)
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists():
                log.replace(aside.with_name(f"{aside.name}-wal"))
        except OSError as cause:
            raise self._explained(cause) from error
        self._counts["corrupt"] += 1
        self._acked.clear()
        _LOG.error("the spool %s was corrupt (%s): moved to %s", self.path, error, aside)

    # Inside a transaction, under the lock -----------------------------------------------------

    def _forget(self, db: sqlite3.Connection, limit: int | None = None) -> None:
        """Deletes what was given up, or the first of it."""
        if gone := self._acked[:limit]:
            marks = ",".join("?" * len(gone))
            self._delete(db, f"id IN ({marks})", *gone)
            self._acked = self._acked[len(gone) :]

    def _make_room(self, db: sqlite3.Connection, size: int) -> None:
        self._expire(db)
        config = self._config
        while self._count and (
            self._count + 1 > config.max_count or self._bytes + size > config.max_bytes
        ):
            self._counts["dropped"] += self._delete(db, "id = (SELECT min(id) FROM message)")

    def _expire(self, db: sqlite3.Connection) -> None:
        """Drops the too old at the head of the queue.

        What was stored before the clock was set has no age; a clock set back makes none old.
        """
        limit_ns = self._clock() - int(self._config.max_age_s * 1e9)
        young = "SELECT id FROM message WHERE created_ns >= ? OR created_ns < ? ORDER BY id LIMIT 1"
        row = db.execute(young, (limit_ns, _CLOCK_SET_NS)).fetchone()
        if self._count and not (row and row[0] == self._oldest(db)):
            self._forget(db)
            first = row[0] if row else _MAX_ID
            self._counts["expired"] += self._delete(db, "id < ?", first)

    def _oldest(self, db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT min(id) FROM message").fetchone()[0] or 0)

    def _delete(self, db: sqlite3.Connection, where: str, *values: Any) -> int:
        """Deletes rows; how many there were."""
        of = f"FROM message WHERE {where}"
        count, size = db.execute(f"SELECT count(*), total(length(payload)) {of}", values).fetchone()
        db.execute(f"DELETE {of}", values)
        self._count -= int(count)
        self._bytes -= int(size)
        return int(count)
