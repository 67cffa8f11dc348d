"""The report: what it holds, and that its page needs nothing but the files beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from picosam_sdk import InputError, Plugins, Segmenter
from picosam_sdk.evaluation import gallery
from picosam_sdk.evaluation.annotations import Dataset
from picosam_sdk.evaluation.cases import read_cases
from picosam_sdk.evaluation.page import page
from picosam_sdk.evaluation.paper import PAPER
from picosam_sdk.evaluation.protocol import predict_boxes
from picosam_sdk.evaluation.report import make_folder, write_report
from picosam_sdk.evaluation.suite import JITTER_LEVELS, Suite, run_suite
from tests.fakes import RedPlugin

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order; collects what the page refers to, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.files: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.files += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Segmenter]:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin, "red")
    with Segmenter("red", plugins=plugins) as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def suite(segmenter: Segmenter, dataset: Dataset) -> Suite:
    return run_suite(segmenter, dataset)


@pytest.fixture(scope="module")
def report(
    segmenter: Segmenter, dataset: Dataset, suite: Suite, tmp_path_factory: Any
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("report") / "new"
    return folder, write_report(segmenter.backend, dataset, suite, folder)


def test_a_suite_has_every_pass_over_the_same_objects(
    segmenter: Segmenter, dataset: Dataset, suite: Suite
) -> None:
    assert tuple(suite.boxes) == JITTER_LEVELS == tuple(PAPER[0].jitter)
    assert {len(result.ious) for result in (*suite.boxes.values(), suite.points)} == {4}
    assert suite.exact.protocol["jitter"] == 0
    assert suite.boxes[0.3].prompts != suite.exact.prompts
    summary = suite.summary()
    assert summary["miou"] == suite.exact.ious.mean()
    assert summary["jitter20_miou"] == suite.boxes[0.2].ious.mean()
    assert summary["point_miou"] == suite.points.ious.mean()
    done: list[int] = []
    part = run_suite(segmenter, dataset, levels=[0.2], limit=3, progress=done.append)
    assert list(part.boxes) == [0.0, 0.2]  # the exact boxes are always among them
    assert sum(done) == 3 * 3


def test_the_page_stands_by_itself(report: tuple[Path, dict[str, Any]]) -> None:
    folder, values = report
    parser = Page()
    text = (folder / "report.html").read_text(encoding="utf-8")
    parser.feed(text)
    assert parser.open == []
    assert not parser.tags & {"script", "link", "iframe"}
    assert "http" not in text
    pictures = {f for f in parser.files if cv2.imread(str(folder / f)) is not None}
    assert pictures == set(parser.files)
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == pictures | {"report.html", "report.json"}
    for heading in ("Headline", "Size of the object", "Careless boxes", "Competing objects",
                    "How far its own score can be believed", "Worst"):  # fmt: skip
        assert heading in parser.text
    summary = values["summary"]
    assert f"{100 * summary['miou']:.1f}" in parser.text
    for figure in ("65.5", "64.0", "58.1", "56.5", "52.1"):  # the paper's
        assert figure in parser.text


def test_the_json_holds_every_figure(
    report: tuple[Path, dict[str, Any]], suite: Suite, dataset: Dataset
) -> None:
    folder, values = report
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(values))
    assert values["summary"] == suite.summary()
    assert [row["level"] for row in values["jitter"]] == [0, 0.05, 0.1, 0.2, 0.3]
    assert values["jitter"][0]["miou"] == values["summary"]["miou"]
    assert values["jitter"][3]["miou"] == values["summary"]["jitter20_miou"]
    assert values["paper"][0]["jitter"][3] == {"level": 0.2, "miou": 0.581}
    assert sum(values["iou_histogram"]["counts"]) == 4
    assert sum(group["n"] for group in values["by_side"]) == 4
    assert sum(group["n"] for group in values["calibration"]["bins"]) == 4
    best, worst = values["gallery"]["best"][0], values["gallery"]["worst"][0]
    assert best["iou"] == suite.exact.ious.max()
    assert worst["iou"] == suite.exact.ious.min()
    known = {instance.id: instance for instance in dataset.instances}
    assert worst["category"] == known[worst["id"]].category


def test_an_old_report_is_replaced_and_one_object_suffices(
    segmenter: Segmenter, dataset: Dataset, tmp_path: Path
) -> None:
    make_folder(tmp_path)
    (tmp_path / "objects" / "worst-8.jpg").write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine")
    suite = run_suite(segmenter, dataset, levels=[], limit=1)
    values = write_report(segmenter.backend, dataset, suite, tmp_path)
    assert not (tmp_path / "objects" / "worst-8.jpg").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [len(entries) for entries in values["gallery"].values()] == [1, 1, 1]
    assert json.loads((tmp_path / "report.json").read_text())["summary"]["n"] == 1


def test_names_are_escaped(report: tuple[Path, dict[str, Any]]) -> None:
    values = json.loads(json.dumps(report[1]))
    values["gallery"]["best"][0]["category"] = '<b>"salt" & pepper'
    values["summary"]["model"]["name"] = "<script>"
    parser = Page()
    parser.feed(page(values))
    assert "script" not in parser.tags
    assert '<b>"salt" & pepper' in parser.text


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a folder to write to at .*file") as caught:
        make_folder(tmp_path / "file" / "report")
    assert caught.value.hint


def test_the_gallery_chooses_by_iou() -> None:
    ious = np.array([0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2])
    assert gallery.choose(ious, 2) == {"best": [1, 5], "median": [4, 0], "worst": [2, 6]}
    assert gallery.choose(ious, 8) == gallery.choose(ious, 2)  # a third of seven
    assert gallery.choose(np.array([0.5]), 8) == {"best": [0], "median": [0], "worst": [0]}


def test_a_drawn_object_shows_prompt_mask_and_truth(segmenter: Segmenter, dataset: Dataset) -> None:
    pairs = list(predict_boxes(segmenter.backend, read_cases(dataset, [0])))
    picture = gallery.draw(*pairs[0])
    side = gallery.PANEL_PX
    assert picture.shape == (side, 2 * side + gallery.GAP_PX, 3)
    plain, marked = picture[:, :side].astype(int), picture[:, -side:].astype(int)

    def near(panel: Any, color: tuple[int, int, int]) -> Any:
        return np.abs(panel - color).max(-1) < 30

    red = (255, 20, 20)
    blended = tuple(round(0.45 * a + 0.55 * b) for a, b in zip(red, gallery.FILL, strict=True))
    filled = near(marked, blended)
    assert filled.mean() == pytest.approx(near(plain, red).mean(), rel=0.15)
    assert not near(marked, red).mean() > 0.01
    assert near(marked, gallery.OUTLINE).sum() > side
    assert near(plain, gallery.PROMPT).sum() > 2 * side
    assert not near(plain, gallery.OUTLINE).any()
    # The L stands on its foot: its upper right is free.
    rows, columns = np.nonzero(filled)
    assert filled[rows.max() - 4, columns.max() - 4]
    assert not filled[rows.min() + 4, columns.max() - 4]


def test_without_matplotlib_the_install_line_is_given() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from picosam_sdk import MissingExtraError
try:
    import picosam_sdk.evaluation.report
except MissingExtraError as error:
    print(error, error.hint)
import picosam_sdk.evaluation.suite
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'matplotlib'" in done.stdout
    assert "picosam-sdk[train]" in done.stdout
