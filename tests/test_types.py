"""Roi, Box, CropRule and size_of: what they promise at and beyond their borders."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from picosam_sdk.errors import InputError
from picosam_sdk.geometry import region_of
from picosam_sdk.types import Box, CropRule, Roi, size_of

sizes = st.integers(1, 5000)
rois = st.builds(
    Roi,
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(1e-9, 4),
    st.floats(1e-9, 4),
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", range(4))
def test_roi_refuses_what_is_not_finite(value: float, position: int) -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    values[position] = value
    with pytest.raises(InputError, match="finite") as caught:
        Roi(*values)
    assert caught.value.hint


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-0.1, 0.5), (0.5, -2)])
def test_roi_refuses_no_area(size: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="above zero"):
        Roi(0.1, 0.1, *size)


def test_roi_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Roi(0, 0, 1, 1).x = 0.5  # type: ignore[misc]


@settings(max_examples=150)
@given(roi=rois, width=sizes, height=sizes)
def test_pixels_are_inside_and_never_empty(roi: Roi, width: int, height: int) -> None:
    if not roi.overlaps_view():
        with pytest.raises(InputError, match="overlaps the picture"):
            roi.to_pixels(width, height)
        return
    box = roi.to_pixels(width, height)
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    # No edge is more than half a pixel from where it was asked, but for the one pixel at least.
    assert box.width <= 1 or abs(box.x0 - max(roi.x * width, 0)) <= 0.5 + 1e-6
    assert box.height <= 1 or abs(box.y1 - min((roi.y + roi.height) * height, height)) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    "roi", [Roi(1, 0, 1, 1), Roi(0, 1, 1, 1), Roi(-1, 0, 1, 1), Roi(0, -1, 1, 1), Roi(7, 7, 1, 1)]
)
def test_a_roi_beyond_the_border_is_refused(roi: Roi) -> None:
    assert not roi.overlaps_view()
    with pytest.raises(InputError, match="overlaps the picture"):
        roi.to_pixels(640, 480)


@pytest.mark.parametrize(
    ("roi", "box"),
    [
        (Roi(-0.5, -0.5, 0.5 + 1e-9, 0.5 + 1e-9), Box(0, 0, 1, 1)),  # touches the first pixel
        (Roi(1 - 1e-9, 1 - 1e-9, 5, 5), Box(639, 479, 640, 480)),  # touches the last one
        (Roi(-2, -2, 5, 5), Box(0, 0, 640, 480)),
        (Roi(-1e308, -1e308, 1.5e308, 1.5e308), Box(0, 0, 640, 480)),
        (Roi(0, 0, 1e308, 1e308), Box(0, 0, 640, 480)),
        (Roi(0.25, 0.5, 0.5, 0.25), Box(160, 240, 480, 360)),
        (Roi(0.5, 0.5, 1e-300, 1e-300), Box(320, 240, 321, 241)),
    ],
)
def test_a_roi_at_the_border_is_clipped(roi: Roi, box: Box) -> None:
    assert roi.to_pixels(640, 480) == box


@settings(max_examples=120)
@given(data=st.data(), width=sizes, height=sizes)
def test_pixel_boxes_come_back(data: st.DataObject, width: int, height: int) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    assert region_of(box, width, height).to_pixels(width, height) == box
    roi = Roi.from_pixels(box.x0, box.y0, box.width, box.height, (width, height))
    assert roi.to_pixels(width, height) == box


def test_pixel_boxes_come_back_for_every_size_up_to_5000() -> None:
    for size in range(1, 5001):
        first, last = size // 3, size - size // 5
        for x0, x1 in ((0, size), (0, 1), (size - 1, size), (first, last)):
            box = Box(x0, 0, x1, 1)
            assert region_of(box, size, 1).to_pixels(size, 1) == box


@settings(max_examples=150)
@given(roi=rois, width=sizes, height=sizes)
def test_square_is_square_in_pixels(roi: Roi, width: int, height: int) -> None:
    square = roi.square(width / height)
    assert square.width * width == pytest.approx(square.height * height)
    assert square.center == pytest.approx(roi.center, abs=1e-9)
    # It holds the ROI, and one side is the ROI's own.
    assert square.width >= roi.width * (1 - 1e-9)
    assert square.height >= roi.height * (1 - 1e-9)
    assert square.width == pytest.approx(roi.width) or square.height == pytest.approx(roi.height)


@settings(max_examples=100)
@given(roi=rois, share=st.floats(0, 5))
def test_grow_moves_each_side_by_its_share(roi: Roi, share: float) -> None:
    grown = roi.grow(share)
    assert roi.x - grown.x == pytest.approx(share * roi.width, abs=1e-9)
    assert grown.y + grown.height - roi.y - roi.height == pytest.approx(
        share * roi.height, abs=1e-9
    )
    assert grown.center == pytest.approx(roi.center, abs=1e-9)


@settings(max_examples=150)
@given(a=rois, b=rois)
def test_iou_is_symmetric_and_bounded(a: Roi, b: Roi) -> None:
    assert a.iou(b) == b.iou(a)
    assert 0 <= a.iou(b) <= 1
    assert a.iou(Roi(a.x + 10, a.y, a.width, a.height)) == 0


def test_iou_values() -> None:
    a = Roi(0, 0, 0.5, 0.5)
    assert a.iou(a) == 1
    assert a.iou(Roi(0.25, 0, 0.5, 0.5)) == pytest.approx(1 / 3)
    assert a.iou(Roi(0.5, 0, 0.5, 0.5)) == 0  # they share an edge only
    assert a.iou(Roi(0.1, 0.1, 0.1, 0.2)) == pytest.approx(0.08)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_iou_of_extreme_sizes_is_a_number(size: float) -> None:
    roi = Roi(0, 0, size, size)
    assert 0 <= roi.iou(roi) <= 1


@pytest.mark.parametrize(
    "values", [{"size_px": 0}, {"padding": -0.1}, {"padding": math.nan}, {"padding": 10.0}]
)
def test_crop_rule_refuses(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="size_px"):
        CropRule(**values)  # type: ignore[arg-type]


def test_size_of() -> None:
    assert size_of(np.zeros((48, 64, 3), np.uint8)) == (64, 48)
    assert size_of(np.zeros((48, 64), np.float32)) == (64, 48)
    assert size_of(Image.new("RGB", (64, 48))) == (64, 48)
    assert size_of((64, 48)) == (64, 48)
    assert size_of(np.array([64, 48], dtype=np.int32).tolist()) == (64, 48)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "12",
        "photo.jpg",
        (1, 2, 3),
        (64,),
        ("a", "b"),
        (64.5, 48.0),
        (math.nan, 1),
        (math.inf, 1),
        (0, 48),
        (64, -1),
        np.zeros(4, np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=repr,
)
def test_size_of_refuses(value: object) -> None:
    with pytest.raises(InputError) as caught:
        size_of(value)
    assert caught.value.hint
