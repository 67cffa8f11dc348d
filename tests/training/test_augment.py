"""Views keep picture and mask together, and prompts are jittered as the paper says."""

from __future__ import annotations

import numpy as np
import pytest

from picosam_sdk import CropRule
from picosam_sdk.training.augment import AugmentConfig, degrade, jitter, plain_view, training_view
from picosam_sdk.training.data import Sample

RULE = CropRule(square=False)
NOTHING = AugmentConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
SHAPES = AugmentConfig(0.3, 0.3, 0.5, 0.3, 0.5, 0, 0, 0, 0, 0)


def red_sample(seed: int) -> Sample:
    """An object that is red where its mask is, and nothing else is."""
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(80, 168, 2))
    image = np.full((height, width, 3), 90, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    y, x = height // 4, width // 3
    mask[y : y + height // 2, x : x + width // 4] = 255
    mask[y : y + height // 6, x : x + width // 2] = 255
    image[mask > 0] = (220, 10, 10)
    return Sample(image, mask, (x, y, width // 2, height // 2), "made", str(seed))


def green_cutout() -> Sample:
    alpha = np.zeros((60, 50), np.uint8)
    alpha[5:55, 5:45] = 255
    image = np.full((60, 50, 3), (10, 220, 10), np.uint8)
    return Sample(image, alpha, (0, 0, 50, 60), "made", "cutout")


@pytest.mark.parametrize("seed", range(30))
def test_the_mask_follows_the_object_through_every_change_of_shape(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, target = training_view(red_sample(seed), [green_cutout()], RULE, SHAPES, rng)
    assert image.shape == (96, 96, 3)
    assert target.shape == (96, 96)
    values = image.astype(int)
    red, green = values[..., 0] - values[..., 1] > 60, values[..., 1] - values[..., 0] > 60
    sure = (target > 250) | (target < 5)
    is_object = target > 127
    # The object is the red thing, or the green one where the cut-out was made the object. Turning
    # fills the corners with a reflection, in which a part of the thing may show a second time.
    agreement = max(np.mean((colour == is_object)[sure]) for colour in (red, green))
    assert agreement > 0.9


def test_without_augmentation_a_view_is_the_crop_rule_or_its_mirror_image() -> None:
    sample = red_sample(1)
    plain, target = plain_view(sample, RULE)
    view, view_target = training_view(sample, [], RULE, NOTHING, np.random.default_rng(0))
    mirrored = np.array_equal(view, plain[:, ::-1]) and np.array_equal(view_target, target[:, ::-1])
    assert mirrored or (np.array_equal(view, plain) and np.array_equal(view_target, target))


def test_views_are_deterministic_in_the_generator() -> None:
    config = AugmentConfig(small=1, blur=1, noise=1, jpeg=1, colour=1)
    first, second = (
        training_view(red_sample(2), [green_cutout()], RULE, config, np.random.default_rng(7))
        for _ in range(2)
    )
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_degrading_changes_values_and_not_the_format() -> None:
    config = AugmentConfig(small=1, blur=1, noise=1, jpeg=1, colour=1)
    image, _ = plain_view(red_sample(3), RULE)
    for seed in range(10):
        worse = degrade(image, config, np.random.default_rng(seed))
        assert worse.dtype == np.uint8
        assert worse.shape == image.shape
        assert not np.array_equal(worse, image)


def test_jitter_follows_the_papers_definition() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([jitter((100, 50, 40, 20), 0.2, rng) for _ in range(20_000)])
    cx, cy = boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3] / 2
    assert (np.abs(cx - 120) <= 0.1 * 40 + 1e-9).all()
    assert (np.abs(cy - 60) <= 0.1 * 20 + 1e-9).all()
    assert cx.std() == pytest.approx(0.2 * 40 / np.sqrt(12), rel=0.05)  # uniform
    assert (boxes[:, 2] / 40).std() == pytest.approx(0.1, rel=0.05)  # Gaussian
    assert (boxes[:, 3] / 20).mean() == pytest.approx(1, abs=0.01)
