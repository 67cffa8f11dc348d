"""The audit log: what may go where, and how much of it went. Never what it showed."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from picosam_sdk.errors import EgressError

__all__ = ["INTERVAL_S", "Audit", "without_credentials"]

INTERVAL_S = 60.0
"""How often counts are written. It bounds for how long a full disk can go unnoticed."""

Counts = Callable[[], Mapping[str, Any]]

_LONGEST_TEXT = 300
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")


class Audit:
    """An audit log: JSON lines, rotated by size, readable by its owner only.

    A line is written at once for what happens once (start, a grant, a refusal). Counts are
    collected from the gates every ``interval_s``, in a thread of the log's own, so that neither
    the frame loop nor a publisher waits for a disk. They run from the start: a line that is lost
    takes nothing with it that the next does not say.

    A log that cannot be written stops the application from starting. If that happens later, it
    counts in ``stats``, and ``failed`` is true until a write succeeds again; until then gates
    release nothing beyond masks and numbers.

    Args:
        path: the file; older ones are path.1 and so on. None: nothing is written.
        max_bytes: size at which a new file is begun.
        files: how many files are kept, the newest included.
        interval_s: between two writes of the counts.

    Raises:
        EgressError: the file cannot be written.
    """

    def __init__(
        self, path: Path | None, max_bytes: int, files: int, interval_s: float = INTERVAL_S
    ) -> None:
        self.path = path
        self.failed = False
        self._max_bytes, self._files, self._interval_s = max_bytes, max(1, files), interval_s
        self._lock = threading.Lock()
        self._lines = self._failures = 0
        self._watched: list[tuple[Counts, dict[str, Any]]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if path is None:
            return
        try:
            self._write("opened", {})
        except OSError as error:
            raise EgressError(
                f"expected an audit log that can be written at {path}, got: "
                f"{error.strerror or error}",
                hint="Check policy.audit_log: its folder must exist, be writable and have space.",
            ) from error

    def record(self, event: str, **fields: Any) -> bool:
        """Writes one line now.

        Args:
            event: what happened, such as "start".
            fields: texts, numbers, and lists and mappings of these.

        Returns:
            False if it could not be written; that is counted, and ``failed`` is set.

        Raises:
            TypeError: a field is of another type; a picture or bytes have no place here.
        """
        line = {key: _plain(value, key) for key, value in fields.items()}
        if self.path is None:
            return True
        try:
            self._write(event, line)
        except OSError:
            with self._lock:
                self._failures += 1
            self.failed = True
            return False
        self.failed = False
        return True

    def watch(self, counts: Counts) -> None:
        """Writes what ``counts`` gives as an event "counts", whenever it has changed."""
        if self.path is None:
            return
        with self._lock:
            self._watched.append((counts, dict(counts())))
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="picosam-audit", daemon=True)
                self._thread.start()

    def write_counts(self) -> None:
        """Writes the counts that have changed. A log that failed is tried again."""
        if self.failed and not self.record("write_failed", times=self._failures):
            return
        with self._lock:
            watched = list(self._watched)
        for index, (counts, written) in enumerate(watched):
            now = dict(counts())
            if now != written and self.record("counts", **now):
                self._watched[index] = (counts, now)

    def close(self) -> None:
        """Writes the last counts. May be called more than once."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.write_counts()
        self.record("closed")

    @property
    def stats(self) -> dict[str, Any]:
        """Lines written, writes that failed, and whether the last one did."""
        return {"lines": self._lines, "failures": self._failures, "failed": self.failed}

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self.write_counts()

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        assert self.path is not None
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": time, "event": event, **fields}, ensure_ascii=False)
        line = text.encode() + b"\n"
        with self._lock:
            # Opened for each line: somebody may have moved or removed the file.
            descriptor = self._open()
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode):
                    if 0 < status.st_size > self._max_bytes - len(line):
                        os.close(descriptor)
                        self._rotate()
                        descriptor = self._open()
                    elif status.st_size and os.pread(descriptor, 1, status.st_size - 1) != b"\n":
                        line = b"\n" + line  # the power failed within the line before
                if os.write(descriptor, line) < len(line):
                    raise OSError(0, "the disk is full")
                if stat.S_ISREG(status.st_mode):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._lines += 1

    def _open(self) -> int:
        assert self.path is not None
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        return descriptor

    def _rotate(self) -> None:
        assert self.path is not None
        names = [self.path, *(Path(f"{self.path}.{number}") for number in range(1, self._files))]
        for newer, older in reversed(list(pairwise(names))):
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            self.path.unlink()


def without_credentials(destination: str) -> str:
    """A destination without the user and password that a URL may hold."""
    return _USERINFO.sub("", destination)


def _plain(value: Any, key: str) -> Any:
    """A value as the log may hold it: no bytes, no arrays, no long texts."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return without_credentials(value)[:_LONGEST_TEXT]
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [
            _plain(item, key)
            for item in (value if isinstance(value, (list, tuple)) else sorted(value))
        ]
    raise TypeError(f"{key}: expected text, numbers or lists of them, got {type(value).__name__}")
