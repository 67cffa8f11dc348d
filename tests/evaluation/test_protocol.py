"""The protocol, with models whose IoU is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from picosam_sdk import (
    BackendError,
    CropRule,
    InputError,
    ModelCard,
    Roi,
)
from picosam_sdk.evaluation.annotations import Dataset, read_dataset
from picosam_sdk.evaluation.cases import jittered, spread
from picosam_sdk.evaluation.frame import SIZE, to_frame, truth_in_frame
from picosam_sdk.evaluation.protocol import evaluate
from picosam_sdk.geometry import crop_box
from picosam_sdk.types import PAPER_RULE, Box, ImageArray
from tests.fakes import RedBackend

ANAMORPHIC = CropRule(size_px=96, padding=0.10, square=False)


class Fixed:
    """Answers every crop with the same logits."""

    def __init__(
        self, logits: NDArray[Any], rule: CropRule = PAPER_RULE, score: float = 0.5
    ) -> None:
        self.card = ModelCard(name="fixed", network="lite", crop=rule, sha256="ab" * 32)
        self.logits, self.score = np.asarray(logits, np.float32), score
        self.batches: list[int] = []

    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert crops.dtype == np.uint8
        assert crops.shape[1:] == (self.card.crop.size_px,) * 2 + (3,)
        self.batches.append(len(crops))
        scores = np.full(len(crops), self.score, np.float32)
        return np.repeat(self.logits[None], len(crops), axis=0), scores


def ellipse_logits(size_px: int, padding: float) -> NDArray[np.float64]:
    """An ellipse that fills the unpadded box of an unsquared crop."""
    place = (np.arange(size_px) + 0.5) / size_px * 2 - 1
    radius = np.hypot(place[None], place[:, None]) * (1 + 2 * padding)
    return 1 - radius


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("padding", [0.1, 0.4])
def test_the_truth_scores_nearly_one(dataset: Dataset, padding: float, square: bool) -> None:
    backend = RedBackend(padding=padding, square=square)
    result = evaluate(backend, dataset)
    assert result.ious.min() > 0.92  # the thin triangle
    assert result.ious.mean() > 0.97
    assert backend.batches == [4]


def test_mirrored_or_turned_truth_scores_badly(dataset: Dataset) -> None:
    class Turned(RedBackend):
        def infer(self, crops: ImageArray) -> Any:
            logits, scores = super().infer(crops)
            return self.turn(logits), scores

        turn: Callable[[Any], Any]

    for turn in (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: x.swapaxes(1, 2)):
        backend = Turned(square=True)
        backend.turn = turn
        assert evaluate(backend, dataset).ious.mean() < 0.8


def test_an_ellipse_equals_the_baseline_whatever_the_crop(dataset: Dataset) -> None:
    whole = np.array([0, 1, 3])  # whose padded box (but not its square) lies inside the picture
    for padding in (0.1, 0.05):
        rule = CropRule(size_px=96, padding=padding, square=False)
        result = evaluate(Fixed(ellipse_logits(96, padding), rule), dataset)
        assert result.ious[whole] == pytest.approx(result.baselines["ellipse"][whole], abs=0.02)


def test_baselines_by_hand(dataset: Dataset) -> None:
    """The L fills 24 x 80 + 56 x 24 of 80 x 80 px; its frame is 96 x 96 px, so none is resized."""
    result = evaluate(Fixed(np.ones((96, 96))), dataset)
    area = 24 * 80 + 56 * 24
    assert result.ious[0] == area / 96**2
    assert result.baselines["box"][0] == area / 80**2
    y, x = np.mgrid[0:80, 0:80] + 0.5
    inside = (x - 40) ** 2 + (y - 40) ** 2 <= 40**2
    truth = (x < 24) | (y > 56)
    expected = (inside & truth).sum() / (inside | truth).sum()
    assert result.baselines["ellipse"][0] == pytest.approx(expected)


def test_under_the_papers_rule_logits_are_used_untouched() -> None:
    logits = np.zeros((SIZE, SIZE), np.float32)
    assert to_frame(logits, Box(3, 4, 50, 60), Box(3, 4, 50, 60)) is logits


@pytest.mark.parametrize("size_px", [96, 64])
@pytest.mark.parametrize(
    ("region", "frame"),
    [
        (Box(10, 20, 40, 110), Box(0, 15, 98, 113)),
        (Box(0, 0, 200, 300), Box(20, 30, 71, 60)),
        (Box(5, 5, 8, 6), Box(0, 0, 12, 12)),
    ],
)
def test_resampling_keeps_a_slope_in_its_place(region: Box, frame: Box, size_px: int) -> None:
    def centers(start: int, length: int, count: int) -> NDArray[np.float64]:
        return start + (np.arange(count) + 0.5) * length / count

    x = centers(region.x0, region.width, size_px)
    y = centers(region.y0, region.height, size_px)[:, None]
    result = to_frame((2 * x - 3 * y).astype(np.float32), region, frame)
    fx = centers(frame.x0, frame.width, SIZE) + 0 * np.zeros((SIZE, 1))
    fy = centers(frame.y0, frame.height, SIZE)[:, None] + np.zeros(SIZE)
    outside = (fx < region.x0) | (fx >= region.x1) | (fy < region.y0) | (fy >= region.y1)
    assert np.array_equal(np.isneginf(result), outside)
    rim_x, rim_y = region.width / size_px / 2, region.height / size_px / 2
    inner = (
        (fx >= region.x0 + rim_x)
        & (fx <= region.x1 - rim_x)
        & (fy >= region.y0 + rim_y)
        & (fy <= region.y1 - rim_y)
    )
    assert inner.sum() > 0
    assert result[inner] == pytest.approx((2 * fx - 3 * fy)[inner], abs=1e-3)


def test_the_truth_is_resampled_as_opencv_does() -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.5
    expected = cv2.resize(
        mask[3:33, 10:47].astype(np.uint8), (96, 96), interpolation=cv2.INTER_NEAREST
    )
    assert np.array_equal(truth_in_frame(mask, Box(10, 3, 47, 33)), expected > 0)


def test_jitter_follows_the_papers_definition() -> None:
    roi, level = Roi(0.4, 0.3, 0.2, 0.1), 0.2
    rng = np.random.default_rng(0)
    boxes = [jittered(roi, level, rng) for _ in range(4000)]
    centers = np.array([box.center for box in boxes])
    moved = (centers - roi.center) / (roi.width, roi.height)
    scaled = np.array([(box.width / roi.width, box.height / roi.height) for box in boxes])
    assert np.abs(moved).max() <= level / 2
    assert np.abs(moved).max() > 0.99 * level / 2
    assert moved.mean(0) == pytest.approx([0, 0], abs=0.005)
    assert moved.std(0) == pytest.approx([level / 12**0.5] * 2, rel=0.05)  # uniform
    assert scaled.mean(0) == pytest.approx([1, 1], abs=0.01)
    assert scaled.std(0) == pytest.approx([level / 2] * 2, rel=0.05)
    columns = np.column_stack([moved, scaled])
    assert np.abs(np.corrcoef(columns.T) - np.eye(4)).max() < 0.06  # all four independent
    assert jittered(roi, 0.0, rng) is roi


def test_a_jittered_box_stays_on_the_picture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        box = jittered(Roi(-0.019, -0.019, 0.02, 0.02), 1.0, rng)
        assert box.overlaps_view()


def test_a_jittered_box_depends_on_seed_and_annotation_only(dataset: Dataset) -> None:
    model = Fixed(np.ones((96, 96)))
    every = evaluate(model, dataset, jitter=0.3)
    again = evaluate(model, dataset, jitter=0.3)
    part = evaluate(model, dataset, jitter=0.3, limit=2)
    other = evaluate(model, dataset, jitter=0.3, seed=1)
    assert every.prompts == again.prompts
    assert len(set(every.prompts) | set(other.prompts)) == 8
    expected = {
        item.id: prompt for item, prompt in zip(every.instances, every.prompts, strict=True)
    }
    assert [expected[item.id] for item in part.instances] == list(part.prompts)
    exact = evaluate(model, dataset)
    assert exact.prompts == tuple(instance.roi for instance in dataset.instances)


def test_a_jittered_frame_moves_with_its_box(dataset: Dataset) -> None:
    result = evaluate(Fixed(np.ones((96, 96))), dataset, jitter=0.3)
    for instance, prompt, value in zip(result.instances, result.prompts, result.ious, strict=True):
        frame = crop_box(prompt, *instance.size_px, PAPER_RULE)
        assert value == truth_in_frame(instance.mask(), frame).mean()


def test_groups_by_size_and_by_competitors(tmp_path: Path) -> None:
    """Competitors are counted by hand, also among objects that the limit leaves out."""
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((400, 400, 3), np.uint8))
    boxes = [
        (100, 100, 100, 100),  # padded 90..210: holds the centres of the next three
        (110, 110, 10, 10),
        (190, 190, 36, 36),  # centre 208, 208
        (90, 90, 1, 1),  # centre 90.5, 90.5
        (10, 300, 31, 33),  # alone
        (210, 90, 2, 2),  # centre 211: just outside of the first's frame
        (205, 85, 8, 8),  # centre 209, 89: one row above it
    ]
    areas = [9216, 100, 1024, 1, 1023, 9215.9, 64]
    raw = {
        "images": [{"id": 1, "file_name": "a.png", "width": 400, "height": 400}],
        "annotations": [
            {
                "id": index,
                "image_id": 1,
                "bbox": box,
                "area": area,
                "category_id": 1,
                "segmentation": [[box[0], box[1], box[0] + 9, box[1], box[0], box[1] + 9]],
            }
            for index, (box, area) in enumerate(zip(boxes, areas, strict=True))
        ],
    }
    raw["annotations"].append(raw["annotations"][1] | {"iscrowd": 1, "id": 99})
    (tmp_path / "a.json").write_text(json.dumps(raw))
    dataset = read_dataset(tmp_path / "a.json", tmp_path)
    result = evaluate(Fixed(np.ones((96, 96))), dataset)
    assert result.competitors.tolist() == [3, 0, 0, 0, 0, 0, 1]
    sizes = {name: chosen.nonzero()[0].tolist() for name, chosen in result.size_groups().items()}
    assert sizes == {"small": [1, 3, 4, 6], "medium": [2, 5], "large": [0]}
    summary = result.summary()
    assert {name: group["n"] for name, group in summary["by_competitors"].items()} == {
        "0": 5, "1-2": 1, "3+": 1,
    }  # fmt: skip
    part = evaluate(Fixed(np.ones((96, 96))), dataset, limit=4)
    assert [instance.id for instance in part.instances] == [0, 2, 4, 6]
    assert part.competitors.tolist() == [3, 0, 0, 1]


def test_an_area_that_is_not_given_is_counted(made: Any, edited: Any) -> None:
    path = edited(lambda raw: [entry.pop("area") for entry in raw["annotations"]])
    result = evaluate(Fixed(np.ones((96, 96))), read_dataset(path, made.images))
    assert result.areas.tolist() == [made.masks[number].sum() for number in (1, 2, 3, 4)]


def test_objects_are_batched_across_pictures(made: Any, edited: Any) -> None:
    def edit(raw: dict[str, Any]) -> None:
        four = raw["annotations"][:4]
        raw["annotations"] = [
            entry | {"id": 10 * copy + entry["id"]} for copy in range(5) for entry in four
        ]

    dataset = read_dataset(edited(edit), made.images)
    model = RedBackend(square=True)
    done: list[int] = []
    result = evaluate(model, dataset, progress=done.append)
    assert model.batches == [16, 4]
    assert done == [1] * 20
    assert [instance.id % 10 for instance in result.instances] == [1, 2, 3, 4] * 5
    assert (
        np.ptp(result.ious.reshape(5, 4), axis=0).max() == 0
    )  # in the file's order, not the run's


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [
        (10, None, list(range(10))),
        (3, 5, [0, 1, 2]),
        (10, 1, [5]),
        (10, 2, [2, 7]),
        (1000, 4, [125, 375, 625, 875]),
    ],
)
def test_a_limit_is_spread_over_the_file(count: int, limit: int | None, expected: Any) -> None:
    assert spread(count, limit) == expected


def test_bad_arguments_pictures_and_models(made: Any, edited: Any, dataset: Dataset) -> None:
    ones = np.ones((96, 96))
    for jitter in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="jitter from 0 to 1"):
            evaluate(Fixed(ones), dataset, jitter=jitter)
    with pytest.raises(InputError, match="at least 1 object"):
        evaluate(Fixed(ones), dataset, limit=0)
    with pytest.raises(BackendError, match="finite logits"):
        evaluate(Fixed(ones * np.nan), dataset)
    with pytest.raises(BackendError, match="finite logits"):
        evaluate(Fixed(ones, score=float("inf")), dataset)

    def scale(raw: dict[str, Any]) -> None:
        raw["images"][0].update(width=640, height=400)

    path = edited(scale)
    with pytest.raises(InputError, match=r"640 x 400 px of its annotations, got 320 x 200"):
        evaluate(Fixed(ones), read_dataset(path, made.images))
    (made.images.parent / "bad").mkdir()
    for picture in made.images.iterdir():
        (made.images.parent / "bad" / picture.name).write_bytes(picture.read_bytes()[:500])
    with pytest.raises(InputError, match="truncated"):
        evaluate(Fixed(ones), read_dataset(made.coco, made.images.parent / "bad"))


def test_the_card_gives_the_threshold(dataset: Dataset) -> None:
    model = Fixed(np.full((96, 96), 1.0))
    assert evaluate(model, dataset).ious.min() > 0
    model.card = ModelCard(name="fixed", network="lite", crop=PAPER_RULE, threshold=0.8)
    assert evaluate(model, dataset).ious.tolist() == [0, 0, 0, 0]  # sigmoid(1) is 0.73


def test_clipping_to_the_grown_box_by_hand(dataset: Dataset) -> None:
    """Everything is predicted; grown, the wedge's box has 60 of the 95 columns of its frame."""
    result = evaluate(Fixed(np.ones((96, 96))), dataset)
    assert result.clipped_ious is not None
    assert result.clipped_ious[3] == pytest.approx(result.ious[3] * 95 / 60, rel=0.03)
    assert result.clipped_ious[0] == result.ious[0]  # a square box: the grown box is the frame
    assert result.summary()["clipped_miou"] == pytest.approx(result.clipped_ious.mean())
    anamorphic = evaluate(Fixed(np.ones((96, 96)), ANAMORPHIC), dataset)
    assert anamorphic.clipped_ious == pytest.approx(anamorphic.ious, abs=0.01)


@pytest.mark.data
def test_the_baselines_of_coco_dev(data_dir: Path) -> None:
    folder = data_dir / "eval" / "coco-dev"
    dataset = read_dataset(folder / "instances.json", folder / "images")
    baselines = evaluate(Fixed(np.ones((96, 96))), dataset).summary()["baselines"]
    table = {
        "box": {"small": 0.5989, "medium": 0.5487, "large": 0.5889},
        "ellipse": {"small": 0.6313, "medium": 0.5887, "large": 0.6194},
    }
    assert baselines["box"]["miou"] == pytest.approx(0.5806, abs=0.003)
    assert baselines["ellipse"]["miou"] == pytest.approx(0.6148, abs=0.003)
    for name, expected in table.items():
        found = {size: group["miou"] for size, group in baselines[name]["by_size"].items()}
        assert found == pytest.approx(expected, abs=0.003)
