"""Segmenter: prompts, batches, the point ladder, and the real model on real photographs."""

from __future__ import annotations

import numpy as np
import pytest

from picosam_sdk import InputError, Mask, Plugins, Roi, Segmenter, UnknownPluginError, load_image
from picosam_sdk.points import SIDES
from picosam_sdk.samples import sample_photos
from tests.fakes import RedBackend, RedPlugin, red_scene


@pytest.fixture
def plugins() -> Plugins:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin(), "red")
    return plugins


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("square", [False, True])
def test_box_prompt_finds_the_object_where_it_is(plugins: Plugins, square: bool) -> None:
    image, truth = red_scene()
    with Segmenter("red", plugins=plugins, square=square) as segmenter:
        mask = segmenter.segment(image, Roi.from_pixels(100, 60, 80, 80, image))
    assert iou(mask.paste(), truth) > 0.95
    assert mask.prompt == Roi.from_pixels(100, 60, 80, 80, image)
    assert mask.size_px == (320, 200)
    assert set(segmenter.timings_ms) == {"crop", "network", "mask"}


@pytest.mark.parametrize("point", [(110, 70), (170, 130), (105, 135)])
def test_point_prompt_runs_a_ladder_and_refines(plugins: Plugins, point: tuple[int, int]) -> None:
    image, truth = red_scene()
    with Segmenter("red", plugins=plugins) as segmenter:
        mask = segmenter.segment(image, point=point)
        backend = segmenter.backend
    assert iou(mask.paste(), truth) > 0.9
    assert isinstance(backend, RedBackend)
    assert len(backend.batches) == 2  # the ladder, then the masks' boxes
    assert backend.batches[0] == len(SIDES) >= backend.batches[1] > 0
    assert backend.closed


def test_a_point_on_nothing_gives_an_empty_mask(plugins: Plugins) -> None:
    image, _ = red_scene()
    with Segmenter("red", plugins=plugins) as segmenter:
        mask = segmenter.segment(image, point=(300, 20))
    assert mask.area_px == 0
    assert mask.score == 0
    assert mask.bbox() is None


def test_many_rois_equal_one_by_one_and_run_in_batches(plugins: Plugins) -> None:
    image, _ = red_scene()
    rois = [Roi.from_pixels(80 + 2 * i, 50 + i, 60 + i, 80, image) for i in range(20)]
    with Segmenter("red", plugins=plugins) as segmenter:
        many = segmenter.segment_many(image, rois)
        assert isinstance(segmenter.backend, RedBackend)
        assert segmenter.backend.batches == [16, 4]
        for roi, mask in zip(rois, many, strict=True):
            assert np.array_equal(segmenter.segment(image, roi).logits, mask.logits)
        assert segmenter.segment_many(image, []) == []


def test_one_prompt_no_more_and_no_less(plugins: Plugins) -> None:
    image, _ = red_scene()
    with Segmenter("red", plugins=plugins) as segmenter:
        with pytest.raises(InputError, match="neither"):
            segmenter.segment(image)
        with pytest.raises(InputError, match="both"):
            segmenter.segment(image, Roi(0, 0, 1, 1), point=(1, 1))


def test_unknown_backend_and_unknown_option(plugins: Plugins) -> None:
    with pytest.raises(UnknownPluginError, match="onnx, red"):
        Segmenter("blue", plugins=plugins)
    with pytest.raises(InputError, match="colour"):
        Segmenter("red", plugins=plugins, colour="blue")


def test_the_shipped_model_segments_the_sample_photographs() -> None:
    with Segmenter() as segmenter:
        for photo in sample_photos():
            image = load_image(photo.path)
            for prompt in photo.prompts:
                mask = prompt.segment(segmenter, image)
                assert isinstance(mask, Mask)
                assert mask.area_px > 0, (photo.title, prompt.name)
                assert 0 <= mask.score <= 1


def test_the_shipped_model_tells_the_cat_from_the_wall() -> None:
    cat = next(photo for photo in sample_photos() if photo.path.stem == "chelsea")
    with Segmenter() as segmenter:
        mask = cat.prompts[0].segment(segmenter, load_image(cat.path)).paste()
    assert mask[150, 200]  # between the eyes
    assert not mask[20, 20]  # the wall behind
    assert 0.3 < mask.mean() < 0.8
