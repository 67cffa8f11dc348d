"""The first minute of a user: the wheel in an empty environment, away from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

# The cup of coffee.jpg and its handle, outlined by hand: x, y in pixels.
CUP_BOX = (171, 16, 240, 293)
CUP = [
    (290, 18), (332, 23), (370, 42), (397, 75), (408, 110), (406, 145), (392, 185), (378, 215),
    (364, 235), (345, 258), (325, 272), (300, 283), (270, 283), (248, 279), (235, 296), (215, 307),
    (199, 300), (197, 280), (207, 250), (218, 232), (200, 214), (183, 185), (174, 145), (173, 108),
    (182, 78), (205, 46), (245, 24),
]  # fmt: skip

THREE_LINES = """
import json, sys
image = sys.argv[1]
from picosam_sdk import Roi, Segmenter, load_image
image = load_image(image)
with Segmenter() as segmenter:
    mask = segmenter.segment(image, Roi.from_pixels(171, 16, 240, 293, image))
print(json.dumps(mask.rle()))
"""


@dataclass
class Installed:
    """An environment with the wheel and what it depends on, and an empty folder to work in."""

    bin: Path
    cwd: Path

    def run(self, program: str, *args: str | Path) -> str:
        # Nothing of the checkout, and no tool's settings, may reach the environment.
        env = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
        done = subprocess.run(
            [self.bin / program, *args], cwd=self.cwd, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, root],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("picosam_sdk-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    installed = Installed(folder / "venv" / "bin", folder)
    installed.run("python", "-m", "pip", "install", "--quiet", wheel)
    return installed


@pytest.fixture(scope="module")
def photo(installed: Installed) -> Path:
    code = "import picosam_sdk; print(picosam_sdk.__path__[0])"
    package = Path(installed.run("python", "-c", code).strip())
    assert package.is_relative_to(installed.cwd), "imported from elsewhere"
    return package / "assets" / "photos" / "coffee.jpg"


def _iou_with_cup(rle: dict[str, object]) -> float:
    truth = np.zeros((400, 600), np.uint8)
    cv2.fillPoly(truth, [np.array(CUP, np.int32)], 1)
    mask = coco.decode(rle)
    assert mask.shape == truth.shape
    return float((mask & truth).sum() / (mask | truth).sum())


def test_wheel_holds_what_runs_and_no_more(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assets = "picosam_sdk/assets/"
    assert {
        "picosam_sdk/py.typed",
        f"{assets}picosam3.onnx",
        f"{assets}picosam3.json",
        f"{assets}photos.json",
        f"{assets}SOURCES.md",
        f"{assets}photos/coffee.jpg",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"picosam_sdk"}
    assert wheel.stat().st_size < 8_000_000


def test_segment_command(installed: Installed, photo: Path) -> None:
    roi = ",".join(str(value) for value in CUP_BOX)
    result = json.loads(installed.run("picosam", "segment", photo, "--roi", roi, "--json"))
    assert result["roi"] == list(CUP_BOX)
    assert 0.5 < result["score"] <= 1
    assert result["area_px"] == coco.area(result["rle"])
    assert result["bbox"] == coco.toBbox(result["rle"]).tolist()
    assert set(result["timings_ms"]) >= {"crop", "network", "mask"}
    assert _iou_with_cup(result["rle"]) > 0.75


def test_three_lines(installed: Installed, photo: Path) -> None:
    rle = json.loads(installed.run("python", "-W", "error", "-c", THREE_LINES, photo))
    assert _iou_with_cup(rle) > 0.75


def test_runs_without_what_trains(installed: Installed) -> None:
    code = (
        "from importlib.util import find_spec as f; print(f('torch'), f('onnx'), f('matplotlib'))"
    )
    assert installed.run("python", "-c", code).split() == ["None"] * 3
    report = json.loads(installed.run("picosam", "doctor", "--json"))
    assert report["model"]["ok"]
    assert report["packages"]["torch"] is None


def test_demo_writes_its_pictures(installed: Installed) -> None:
    table = installed.run("picosam", "demo", "-o", "out")
    assert "cup" in table
    pictures = [cv2.imread(str(path)) for path in (installed.cwd / "out").iterdir()]
    assert len(pictures) > 4
    assert all(picture is not None for picture in pictures)


def test_the_first_minute_is_as_the_docs_say(installed: Installed, root: Path) -> None:
    """Each command of the transcript, in order, and every line that it is said to print."""
    text = (root / "docs" / "first-minute.md").read_text("utf-8")
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    steps = [step.partition("\n") for step in blocks.removeprefix("$ ").split("\n$ ")]
    assert [command for command, _, _ in steps[:2]] == [
        "python3 -m venv picosam", ". picosam/bin/activate",
    ]  # fmt: skip
    env = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    env["PATH"] = f"{installed.bin}:{env['PATH']}"
    for command, _, printed in steps[3:]:
        done = subprocess.run(
            command, shell=True, cwd=installed.cwd, env=env, capture_output=True, text=True
        )
        assert done.returncode == int("picosam: " in printed), f"{command}\n{done.stderr}"
        lines = {_shape(line) for line in (done.stdout + done.stderr).splitlines()}
        missing = [line for line in printed.splitlines() if _shape(line) not in lines]
        assert not missing, f"{command}\n{done.stdout}{done.stderr}"


def _shape(line: str) -> str:
    """A line without its numbers and its spacing."""
    return " ".join(re.sub(r"\d+(\.\d+)?", "#", line).split())
