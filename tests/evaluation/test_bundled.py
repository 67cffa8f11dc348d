"""The objects outlined on the sample photographs, and the shipped model's figures on them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from picosam_sdk.cli.main import main
from picosam_sdk.evaluation.annotations import bundled_dataset
from picosam_sdk.modelcard import DEFAULT_MODEL, ModelCard
from picosam_sdk.samples import sample_photos


def test_the_objects_are_on_the_sample_photographs(coco_decode: Any) -> None:
    dataset = bundled_dataset()
    photos = {photo.path for photo in sample_photos()}
    assert {instance.image for instance in dataset.instances} == photos
    assert len({instance.category for instance in dataset.instances}) == 8
    for instance in dataset.instances:
        mask = instance.mask()
        assert isinstance(instance.segmentation, tuple)
        polygons = [polygon.tolist() for polygon in instance.segmentation]
        assert np.array_equal(mask, coco_decode(polygons, *instance.size_px))
        assert instance.area == mask.sum()
        rows, columns = np.nonzero(mask)
        x, y, width, height = instance.bbox
        drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (x, y, x + width, y + height) == pytest.approx(drawn, abs=1)


def test_the_shipped_model_does_what_its_card_says(capsys: pytest.CaptureFixture[str]) -> None:
    """CPUs differ in how they round INT8; mAP moves by 1/80 when one object crosses a step."""
    assert main(["evaluate", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    promised = ModelCard.read(DEFAULT_MODEL).metrics["bundled"]
    assert printed["n"] == promised["n"] == 8
    assert printed["miou"] == pytest.approx(promised["miou"], abs=0.005)
    assert printed["map"] == pytest.approx(promised["map"], abs=2 / 80 + 1e-5)
