"""Boxes of detectors in, supervision's and COCO's records out."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from picosam_sdk import InputError, Mask, MissingExtraError, Roi
from picosam_sdk.adapters import masks_from_coco, rois_from_xyxy, to_coco, to_detections


def _masks() -> list[Mask]:
    bits = np.zeros((40, 60), bool)
    bits[10:20, 5:25] = True
    other = np.zeros((40, 60), bool)
    other[30:, 50:] = True
    empty = np.zeros((40, 60), bool)
    return [Mask.from_bits(bits, score=0.5), Mask.from_bits(empty), Mask.from_bits(other)]


def test_boxes_become_rois() -> None:
    boxes = np.array([[10, 20, 110, 70], [-5, 0, 20, 20]], np.float32)
    assert rois_from_xyxy(boxes, (200, 100)) == [
        Roi(0.05, 0.2, 0.5, 0.5),
        Roi(-0.025, 0.0, 0.125, 0.2),
    ]
    assert rois_from_xyxy(to_detections(_masks()), (60, 40))[0].to_pixels(60, 40) == (5, 10, 25, 20)
    assert rois_from_xyxy(np.zeros((0, 4)), (200, 100)) == []


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [[1, 2, 1, 5]], [[0, 0, np.nan, 5]], [1, 2, 3, 4]])
def test_what_is_no_box_is_refused(boxes: list[object]) -> None:
    with pytest.raises(InputError):
        rois_from_xyxy(boxes, (200, 100))


def test_detections() -> None:
    masks = _masks()
    detections = to_detections(masks)
    assert detections.xyxy.tolist() == [[5, 10, 25, 20], [50, 30, 60, 40]]
    assert detections.confidence.tolist() == [0.5, 1.0]
    assert detections.data["index"].tolist() == [0, 2]
    assert np.array_equal(detections.mask[0], masks[0].paste())
    assert len(to_detections([masks[1]])) == 0
    with pytest.raises(InputError, match="one frame size"):
        to_detections([masks[0], Mask.from_bits(np.ones((4, 4), bool))])


def test_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError) as caught:
        to_detections(_masks())
    assert "picosam-sdk[supervision]" in caught.value.hint


def test_coco_round_trip() -> None:
    masks = _masks()
    annotations = to_coco(masks, image_id=7, category_id=3, first_id=10)
    assert [(a["id"], a["image_id"], a["category_id"]) for a in annotations] == [
        (10, 7, 3),
        (11, 7, 3),
    ]
    assert annotations[0]["bbox"] == [5, 10, 20, 10]
    back = masks_from_coco(annotations)
    assert np.array_equal(back[0].paste(), masks[0].paste())
    assert back[0].score == 0.5
    with pytest.raises(InputError, match="RLE"):
        masks_from_coco([{"segmentation": [[0, 0, 1, 1, 0, 1]]}])
