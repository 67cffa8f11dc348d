"""The command line as a user meets it: results, --json, --help, exit codes, two-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from picosam_sdk import __version__, load_image
from picosam_sdk.cli.main import VERBS, main


def json_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert main(argv) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_segment_a_roi(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, mask, overlay = photos / "chelsea.jpg", tmp_path / "m.png", tmp_path / "o.png"
    result = json_of(
        capsys, "segment", str(photo), "--roi", "0,0,403,300",
        "-o", str(mask), "--overlay", str(overlay), "--json",
    )  # fmt: skip
    assert set(result) == {"roi", "score", "bbox", "area_px", "rle", "timings_ms"}
    assert result["roi"] == [0, 0, 403, 300]
    bits = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert bits.shape == load_image(photo).shape[:2]
    assert set(np.unique(bits)) == {0, 255}
    assert np.array_equal(coco_mask.decode(result["rle"]) * 255, bits)  # type: ignore[arg-type]
    assert np.count_nonzero(bits) == result["area_px"]
    x, y, width, height = cv2.boundingRect(bits)
    assert result["bbox"] == [x, y, width, height]
    changed = (load_image(overlay) != load_image(photo)).any(2)
    assert changed[bits > 0].mean() > 0.95
    assert not changed[bits == 0].any()


def test_percent_and_pixels_are_the_same_roi(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(photos / "astronaut.jpg")  # 512 x 512
    percent = json_of(capsys, "segment", photo, "--roi", "25,25,50,50%", "--json")
    pixels = json_of(capsys, "segment", photo, "--roi", "128,128,256,256", "--json")
    assert percent["rle"] == pixels["rle"]
    assert percent["roi"] == [128, 128, 256, 256]
    by_point = json_of(capsys, "segment", photo, "--point", "50,50%", "--json")
    assert (
        by_point["rle"] == json_of(capsys, "segment", photo, "--point", "256,256", "--json")["rle"]
    )


def test_segment_in_words(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(photos / "coffee.jpg"), "--point", "290,150"]) == 0
    assert capsys.readouterr().out.startswith("score 0.")


def test_demo_writes_pictures_of_every_photograph(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "-o", str(tmp_path / "out")]) == 0
    names = {path.stem for path in photos.glob("*.jpg")}
    assert {path.stem for path in (tmp_path / "out").iterdir()} == names | {"contact_sheet"}
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["photo", "prompt", "score", "area", "ms"]
    assert "(point)" in table
    assert "(box)" in table
    for name in names:
        drawn, photo = (
            load_image(tmp_path / "out" / f"{name}.jpg"),
            load_image(photos / f"{name}.jpg"),
        )
        assert drawn.shape == photo.shape
        assert np.abs(drawn.astype(int) - photo).mean() > 2
    assert load_image(tmp_path / "out" / "contact_sheet.jpg").shape[0] == 560


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    report = json_of(capsys, "doctor", "--json")
    backends = report["backends"]
    assert isinstance(backends, dict)
    assert backends["onnx"] == "available"
    model = report["model"]
    assert isinstance(model, dict)
    assert model["ok"] is True
    assert len(model["card"]["sha256"]) == 64
    assert main(["doctor"]) == 0
    assert "onnxruntime" in capsys.readouterr().out


def test_doctor_bench_prints_a_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from picosam_sdk import bench

    whole = bench.whole_path
    monkeypatch.setattr(bench, "whole_path", lambda: whole(rounds=5))
    report = json_of(capsys, "doctor", "--bench", "--json")
    bench_of = report["bench"]
    assert isinstance(bench_of, dict)
    assert set(bench_of) == set(bench.ROI_SIZES_PX)
    for row in bench_of.values():
        assert row["ratio"] == pytest.approx(row["whole_path_ms"] / row["network_ms"], rel=0.02)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"usage: picosam {verb}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"picosam {__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [[], ["nonsense"], ["segment", "x.jpg"], ["segment", "x.jpg", "--roi", "1", "--point", "2"]],
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_error_is_two_lines_and_no_traceback_unless_asked_for(photos: Path) -> None:
    command = [sys.executable, "-m", "picosam_sdk.cli.main"]
    segment = ["segment", str(photos / "chelsea.jpg"), "--roi", "9000,0,10,10"]
    done = subprocess.run([*command, *segment], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("picosam: expected a ROI that overlaps the picture")
    assert second
    done = subprocess.run([*command, "--debug", *segment], capture_output=True, text=True)
    assert "Traceback" in done.stderr


def test_ctrl_c_ends_cleanly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("picosam_sdk.segmenter.Segmenter.__init__", interrupted)
    assert main(["demo", "-o", "/tmp"]) == 130
    assert capsys.readouterr().err == "picosam: interrupted\n"
