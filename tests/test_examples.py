"""Every example runs as its docstring says, and is short enough to read."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from picosam_sdk.modelcard import DEFAULT_MODEL

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs an example in an empty folder."""

    def run(name: str, *args: object, fails: bool = False) -> str:
        command = [sys.executable, "-P", "-W", "error", str(EXAMPLES / name), *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    return run


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_has_at_most_40_lines_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert path.name in text.split('"""')[1]
    assert f'"{path.name}"' in Path(__file__).read_text("utf-8"), "no test runs it"


def test_one_photo(run: Run, photos: Path, tmp_path: Path) -> None:
    out = run("one_photo.py", photos / "coffee.jpg", 171, 16, 240, 293)
    assert re.search(r"score 0\.[5-9]\d, \d{5} pixels", out)
    assert cv2.imread(str(tmp_path / "one_photo.png")).shape == (400, 600, 3)


def test_many_boxes(run: Run, photos: Path) -> None:
    out = run("many_boxes.py", photos / "astronaut.jpg", "19,13,345,499", "276,342,236,170")
    annotations = json.loads(out)
    assert [annotation["id"] for annotation in annotations] == [1, 2]
    for annotation in annotations:
        assert coco.area(annotation["segmentation"]) == annotation["area"] > 10_000


def test_detector_boxes(run: Run, photos: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "boxes.npy", np.array([[171, 16, 411, 309], [0, 0, 600, 400.0]]))
    out = run("detector_boxes.py", photos / "coffee.jpg", "boxes.npy")
    assert len(re.findall(r"^box .*: \d+ pixels, score 0\.\d\d$", out, re.MULTILINE)) == 2


def test_measure(run: Run, tmp_path: Path, photos: Path) -> None:
    """A coffee cup scaled by two is twice as long, whatever the network makes of its border."""
    cup = cv2.imread(str(photos / "coffee.jpg"))
    small = cv2.resize(cup, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    sheet = np.full((400, 900, 3), 128, np.uint8)
    sheet[:, :600], sheet[100:300, 600:900] = cup, small
    cv2.imwrite(str(tmp_path / "sheet.png"), sheet)
    out = run("measure.py", "sheet.png", "171,16,240,293", 100, "685,108,120,146")
    longer_mm = int(out.split(" x ")[0])
    assert 42 <= longer_mm <= 58


def test_own_model(run: Run, photos: Path, tmp_path: Path) -> None:
    for path in (DEFAULT_MODEL, DEFAULT_MODEL.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    args = (photos / "chelsea.jpg", 200, 150)
    out = run("own_model.py", DEFAULT_MODEL.name, *args)
    assert "picosam3: lite, 96 px, int8" in out
    assert re.search(r"score 0\.\d\d, \d+ pixels", out)
    (tmp_path / DEFAULT_MODEL.name).write_bytes(b"no model")
    assert "expected sha256" in run("own_model.py", DEFAULT_MODEL.name, *args, fails=True)


def test_own_roi_source(run: Run) -> None:
    lines = run("own_roi_source.py", 4).splitlines()
    assert [line.split()[2].rstrip(":") for line in lines] == ["right", "left", "right", "left"]


def test_own_publisher(run: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        run("own_publisher.py", server.getsockname()[1], 3)
        messages = [json.loads(server.recv(4096)) for _ in range(3)]
    assert [message["frame"] for message in messages] == [0, 1, 2]
    assert all(len(message["bbox"]) == 4 for message in messages)


def test_background_blur(run: Run, photos: Path, tmp_path: Path) -> None:
    photo = photos / "coffee.jpg"
    assert "left as they were" in run("background_blur.py", photo, 171, 16, 240, 293)
    before, after = cv2.imread(str(photo)), cv2.imread(str(tmp_path / "background_blur.png"))
    same = (before == after).all(axis=2)
    assert same[100:150, 230:350].mean() > 0.9, "the cup"
    assert same[:, 500:].mean() < 0.2, "the table"


def test_webcam(run: Run, tmp_path: Path) -> None:
    video = cv2.VideoWriter(
        str(tmp_path / "red.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240)
    )
    for step in range(10):
        frame = np.full((240, 320, 3), 90, np.uint8)
        cv2.circle(frame, (150 + 2 * step, 120), 40, (30, 30, 230), -1)
        video.write(frame)
    video.release()
    lines = run("webcam.py", "red.mp4").splitlines()
    assert len(lines) >= 5
    assert all(re.match(r"frame \d+: \d+ x \d+ px at", line) for line in lines)


def test_gaze_glasses(run: Run, tmp_path: Path) -> None:
    """The whole app on its own clip: masks come by MQTT, and agree with the truth."""
    out = run("gaze_glasses/app.py", "-o", "glasses")
    figures = json.loads((tmp_path / "glasses" / "figures.json").read_text())
    assert "object held for 1.0 s" in out
    assert figures["masks_received"] > 0.8 * figures["frames"] > 100
    found = [row for row in figures["fixations"] if (row["miou"] or 0) > 0.6]
    assert {"cup", "helmet"} <= {row["object"] for row in found}, figures["fixations"]
    assert all(row["to_mask_s"] > 0.3 for row in found)  # the eye has to rest first
    assert min(row["to_mask_s"] for row in found) < 2
    assert sum(figures["bytes_received"].values()) < figures["bytes_of_frames"] / 1000
    for name in ("glasses.jpg", "figure.png"):
        assert cv2.imread(str(tmp_path / "glasses" / name)) is not None
    film = cv2.VideoCapture(str(tmp_path / "glasses" / "glasses.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) > 100
    film.release()


def test_gaze_glasses_in_the_emulated_camera_and_with_glasses_that_are_not_calibrated(
    run: Run, tmp_path: Path
) -> None:
    out = run("gaze_glasses/app.py", "-o", "glasses", "--backend", "imx500-emulated")
    frames, masks = map(int, re.findall(r"^(\d+) frames, (\d+) with a mask", out, re.MULTILINE)[0])
    assert frames == 240
    assert masks > 60
    refused = run("gaze_glasses/app.py", "-o", "glasses", "--source", "udp", fails=True)
    assert "picosam gaze calibrate" in refused
