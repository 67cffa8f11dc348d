"""The protocol of points: where each is put, and what its mask counts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from picosam_sdk import CropRule, Mask, ModelCard, Plugins, Roi, Segmenter
from picosam_sdk.evaluation.annotations import Dataset, read_dataset
from picosam_sdk.evaluation.cases import inner_point
from picosam_sdk.evaluation.protocol import evaluate_points
from picosam_sdk.types import size_of
from tests.fakes import RedPlugin

ANAMORPHIC = CropRule(size_px=96, padding=0.10, square=False)


def test_the_inner_point_is_farthest_from_the_edge() -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:40, 20:25] = True
    mask[30:39, 20:50] = True
    x, y = inner_point(mask) or (0, 0)
    assert mask[int(y), int(x)]
    assert y == 34.5
    assert inner_point(np.zeros((4, 4), bool)) is None
    single = np.zeros((4, 4), bool)
    single[1, 3] = True
    assert inner_point(single) == (3.5, 1.5)
    assert inner_point(np.ones((9, 9), bool)) == (4.5, 4.5)  # the picture's border counts


def test_points_are_answered_by_a_segmenter(dataset: Dataset) -> None:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin, "red")
    with Segmenter("red", plugins=plugins) as segmenter:
        result = evaluate_points(segmenter, dataset)
    assert result.ious.min() > 0.9
    assert result.prompts == tuple(instance.roi for instance in dataset.instances)
    assert result.summary()["protocol"]["prompt"] == "point"
    assert result.summary()["clipped_miou"] is None


def test_without_pixels_the_point_is_the_middle_of_the_box(made: Any, edited: Any) -> None:
    """Some of COCO's polygons are smaller than a pixel."""
    speck = [10.1, 10.1, 10.3, 10.1, 10.2, 10.3]
    path = edited(
        lambda raw: raw["annotations"][0].update(segmentation=[speck], bbox=[8, 6, 5, 10])
    )

    class Asked:
        card = ModelCard(name="asked", network="lite", crop=ANAMORPHIC)
        points: ClassVar[list[tuple[float, float]]] = []

        def segment(self, image: Any, *, point: tuple[float, float]) -> Mask:
            self.points.append(point)
            return Mask(
                logits=-np.ones((96, 96), np.float32), roi=Roi(0, 0, 1, 1), score=0.0,
                size_px=size_of(image),
            )  # fmt: skip

    result = evaluate_points(Asked(), read_dataset(path, made.images))
    assert Asked.points[0] == (10.5, 11)
    assert result.ious[0] == 1.0  # both are empty


def test_a_points_mask_outside_of_the_frame_counts_against_it(dataset: Dataset) -> None:
    """A mask of the whole picture: its IoU is that of the whole picture, not of the frame."""

    class Everything:
        card = ModelCard(name="all", network="lite", crop=ANAMORPHIC)

        def segment(self, image: Any, *, point: tuple[float, float]) -> Mask:
            height_px, width_px = image.shape[:2]
            truth = image[..., 0].astype(int) - image[..., 1] > 100
            assert truth[int(point[1]), int(point[0])]
            return Mask(
                logits=np.ones((96, 96), np.float32), roi=Roi(0, 0, 1, 1), score=0.7,
                size_px=(width_px, height_px), prompt=None,
            )  # fmt: skip

    result = evaluate_points(Everything(), dataset)
    assert result.scores == pytest.approx([0.7] * 4)
    for instance, value in zip(result.instances, result.ious, strict=True):
        assert value == pytest.approx(instance.mask().mean(), rel=0.03)
