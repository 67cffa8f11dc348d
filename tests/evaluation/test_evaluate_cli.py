"""``picosam evaluate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

import picosam_sdk.segmenter
from picosam_sdk import InputError, Plugins
from picosam_sdk.cli import evaluate
from tests.fakes import RedPlugin


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Puts the red backend in the place of the ONNX one; lists the options it was asked for."""
    real, options = picosam_sdk.segmenter.Segmenter, []

    def fake(**given: Any) -> Any:
        options.append(given)
        plugins = Plugins(discover=False)
        plugins.register(RedPlugin, "red")
        return real("red", plugins=plugins)

    monkeypatch.setattr(picosam_sdk.segmenter, "Segmenter", fake)
    return options


def run(made: Any, *more: str) -> int:
    return run_bare("--images", str(made.images), "--annotations", str(made.coco), *more)


def run_bare(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="picosam")
    evaluate.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *arguments])
    return int(args.run(args))


def test_json_is_one_document_and_progress_goes_to_stderr(
    made: Any, opened: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made, "--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert {
        "miou", "map", "n", "se", "by_size", "by_competitors", "baselines", "model", "protocol",
    } <= set(document)  # fmt: skip
    assert document["miou"] > 0.95
    assert document["n"] == 4
    assert document["model"]["name"] == "red"
    assert document["model"]["crop"]["padding"] == 0.1
    assert document["protocol"]["crowds_left_out"] == 1
    assert set(document["baselines"]) == {"box", "ellipse"}
    assert "4/4" in err
    assert opened == [{"model": None, "threads": 1}]


def test_the_table_has_a_row_a_group(
    made: Any, opened: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made, "--jitter", "0.2", "--limit", "3", "--threads", "2") == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert "3 of 4 objects (1 crowds left out)" in out
    assert "box, jitter 20%" in out
    assert rows["all"][1] == "3"
    assert {"small", "medium", "large", "0", "1-2", "3+"} <= set(rows)
    assert rows["large"][1:4] == ["0", "-", "-"]
    assert "clipped to the box grown by 10 %: " in out
    assert max(map(len, out.splitlines())) <= 90
    assert opened == [{"model": None, "threads": 2}]


def test_points(made: Any, opened: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(made, "--prompt", "point", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["protocol"]["prompt"] == "point"
    assert document["miou"] > 0.9
    with pytest.raises(InputError, match="no --jitter with --prompt point"):
        run(made, "--prompt", "point", "--jitter", "0.1")


def test_without_files_it_takes_the_bundled_objects(
    opened: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_bare("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == document["protocol"]["objects"] == 8
    for given in ("--images", "--annotations"):
        with pytest.raises(InputError, match=f"together, got only {given}"):
            run_bare(given, "anything")


def test_a_report_covers_all_passes(
    made: Any, opened: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "report"
    assert run(made, "--report", str(folder), "--limit", "3", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((folder / "report.json").read_text())
    assert "18/18" in err  # three objects, five levels of jitter and the points
    assert f"wrote {folder / 'report.html'}" in err
    assert (folder / "report.html").stat().st_size > 5_000
    for more in (["--jitter", "0.1"], ["--prompt", "point"]):
        with pytest.raises(InputError, match=f"with --report, got {' '.join(more)}"):
            run(made, "--report", str(folder), *more)


def test_a_report_that_cannot_be_written_fails_before_the_work(
    made: Any, opened: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder to write to"):
        run(made, "--report", str(tmp_path / "file"))
    assert opened == []


@pytest.mark.parametrize(
    "more",
    [
        ["--jitter", "20"],
        ["--jitter", "nan"],
        ["--jitter", "much"],
        ["--limit", "0"],
        ["--limit", "2.5"],
        ["--threads", "0"],
        ["--prompt", "text"],
    ],
)
def test_wrong_usage_exits_2(
    made: Any, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(made, *more)
    assert caught.value.code == 2
    assert more[0] in capsys.readouterr().err


def test_help_explains_itself(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(made, "--help")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "grown by 10 %, squared" in " ".join(out.split())
    assert "--jitter S" in out
