"""``picosam gaze calibrate | plot | evaluate``, as a user calls it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import picosam_gaze.command
import pytest
from picosam_gaze.calibration import load_calibration
from picosam_gaze.filters import View
from picosam_gaze.traces import TraceConfig, make_trace

from picosam_sdk import Plugins, app
from picosam_sdk.cli.main import main
from picosam_sdk.recording import Recording
from picosam_sdk.testing.contract import CommandContract

SCENE_PX, SENSOR_PX = (1600, 1200), (2028, 1520)
START_NS = 1_750_000_000_000_000_000


class TestGazeCommand(CommandContract):
    command: ClassVar[Any] = picosam_gaze.command


def test_it_is_offered_as_a_verb() -> None:
    assert "gaze" in [command.name for command in Plugins().commands()]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Fifteen pairs in pixels, with some noise, and one that is wrong (row 5)."""
    rng = np.random.default_rng(1)
    rows = []
    for x in np.linspace(100, 1500, 5):
        for y in np.linspace(100, 1100, 3):
            u, v = x * 1.1 + 0.05 * y + 40, y * 1.15 + 60
            rows.append([x, y, *(np.array([u, v]) + rng.normal(0, 2, 2))])
    rows[4][2] += 300
    path = tmp_path / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scene_x", "scene_y", "sensor_x", "sensor_y"])
        writer.writerows(rows)
    return path


@pytest.fixture
def neon(tmp_path: Path) -> Path:
    """Ten seconds as Neon exports them."""
    trace = make_trace(TraceConfig(seconds=10, rate_hz=200, seed=4, noise_deg=0.2))
    folder = tmp_path / "neon"
    folder.mkdir()
    (folder / "info.json").write_text('{"module_serial_number": "100"}')
    with (folder / "gaze.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp [ns]", "gaze x [px]", "gaze y [px]", "worn"])
        for gaze in trace.gazes(View(103, 4 / 3)):
            place = ["", ""] if math.isnan(gaze.x) else [gaze.x * 1600, gaze.y * 1200]
            writer.writerow([START_NS + gaze.timestamp_ns, *place, "1.0"])
    return folder


def sizes() -> list[str]:
    return ["--scene-size", "1600x1200", "--sensor-size", "2028x1520"]


def test_calibrate_prints_the_error_and_writes_the_mapping(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibration.json"
    assert main(["gaze", "calibrate", str(pairs), *sizes(), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "14 of 15 pairs agree; not: row 5" in said
    assert "error between the pairs  median 0." in said
    assert "px)" in said
    x, y = load_calibration(out).mapping.point(0.5, 0.5)
    assert (x * 2028, y * 1520) == pytest.approx((800 * 1.1 + 30 + 40, 600 * 1.15 + 60), abs=4)


def test_calibrate_in_json_and_with_a_lens(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lens = tmp_path / "scene_camera.json"
    matrix = [[890, 0, 800], [0, 890, 600], [0, 0, 1]]
    lens.write_text(json.dumps({"camera_matrix": matrix, "distortion_coefficients": [0] * 8}))
    out = tmp_path / "c.json"
    args = ["gaze", "calibrate", str(pairs), *sizes(), "--lens", str(lens), "-o", str(out)]
    assert main([*args, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["inliers"], said["outliers"]) == (14, [5])
    assert said["lens"]["camera_matrix"] == matrix
    assert said == json.loads(out.read_text())


def test_calibrate_refuses_in_two_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.csv"
    rows = "\n".join(f"{x},{x},{x},{x}" for x in (0.1, 0.3, 0.5, 0.7, 0.9))
    path.write_text(f"scene_x,scene_y,sensor_x,sensor_y\n{rows}\n")
    out = tmp_path / "c.json"
    assert main(["gaze", "calibrate", str(path), "-o", str(out)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "points on a line" in said[0]
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "pairs.csv"],
        ["calibrate", "pairs.csv", "-o", "c.json", "--scene-size", "wide"],
        ["calibrate", "pairs.csv", "-o", "c.json", "--max-error", "0"],
        ["plot", "x", "--filter", "none"],
        ["plot", "x", "--seconds", "-1"],
        ["evaluate", "--seeds", "0"],
        ["evaluate", "--pursuit", "2"],
        ["evaluate", "--rates", "fast"],
        [],
    ],
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["gaze", *words])
    assert caught.value.code == 2
    assert "usage: picosam gaze" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["gaze", "evaluate", "--rates", "120", "--noise", "0.1", "0.5", "--seconds", "15",
           "--seeds", "1"]  # fmt: skip
    assert main(few) == 0
    said = capsys.readouterr().out
    for words in ("I-VT\n", "I-DT\n", "20 ms as published", "120 Hz", "0.1 deg", "0.5 deg"):
        assert words in said
    assert main([*few, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 10
    best = next(row for row in rows if (row["filter"], row["noise_deg"]) == ("I-VT", 0.1))
    assert best["fixation_f1"] > 0.9
    assert best["fixations"] > 20
    worse = next(row for row in rows if "One-Euro" in row["filter"] and row["noise_deg"] == 0.1)
    assert best["point_error_deg"] < worse["point_error_deg"]
    poor = [row for row in rows if "as published" in row["filter"] and row["noise_deg"] == 0.5]
    assert all(row["fixation_f1"] < 0.2 for row in poor)


def test_plot_of_a_neon_export(
    neon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gaze.png"
    assert main(["gaze", "plot", str(neon), "-o", str(out), "--dwell-ms", "300", "--fov",
                 "103", "--json"]) == 0  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert said["simulated"]
    assert said["rate_hz"] == pytest.approx(200, abs=1)
    assert 15 <= said["fixations"] <= 40
    assert said["points"] >= 3
    picture = cv2.imread(str(out))
    assert picture is not None
    orange = np.abs(picture.astype(int) - (120, 180, 235)).sum(axis=2) < 60
    assert orange.sum() > 200, "the prompts are drawn"


def test_plot_of_a_part_and_of_another_kind_of_file(neon: Path, tmp_path: Path) -> None:
    out = tmp_path / "gaze.svg"
    file = str(neon / "gaze.csv")
    assert main(["gaze", "plot", file, "-o", str(out), "--start", "2", "--seconds", "3",
                 "--filter", "idt"]) == 0  # fmt: skip
    assert "</svg>" in out.read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--start", "99"], "expected gaze between"),
        (["-o", "gaze.gif"], "ends in .png, .pdf, .svg"),
        (["-o", "no/such/folder/gaze.png"], "expected to write"),
        (["--fov", "500"], "fov_deg"),
        (["--config", "none.toml"], "configuration file at none.toml"),
    ],
)
def test_plot_refuses_in_two_lines(
    neon: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["gaze", "plot", str(neon), *words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert expected in said[0]


def test_plot_without_matplotlib_says_how_to_install_it(neon: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.modules['matplotlib.figure'] = None\n"
        "from picosam_sdk.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "gaze", "plot", str(neon), "-o",
         str(tmp_path / "x.png")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Install it with: pip install 'picosam-gaze[plot]'"


TOML = """
[camera]
kind = "synthetic"
speed = 0.0
fps = 0
frames = {frames}
[run]
max_fps = 60.0
[[roi]]
kind = "gaze"
mapping = "identity"
fov_deg = 103
source = {{ kind = "replay", path = "steady.jsonl" }}
prompt = {{ dwell_ms = 100 }}
region = "looked at"
[[publish]]
kind = "record"
path = "run"
logits = false
queue = 1000
egress = {{ grants = {grants} }}
"""


def a_run(folder: Path, grants: str, frames: int = 45) -> dict[str, Any]:
    """Runs the whole pipeline on a gaze that rests on the camera's object."""
    from picosam_sdk.cameras.synthetic import Scene, SyntheticConfig

    (x, y) = Scene(SyntheticConfig(speed=0.0)).boxes(0)[0].center
    lines = [
        {"gaze": [x, y], "timestamp_ns": START_NS + number * 10_000_000, "ages_ms": {"gaze": 0}}
        for number in range(300)
    ]
    (folder / "steady.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (folder / "picosam.toml").write_text(TOML.format(frames=frames, grants=grants))
    with app.build(app.load(folder / "picosam.toml")) as application:
        application.run()
        stats: dict[str, Any] = application.stats()
    return stats


def test_a_run_from_gaze_to_recording_to_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from picosam_sdk.cameras.synthetic import Scene, SyntheticConfig

    stats = a_run(tmp_path, '["gaze"]')["roi"]["gaze"]["own"]
    assert stats["points"] == stats["objects"] == 1
    assert stats["objects_lost"] == 0
    entries = Recording(tmp_path / "run").entries
    prompted = [entry for entry in entries if entry.prompt is not None]
    assert len(prompted) > 10
    assert {entry.region for entry in prompted} == {"looked at"}
    box = Scene(SyntheticConfig(speed=0.0)).boxes(0)[0]
    last = prompted[-1].prompt
    assert last is not None
    assert last.iou(box.grow(0.1)) > 0.8, "the object's own box, grown"
    out = tmp_path / "run.png"
    config = tmp_path / "picosam.toml"
    capsys.readouterr()
    assert main(["gaze", "plot", str(tmp_path / "run"), "-o", str(out), "--config",
                 str(config), "--json"]) == 0  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert not said["simulated"]
    assert said["prompts"] >= 1
    assert out.stat().st_size > 10_000


def test_a_recording_without_gaze_says_what_to_grant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats = a_run(tmp_path, "[]")["roi"]["gaze"]["own"]
    assert stats["objects"] == 1, "the prompter needs no grant"
    lines = (tmp_path / "run" / "recording.jsonl").read_text()
    assert '"gaze":null' in lines
    assert main(["gaze", "plot", str(tmp_path / "run"), "-o", str(tmp_path / "x.png")]) == 1
    assert "grants = ['gaze']" in capsys.readouterr().err


def test_plot_maps_by_the_calibration_of_the_configuration(
    neon: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibration.json"
    assert main(["gaze", "calibrate", str(pairs), *sizes(), "-o", str(out)]) == 0
    (tmp_path / "picosam.toml").write_text(
        "[[roi]]\nkind = 'gaze'\ncalibration = 'calibration.json'\n"
        "source = { kind = 'udp', port = 5005 }\nprompt = { dwell_ms = 250 }\n"
    )
    capsys.readouterr()
    assert main(["gaze", "plot", str(neon), "-o", str(tmp_path / "a.png"), "--config",
                 str(tmp_path / "picosam.toml"), "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["points"] >= 3
    (tmp_path / "picosam.toml").write_text("[[roi]]\nkind = 'fixed'\nbox = [0, 0, 1, 1]\n")
    assert main(["gaze", "plot", str(neon), "--config", str(tmp_path / "picosam.toml")]) == 1
    assert "kind = 'gaze'" in capsys.readouterr().err
