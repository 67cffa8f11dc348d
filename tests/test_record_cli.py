"""``picosam record``: what it records, what it grants, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import app
from picosam_sdk.cli.main import main
from picosam_sdk.recording import LINES, Recording
from picosam_sdk.testing.part_contract import eventually

CONFIG = """
[camera]
kind = "synthetic"
size_px = [160, 120]
frames = {frames}
fps = {fps}

[[roi]]
kind = "fixed"
box = [0.2, 0.2, 0.6, 0.6]

[[publish]]
kind = "jsonl"
name = "recording"
path = "other.jsonl"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "picosam.toml"
    path.write_text(CONFIG.format(frames=12, fps=40.0))
    return path


def _record(config: Path, *options: str) -> int:
    return main(["record", str(config), "-o", str(config.parent / "r"), *options])


def test_a_run_is_recorded_beside_its_own_publishers(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _record(config) == 0
    assert len(Recording(config.parent / "r").entries) == 12
    assert len((config.parent / "other.jsonl").read_text().splitlines()) == 12
    assert "recorded 12 results and 0 pictures" in capsys.readouterr().out
    assert not (config.parent / "r" / "frames").exists()


def test_pictures_with_frames_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _record(config, "--frames", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    recording = Recording(config.parent / "r")
    assert (done["results"], done["pictures"], done["dropped"]) == (12, 12, 0)
    size = sum(path.stat().st_size for path in (config.parent / "r" / "frames").iterdir())
    assert done["bytes"] == size + (config.parent / "r" / LINES).stat().st_size
    assert all(entry.image is not None for entry in recording.entries)


def test_jpg_and_hard_bits_take_less(config: Path) -> None:
    assert _record(config, "--frames", "--jpg", "--no-logits") == 0
    assert len(list((config.parent / "r" / "frames").glob("*.jpg"))) == 12
    assert (config.parent / "r" / LINES).stat().st_size < 12 * 1500


def test_what_it_recorded_is_replayed_with_no_more_than_another_kind(config: Path) -> None:
    assert _record(config, "--frames") == 0
    replay = config.parent / "replay.toml"
    replay.write_text(
        '[camera]\nkind = "replay"\npath = "r"\n[[roi]]\nkind = "replay"\npath = "r"\n'
    )
    assert main(["record", str(replay), "-o", str(config.parent / "again")]) == 0
    first, again = Recording(config.parent / "r"), Recording(config.parent / "again")
    masks = [
        [recording.result(entry, 0).mask for entry in recording.entries]
        for recording in (first, again)
    ]
    assert len(masks[0]) == len(masks[1]) == 12
    for one, other in zip(*masks, strict=True):
        assert one is not None
        assert other is not None
        assert one.rle() == other.rle()


def test_a_folder_with_something_in_it_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "r").mkdir()
    (config.parent / "r" / "mine").write_text("")
    assert _record(config) == 1
    assert "expected an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x"])
def test_wrong_usage(config: Path, seconds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        _record(config, "--seconds", seconds)
    assert caught.value.code == 2


def test_it_stops_after_the_seconds(config: Path) -> None:
    config.write_text(CONFIG.format(frames=0, fps=40.0))
    assert _record(config, "--seconds", "0.4") == 0
    assert 2 <= len(Recording(config.parent / "r").entries) <= 40


def test_its_table_has_only_the_grants_that_were_given(config: Path) -> None:
    import argparse

    from picosam_sdk.cli import record

    def grants(*options: str) -> Any:
        parser = argparse.ArgumentParser()
        record.add_parser(parser.add_subparsers())
        args = parser.parse_args(["record", str(config), "-o", "r", *options])
        name, changed = record._with_recorder(app.load(config), args)
        assert name == "recording-"
        assert changed.publish[:-1] == app.load(config).publish
        return changed.publish[-1].egress.grants

    assert grants() == ("gaze",)
    assert grants("--no-gaze") == ()
    assert grants("--frames") == ("pixels", "gaze")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(config: Path, number: int, root: Path) -> None:
    config.write_text(CONFIG.format(frames=0, fps=40.0))
    folder = config.parent / "r"
    program = [sys.executable, "-m", "picosam_sdk.cli.main", "record", str(config),
               "-o", str(folder), "--frames", "--json"]  # fmt: skip
    with subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        lines = folder / LINES
        assert eventually(lambda: lines.exists() and lines.stat().st_size > 20_000, 30)
        os.kill(recorder.pid, number)
        os.kill(recorder.pid, number)
        done = json.loads(recorder.stdout.read())
    assert recorder.returncode == 0
    recording = Recording(folder)
    assert len(recording.entries) == done["results"] == done["pictures"]
    assert lines.read_bytes().endswith(b"\n")


def test_what_the_documentation_shows_works(
    config: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each configuration of docs/recording.md is one, and its program runs over a recording."""
    text = (root / "docs" / "recording.md").read_text("utf-8")
    tables = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(tables) == 3
    for index, table in enumerate(tables):
        path = config.parent / f"{index}.toml"
        path.write_text(table)
        app.make_parts(app.load(path))
    assert _record(config) == 0
    (config.parent / "r").rename(config.parent / "monday")
    monkeypatch.chdir(config.parent)
    capsys.readouterr()
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], {})
    assert len(capsys.readouterr().out.splitlines()) == 12
