"""Readers of files that people hand in once, and that no target covers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from picosam_gaze.calibration.checks import CalibrationFileError
from picosam_gaze.calibration.pairs import MAX_BYTES, read_pairs

from picosam_sdk.cli.export import MAX_METRICS_BYTES
from picosam_sdk.cli.main import main
from picosam_sdk.errors import InputError
from picosam_sdk.modelcard import DEFAULT_MODEL
from picosam_sdk.training.shards import ShardWriter


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"miou": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{",
        b" " * MAX_METRICS_BYTES + b"{}",
    ],
    ids=["nested", "digits", "encoding", "long"],
)
def test_metrics_that_cannot_be_read_are_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_bytes(content)
    out = tmp_path / "out.onnx"
    assert main(["export", str(DEFAULT_MODEL), "-o", str(out), "--metrics", str(metrics)]) == 1
    assert "expected JSON" in capsys.readouterr().err
    assert not out.exists()


ENTRY = {"photo": "a/b", "shard": "objects-000.tar", "end": 1024, "objects": 2}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**ENTRY, "end": "x"}),
        json.dumps({**ENTRY, "end": float("inf")}),
        json.dumps({**ENTRY, "objects": []}),
        "[" * 5000,
    ],
    ids=["text", "infinite", "list", "nested"],
)
def test_a_journal_of_other_things_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match="journal"):
        ShardWriter(tmp_path)


def test_a_journal_makes_no_file_longer(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(json.dumps({**ENTRY, "end": 10**12}) + "\n")
    (tmp_path / "objects-000.tar.part").write_bytes(b"short")
    ShardWriter(tmp_path).close()
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 20_000


def test_pairs_of_too_many_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"scene_x,scene_y,sensor_x,sensor_y\n" + b"0" * MAX_BYTES)
    with pytest.raises(CalibrationFileError, match="bytes"):
        read_pairs(path)
