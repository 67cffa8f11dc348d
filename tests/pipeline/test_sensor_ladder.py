"""The ladder over frames, against what the network sees under each ROI."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from picosam_sdk import Mask, Roi, Segmenter, load_image
from picosam_sdk.pipeline.sensor_ladder import MISSES, SIDES, SensorLadder
from picosam_sdk.points import bbox_roi
from picosam_sdk.samples import sample_photos
from picosam_sdk.types import ImageArray
from tests.fakes import red_scene
from tests.pipeline.conftest import Bench

POINT = (110 / 320, 100 / 200)
MOST_AIMS = 2 * len(SIDES)


@pytest.fixture
def red(bench: Bench) -> Iterator[Segmenter]:
    with Segmenter("red", plugins=bench.plugins) as segmenter:
        yield segmenter


def climb(
    ladder: SensorLadder, segmenter: Segmenter, image: ImageArray, point: tuple[float, float]
) -> tuple[Mask | None, list[Roi]]:
    """Looks until there is a mask; gives it and the ROIs that were aimed at."""
    aims: list[Roi] = []
    for _ in range(MOST_AIMS + 1):
        roi = ladder.aim(point)
        aims.append(roi)
        mask = ladder.take(segmenter.segment(image, roi))
        if mask is not None:
            return mask, aims
    return None, aims


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_point_finds_its_object_and_stays_on_it(red: Segmenter) -> None:
    image, truth = red_scene()
    ladder = SensorLadder(320 / 200)
    mask, aims = climb(ladder, red, image, POINT)
    assert mask is not None
    assert iou(mask.paste(), truth) > 0.95
    assert len(aims) <= MOST_AIMS
    held = ladder.aim(POINT)
    assert held.iou(Roi.from_pixels(100, 60, 80, 80, image)) > 0.85
    for _ in range(5):  # a point that jitters on the object does not move the sensor
        assert ladder.aim((POINT[0] + 0.01, POINT[1] - 0.01)) == held
        assert ladder.take(red.segment(image, held)) is not None


def test_it_follows_an_object_that_moves(red: Segmenter) -> None:
    image, truth = red_scene()
    ladder = SensorLadder(320 / 200)
    climb(ladder, red, image, POINT)
    rois = set()
    for step in range(1, 25):
        moved = np.roll(image, 3 * step, axis=1)
        point = (POINT[0] + 3 * step / 320, POINT[1])
        roi = ladder.aim(point)
        rois.add(roi)
        mask = ladder.take(red.segment(moved, roi))
        assert mask is not None
        assert iou(mask.paste(), np.roll(truth, 3 * step, axis=1)) > 0.8
    assert 2 <= len(rois) <= 12  # it is aimed anew now and then, not with every frame


def test_a_point_beside_every_object_never_gives_a_mask(red: Segmenter) -> None:
    image, _ = red_scene()
    ladder = SensorLadder(320 / 200)
    mask, aims = climb(ladder, red, image, (0.85, 0.2))
    assert mask is None
    assert len(set(aims)) == len(SIDES)


def test_a_mask_that_no_longer_holds_the_point_is_withheld_and_the_climb_begins_again(
    red: Segmenter,
) -> None:
    image, _ = red_scene()
    two = image.copy()
    two[30:60, 250:290] = (255, 20, 20)
    ladder = SensorLadder(320 / 200)
    climb(ladder, red, two, POINT)
    there = (270 / 320, 45 / 200)
    held = ladder.aim(there)
    for _ in range(MISSES):
        assert ladder.aim(there) == held
        assert ladder.take(red.segment(two, held)) is None
    mask, _ = climb(ladder, red, two, there)
    assert mask is not None
    assert bbox_roi(mask).iou(Roi.from_pixels(250, 30, 40, 30, two)) > 0.8


def test_a_mask_of_a_roi_that_was_left_teaches_nothing(red: Segmenter) -> None:
    image, _ = red_scene()
    ladder = SensorLadder(320 / 200)
    first = ladder.aim(POINT)
    late = red.segment(image, Roi(0, 0, 1, 1))
    assert ladder.take(late) is None
    assert ladder.aim(POINT) == first


def test_another_region_and_a_reset_begin_anew(red: Segmenter) -> None:
    image, _ = red_scene()
    ladder = SensorLadder(320 / 200)
    climb(ladder, red, image, POINT)
    held = ladder.aim(POINT)
    assert ladder.aim(POINT, "other") != held
    climb(ladder, red, image, POINT)
    held = ladder.aim(POINT)
    ladder.reset()
    assert ladder.aim(POINT) != held


def test_on_photographs_it_finds_what_the_whole_ladder_finds() -> None:
    agreeing = 0
    with Segmenter() as segmenter:
        for photo in sample_photos():
            image = load_image(photo.path)
            height_px, width_px = image.shape[:2]
            for prompt in photo.prompts:
                if prompt.point is None:
                    continue
                whole = segmenter.segment(image, point=prompt.point)
                share = (prompt.point[0] / width_px, prompt.point[1] / height_px)
                mask, _ = climb(SensorLadder(width_px / height_px), segmenter, image, share)
                assert mask is not None
                agreeing += iou(mask.paste(), whole.paste()) > 0.6
    assert agreeing >= 2
