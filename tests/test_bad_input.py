"""Every kind of bad input in one table: a typed error that says expected, actual, and what next.

Each row is fed to the library and, where the command line can meet it, to the command line.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import InputError, ModelError, PicoSamError, Roi, Segmenter
from picosam_sdk.cli.main import main
from picosam_sdk.modelcard import DEFAULT_MODEL, card_path

IMAGE = np.zeros((50, 80, 3), np.uint8)
BOX = Roi(0.25, 0.25, 0.5, 0.5)
NAN, INF = float("nan"), float("inf")


def segment(image: Any, roi: Any = None, point: Any = None) -> Callable[[], Any]:
    def call() -> Any:
        with Segmenter() as segmenter:
            return segmenter.segment(image, roi, point=point)

    return call


@dataclass(frozen=True)
class Case:
    """A call that must fail, and words that its message must hold."""

    name: str
    call: Callable[[], Any]
    says: str
    error: type[PicoSamError] = InputError


CASES = [
    Case("no image", segment(None, BOX), "got NoneType"),
    Case("a number for an image", segment(7, BOX), "got int"),
    Case("float values", segment(IMAGE / 255.0, BOX), "uint8 values 0 to 255, got float64"),
    Case("16-bit values", segment(IMAGE.astype(np.uint16), BOX), "got uint16"),
    Case("channels first", segment(np.zeros((3, 50, 80), np.uint8), BOX), "(3, 50, 80)"),
    Case("two channels", segment(np.zeros((50, 80, 2), np.uint8), BOX), "(50, 80, 2)"),
    Case("one dimension", segment(np.zeros(80, np.uint8), BOX), "(80,)"),
    Case("a batch", segment(IMAGE[None], BOX), "(1, 50, 80, 3)"),
    Case("no pixels", segment(np.zeros((0, 80, 3), np.uint8), BOX), "at least 1 x 1"),
    Case("no such file", segment("no_such_photo.jpg", BOX), "does not exist"),
    Case("a directory", segment(Path(__file__).parent, BOX), "the directory"),
    Case("no prompt", segment(IMAGE), "got neither"),
    Case("two prompts", segment(IMAGE, BOX, (1, 1)), "got both"),
    Case("a tuple for a ROI", segment(IMAGE, (1, 2, 3, 4)), "expected a Roi, got tuple"),
    Case("ROI right of it", segment(IMAGE, Roi(1.0, 0.2, 0.3, 0.3)), "overlaps the picture"),
    Case("ROI above it", segment(IMAGE, Roi(0.2, -0.5, 0.3, 0.4)), "overlaps the picture"),
    Case("zero width", lambda: Roi(0.1, 0.1, 0.0, 0.5), "above zero, got 0.0 x 0.5"),
    Case("negative height", lambda: Roi.from_pixels(5, 5, 9, -3, IMAGE), "above zero"),
    Case("NaN in a ROI", lambda: Roi(NAN, 0, 1, 1), "four finite numbers"),
    Case("None in a ROI", lambda: Roi(None, 0, 1, 1), "four finite numbers"),  # type: ignore[arg-type]
    Case("endless ROI", lambda: Roi.from_pixels(0, 0, INF, 5, IMAGE), "four finite numbers"),
    Case("NaN point", segment(IMAGE, point=(NAN, 3)), "a point inside the picture"),
    Case("point outside", segment(IMAGE, point=(80, 3)), "a point inside the picture"),
    Case("negative point", segment(IMAGE, point=(-1, 3)), "a point inside the picture"),
    Case("point of three", segment(IMAGE, point=(1, 2, 3)), "expected a point (x, y)"),
    Case("words for a point", segment(IMAGE, point="ab"), "expected a point (x, y)"),
    Case("no such model", lambda: Segmenter(model="no.onnx"), "no such file", ModelError),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_library_says_expected_actual_and_what_next(case: Case) -> None:
    with pytest.raises(case.error) as caught:
        case.call()
    assert str(caught.value).startswith("expected ")
    assert " got " in str(caught.value)
    assert case.says in str(caught.value)
    assert caught.value.hint.endswith(".")


def test_grey_and_rgba_are_accepted_and_equal_their_rgb(photos: Path) -> None:
    from picosam_sdk import load_image

    rgb = load_image(photos / "chelsea.jpg")
    grey = rgb[:, :, 1]
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    with Segmenter() as segmenter:
        for converted, same in ((rgba, rgb), (grey, np.dstack([grey] * 3))):
            first, second = (segmenter.segment(image, BOX) for image in (converted, same))
            assert np.array_equal(first.logits, second.logits)


def truncated_jpeg(folder: Path, photo: Path) -> list[str]:
    path = folder / "cut.jpg"
    path.write_bytes(photo.read_bytes()[:20_000])
    return ["segment", str(path), "--roi", "10,10,50,50"]


def directory(folder: Path, photo: Path) -> list[str]:
    return ["segment", str(folder), "--roi", "10,10,50,50"]


def text_file(folder: Path, photo: Path) -> list[str]:
    path = folder / "words.jpg"
    path.write_text("these are words")
    return ["segment", str(path), "--point", "10,10"]


def wrong_hash(folder: Path, photo: Path) -> list[str]:
    model = folder / "model.onnx"
    model.write_bytes(DEFAULT_MODEL.read_bytes()[:-1])
    shutil.copy(card_path(DEFAULT_MODEL), card_path(model))
    return ["segment", str(photo), "--point", "10,10", "--model", str(model)]


def unwritable(folder: Path, photo: Path) -> list[str]:
    return ["segment", str(photo), "--point", "10,10", "-o", str(folder / "no" / "mask.png")]


def not_coco(folder: Path, photo: Path) -> list[str]:
    path = folder / "other.json"
    path.write_text(json.dumps({"shapes": []}))
    return ["evaluate", "--images", str(folder), "--annotations", str(path)]


def not_json(folder: Path, photo: Path) -> list[str]:
    path = folder / "broken.json"
    path.write_text('{"images": [')
    return ["evaluate", "--images", str(folder), "--annotations", str(path)]


def arguments(*rest: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, photo: ["segment", str(photo), *rest]


CLI_CASES: list[tuple[Callable[[Path, Path], list[str]], str]] = [
    (truncated_jpeg, "truncated"),
    (directory, "the directory"),
    (text_file, "words.jpg"),
    (wrong_hash, "expected sha256"),
    (unwritable, "expected to write"),
    (not_coco, "COCO-format"),
    (not_json, "JSON"),
    (arguments("--roi", "1,2,3"), "expected --roi x,y,width,height with 4 numbers, got '1,2,3'"),
    (arguments("--roi", "a,b,c,d"), "got 'a,b,c,d'"),
    (arguments("--roi", "10,10,0,5"), "above zero"),
    (arguments("--roi", "nan,10,5,5"), "finite"),
    (arguments("--roi", "5000,10,5,5"), "overlaps the picture"),
    (arguments("--roi", "150,10,5,5%"), "overlaps the picture"),
    (arguments("--point", "5000,5"), "a point inside the picture"),
    (arguments("--point", "5"), "expected --point x,y with 2 numbers"),
]


@pytest.mark.parametrize(("make", "says"), CLI_CASES)
def test_the_command_line_prints_two_lines_and_exits_with_1(
    make: Callable[[Path, Path], list[str]], says: str, tmp_path: Path, photos: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(make(tmp_path, photos / "chelsea.jpg")) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 2, captured.err
    assert lines[0].startswith("picosam: ")
    assert says in lines[0]
    assert lines[1].endswith(".")
