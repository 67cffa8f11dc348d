"""Files of pairs, of lenses and of calibrations; what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picosam_gaze.calibration import (
    Calibration,
    CalibrationError,
    CalibrationFileError,
    Pairs,
    fit,
    load_calibration,
    read_lens,
    read_pairs,
    save_calibration,
)
from picosam_gaze.lens import Lens

from picosam_sdk.errors import InputError

SCENE_PX, SENSOR_PX = (1600, 1200), (2028, 1520)
LENS = Lens(
    SCENE_PX, ((890, 0, 810), (0, 889, 600), (0, 0, 1)),
    (-0.13, 0.1, 0, 0, 0.0002, 0.17, 0.05, 0.02),
)  # fmt: skip


def a_set() -> Pairs:
    """Twelve pairs, not quite exact."""
    scene = np.array([[x, y] for x in (0.2, 0.4, 0.6, 0.8) for y in (0.2, 0.5, 0.8)])
    noise = np.random.default_rng(4).normal(0, 0.001, scene.shape)
    return Pairs(scene, scene * 0.8 + 0.1 + noise, SCENE_PX, SENSOR_PX)


def write(
    path: Path, rows: list[list[Any]], head: str = "scene_x,scene_y,sensor_x,sensor_y"
) -> Path:
    path.write_text(head + "\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


@pytest.mark.parametrize("lens", [None, LENS])
def test_a_calibration_comes_back_from_its_file(tmp_path: Path, lens: Lens | None) -> None:
    found = fit(a_set(), lens)
    save_calibration(found, tmp_path / "c.json")
    back = load_calibration(tmp_path / "c.json")
    assert back == found
    assert back.mapping.point(0.3, 0.7) == found.mapping.point(0.3, 0.7)
    assert json.loads((tmp_path / "c.json").read_text())["version"] == 1


def stored(found: Calibration, path: Path) -> dict[str, Any]:
    save_calibration(found, path)
    raw: dict[str, Any] = json.loads(path.read_text())
    return raw


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "something"}, "another file"),
        ({"version": 2}, "version 1"),
        ({"homography": [[1, 0], [0, 1]]}, "3 x 3"),
        ({"homography": [[1, 0, 0], [0, 1, 0], [0, 0, "x"]]}, "complete"),
        ({"homography": None}, "complete"),
        ({"homography": [[1, 0, 0], [0, 1e999, 0], [0, 0, 1]]}, "complete"),
        ({"lens": {"size_px": [1, 1]}}, "complete"),
        ({"lens": {"size_px": [1600, 1200], "camera_matrix": 3, "distortion": []}}, "complete"),
        ({"error": {"median": 1}}, "complete"),
        ({"scene_px": [0, 0]}, "complete"),
        ({"outliers": None}, "complete"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    raw = stored(fit(a_set()), tmp_path / "c.json")
    (tmp_path / "c.json").write_text(json.dumps({**raw, **change}).replace("Infinity", "1e999"))
    with pytest.raises(CalibrationFileError, match=words):
        load_calibration(tmp_path / "c.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"NaN", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(CalibrationFileError):
        load_calibration(tmp_path / "c.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CalibrationFileError, match="No such file"):
        load_calibration(tmp_path / "c.json")
    with pytest.raises(CalibrationFileError, match="No such file"):
        read_pairs(tmp_path / "c.csv")
    with pytest.raises(CalibrationFileError, match="expected to write"):
        save_calibration(fit(a_set()), tmp_path / "none" / "c.json")


def test_pairs_in_pixels_and_in_shares(tmp_path: Path) -> None:
    pixels = write(tmp_path / "p.csv", [[160, 240, 202.8, 152], [800, 600, 1014, 760]])
    pairs = read_pairs(pixels, SCENE_PX, SENSOR_PX)
    assert pairs.scene == pytest.approx(np.array([[0.1, 0.2], [0.5, 0.5]]))
    assert pairs.sensor == pytest.approx(np.array([[0.1, 0.1], [0.5, 0.5]]))
    shares = tmp_path / "s.csv"
    shares.write_text("﻿name,sensor_y,sensor_x,scene_y,scene_x\na,0.1,0.2,0.3,0.4\n")
    pairs = read_pairs(shares)
    assert pairs.scene.tolist() == [[0.4, 0.3]]
    assert pairs.sensor.tolist() == [[0.2, 0.1]]
    with pytest.raises(CalibrationError, match="sizes of both"):
        read_pairs(shares, SCENE_PX)


@pytest.mark.parametrize(
    ("head", "row", "words"),
    [
        ("x,y", [1, 2], "expected the columns"),
        ("scene_x,scene_y,sensor_x,sensor_y", [0.1, 0.2, 0.3, "left"], "line 2.*'left'"),
        ("scene_x,scene_y,sensor_x,sensor_y", [0.1, 0.2, 0.3], "sensor_y in line 2"),
        ("scene_x,scene_y,sensor_x,sensor_y", [0.1, "nan", 0.3, 0.1], "scene_y in line 2"),
        ("", [], "expected the columns"),
    ],
)
def test_a_wrong_line_of_pairs_is_named(
    tmp_path: Path, head: str, row: list[Any], words: str
) -> None:
    with pytest.raises(CalibrationFileError, match=words):
        read_pairs(write(tmp_path / "p.csv", [row], head))


def test_too_many_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationFileError, match="at most 5000"):
        read_pairs(write(tmp_path / "p.csv", [[0.1, 0.2, 0.3, 0.4]] * 5001))


@pytest.mark.parametrize("name", ["distortion", "distortion_coefficients", "dist_coefs"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_lens_as_cameras_export_it(tmp_path: Path, name: str, nested: bool) -> None:
    distortion: list[Any] = list(LENS.distortion)
    raw = {"camera_matrix": LENS.matrix, name: [distortion] if nested else distortion}
    path = tmp_path / "scene_camera.json"
    path.write_text(json.dumps(raw))
    assert read_lens(path, SCENE_PX) == LENS
    with pytest.raises(CalibrationFileError, match="size"):
        read_lens(path, None)
    path.write_text(json.dumps({**raw, "size_px": SCENE_PX}))
    assert read_lens(path, None) == LENS


@pytest.mark.parametrize(
    "raw", [{}, [], {"camera_matrix": [[1]], "distortion": [0] * 5},
            {"camera_matrix": LENS.matrix, "distortion": "none"}]
)  # fmt: skip
def test_what_is_no_lens_file_is_refused(tmp_path: Path, raw: Any) -> None:
    (tmp_path / "l.json").write_text(json.dumps(raw))
    with pytest.raises(InputError):
        read_lens(tmp_path / "l.json", SCENE_PX)
