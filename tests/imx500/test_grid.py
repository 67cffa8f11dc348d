"""Where a ROI comes to lie on the sensor: property tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import CropRule, InputError, Roi
from picosam_sdk.backends.imx500.grid import (
    CELL_PX,
    MAX_SIDE_PX,
    MIN_SIDE_PX,
    SENSOR_BOX,
    region_in_view,
    sensor_box,
)
from picosam_sdk.geometry import crop_box
from picosam_sdk.types import Box

shares = st.floats(-0.5, 1.5)
sides = st.floats(1e-6, 2.0)
rules = st.builds(
    CropRule, size_px=st.just(96), padding=st.sampled_from([0.0, 0.1, 0.5]), square=st.booleans()
)


@st.composite
def views(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.integers(0, 2000)), draw(st.integers(0, 1500))
    return Box(x0, y0, draw(st.integers(x0 + 400, 4056)), draw(st.integers(y0 + 400, 3040)))


@given(shares, shares, sides, sides, rules, views())
def test_what_is_written_is_whole_bounded_and_inside(
    x: float, y: float, width: float, height: float, rule: CropRule, view: Box
) -> None:
    roi = Roi(x, y, width, height)
    if not roi.overlaps_view():
        with pytest.raises(InputError):
            sensor_box(roi, rule, view)
        return
    box = sensor_box(roi, rule, view)
    assert all(value % CELL_PX == 0 for value in box)
    assert MIN_SIDE_PX <= box.width <= MAX_SIDE_PX
    assert MIN_SIDE_PX <= box.height <= MAX_SIDE_PX
    region = region_in_view(box, view)
    assert region is not None
    assert region.x >= 0
    assert region.y + region.height <= 1 + 1e-9


@given(st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.floats(0.05, 0.3), st.floats(0.05, 0.3), rules)
def test_it_is_the_hosts_box_on_a_picture_of_cells(
    x: float, y: float, width: float, height: float, rule: CropRule
) -> None:
    roi = Roi(x, y, width, height)
    host = crop_box(roi, 1014, 760, rule)
    assert tuple(sensor_box(roi, rule)) == tuple(side * CELL_PX for side in host)


@pytest.mark.parametrize(
    ("roi", "box"),
    [
        (Roi(0, 0, 1, 1), (12, 0, 4044, 3040)),  # 4056 would be clamped, and lie to the left
        (Roi(-1, -1, 3, 3), (12, 0, 4044, 3040)),
        (Roi(0.999, 0.999, 0.5, 0.5), (3960, 2944, 4056, 3040)),  # never off the sensor
        (Roi(0.5, 0.5, 1e-6, 1e-6), (1980, 1472, 2076, 1568)),  # never zero
    ],
)
def test_corners(roi: Roi, box: tuple[int, int, int, int]) -> None:
    assert tuple(sensor_box(roi, CropRule(padding=0.0, square=False))) == box


def test_a_view_is_what_shares_and_masks_are_relative_to() -> None:
    view = Box(1000, 800, 3000, 2200)
    box = sensor_box(Roi(0.25, 0.5, 0.5, 0.25), CropRule(padding=0.0, square=False), view)
    assert tuple(box) == (1500, 1500, 2500, 1848)
    assert region_in_view(box, view) == Roi(0.25, 0.5, 0.5, 348 / 1400)
    assert region_in_view(box, Box(1600, 800, 3000, 2200)) is None
    assert region_in_view(box, SENSOR_BOX) == Roi(1500 / 4056, 1500 / 3040, 1000 / 4056, 348 / 3040)
