"""The audit log: what is in it, what never is, and what happens when it cannot be written."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import EgressError
from picosam_sdk.egress import Audit, Gate
from picosam_sdk.settings import EgressRule
from tests.egress.scenes import GAZE, result

FULL = Path("/dev/full")  # every write to it fails, as on a full disk
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _send(gate: Gate, count: int, now_ns: int = 0) -> None:
    for _ in range(count):
        admitted = gate.admit(result(gaze=GAZE), now_ns)
        assert admitted is not None
        gate.release(admitted)
        gate.sent(50)


def test_grants_destinations_counts_and_bytes_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path, 100_000, 3)
    gate = Gate("wall", EgressRule(grants=("cutout",), max_rate_hz=5), audit,
                destination="mqtts://me:secret@broker:8883/picosam")  # fmt: skip
    Gate("idle", EgressRule(), audit)
    _send(gate, 1)
    assert gate.admit(result(), 1) is None
    audit.close()
    opened, grant, idle, counts, closed = _lines(path)
    assert [opened["event"], idle["recipient"], closed["event"]] == ["opened", "idle", "closed"]
    assert (grant["event"], grant["recipient"], grant["grants"]) == ("grant", "wall", ["cutout"])
    assert grant["destination"] == "mqtts://broker:8883/picosam"
    assert counts["event"] == "counts"
    assert (counts["sent"], counts["bytes"], counts["images"]) == (1, 50, {"cutout": 1})
    assert counts["withheld"] == {"gaze": 1, "prompt": 1, "result_rate": 1}
    assert "secret" not in path.read_text()
    audit.close()
    assert len(_lines(path)) == 5


@pytest.mark.parametrize("content", [b"bytes", np.zeros(3), object(), {"deep": [np.zeros(1)]}])
def test_content_has_no_place(tmp_path: Path, content: Any) -> None:
    audit = Audit(tmp_path / "log", 10_000, 2)
    with pytest.raises(TypeError, match="value"):
        audit.record("event", value=content)
    audit.close()


def test_long_texts_are_cut(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "log", 10_000, 2)
    audit.record("event", value="x" * 5000)
    audit.close()
    assert len(_lines(tmp_path / "log")[1]["value"]) == 300


def test_counts_are_written_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    audit = Audit(path, 100_000, 2, interval_s=0.02)
    gate = Gate("wall", EgressRule(), audit)
    _send(gate, 3)
    deadline = time.monotonic() + 5
    while "counts" not in path.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    counts = [line for line in _lines(path) if line["event"] == "counts"]
    assert counts
    assert counts[-1]["sent"] == 3
    audit.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "picosam-audit"]


def test_only_its_owner_may_read_it_and_it_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(0o644)
    audit = Audit(path, 500, 3)
    for number in range(60):
        assert audit.record("event", number=number)
    audit.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log", "log.1", "log.2"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert all(file.stat().st_size <= 500 for file in files)
    kept = [line["number"] for file in (files[2], files[1], files[0]) for line in _lines(file)
            if "number" in line]  # fmt: skip
    assert kept == list(range(kept[0], 60))
    assert len(kept) > 10


def test_one_file_is_begun_anew(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "log", 300, 1)
    for number in range(20):
        audit.record("event", number=number)
    audit.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"event": "grant", "recip')
    audit = Audit(path, 10_000, 2)
    audit.close()
    assert json.loads(path.read_text().splitlines()[1])["event"] == "opened"


def test_a_log_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    audit = Audit(path, 10_000, 2)
    path.rename(tmp_path / "elsewhere")
    assert audit.record("event")
    audit.close()
    assert _lines(path)[0]["event"] == "event"


@pytest.mark.parametrize("path", ["no/such/folder/log", "."])
def test_a_log_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path, path: str) -> None:
    with pytest.raises(EgressError, match="audit log") as got:
        Audit(tmp_path / path, 1000, 2)
    assert "policy.audit_log" in got.value.hint


@needs_full
def test_a_full_disk_is_an_error_at_the_start() -> None:
    with pytest.raises(EgressError, match="No space left"):
        Audit(FULL, 1000, 2)


@needs_full
def test_a_disk_that_fills_later_stops_pictures_and_gaze_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log"
    audit = Audit(path, 100_000, 2, interval_s=3600)
    gate = Gate("wall", EgressRule(grants=("pixels", "gaze")), audit)
    _send(gate, 1)
    os.rename(path, tmp_path / "kept")  # noqa: PTH104
    path.symlink_to(FULL)
    audit.write_counts()
    assert audit.stats == {"lines": 2, "failures": 1, "failed": True}
    admitted = gate.admit(result(gaze=GAZE), 0)
    assert admitted is not None
    assert admitted.mask is not None
    assert (admitted.frame.image, admitted.gaze, admitted.roi) == (None, None, None)
    assert gate.stats["withheld"] == {"image_no_audit": 1, "gaze_no_audit": 1, "prompt": 1}
    path.unlink()  # there is space again
    audit.write_counts()
    assert not audit.failed
    again = gate.admit(result(gaze=GAZE), 0)
    assert again is not None
    assert again.frame.image is not None
    assert again.gaze == GAZE
    audit.close()
    events = [line["event"] for line in _lines(path)]
    assert events == ["write_failed", "counts", "counts", "closed"]
    assert _lines(path)[-2]["images"] == {"pixels": 2}


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    audit = Audit(None, 1000, 2)
    gate = Gate("wall", EgressRule(grants=("pixels",)), audit)
    _send(gate, 1)
    audit.write_counts()
    audit.close()
    assert not list(tmp_path.iterdir())
    assert not audit.failed
