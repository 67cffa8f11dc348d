"""Which results are sent: comings, goings, changes, heartbeats; each region for itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_mqtt.change import ChangeDetector, view_iou

from picosam_sdk import Frame, Mask, Roi
from picosam_sdk.mask import Result

HALF = Roi(0.25, 0.25, 0.5, 0.5)


def _result(x: int | None = 20, roi: Roi = HALF, **changes: Any) -> Result:
    """A square of 40 x 40 at column x of 96; none where x is None, an empty mask at 96."""
    if x is None:
        return Result(Frame(None, 0), None, None, **changes)
    bits = np.zeros((96, 96), bool)
    bits[30:70, x : x + 40] = True
    return Result(Frame(None, 0), Mask.from_bits(bits, roi, size_px=(640, 480)), roi, **changes)


def _feed(detector: ChangeDetector, *results: Result, step_s: float = 0.1) -> list[bool]:
    wanted = []
    for i, result in enumerate(results):
        now_ns = round(i * step_s * 1e9)
        wanted.append(detector.wants(result, now_ns))
        if wanted[-1]:
            detector.sent(result, now_ns)
    return wanted


def test_what_stays_is_sent_once() -> None:
    assert _feed(ChangeDetector(), *[_result()] * 4) == [True, False, False, False]


def test_coming_and_going_are_sent() -> None:
    results = [_result(None), _result(None), _result(20), _result(96), _result(None), _result(20)]
    detector = ChangeDetector(iou_below=0)
    assert _feed(detector, *results) == [True, False, True, True, False, True]


def test_a_move_is_sent_once_it_is_large_enough() -> None:
    # Shifted by k of 40 columns: IoU = (40 - k) / (40 + k); 0.9 at k = 2.1.
    results = [_result(20), _result(21), _result(22), _result(23), _result(24), _result(27)]
    assert _feed(ChangeDetector(0.9), *results) == [True, False, False, True, False, True]


def test_one_sends_all_that_is_not_equal() -> None:
    assert _feed(ChangeDetector(1.0), _result(20), _result(20), _result(21)) == [True, False, True]


def test_a_slow_drift_is_sent() -> None:
    wanted = _feed(ChangeDetector(0.9), *[_result(x) for x in range(10, 40)])
    assert 8 <= sum(wanted) <= 12


def test_the_heartbeat_is_per_region_and_can_be_off() -> None:
    steady = [_result()] * 12
    assert _feed(ChangeDetector(0.9, 5.0), *steady, step_s=1.0) == [i % 5 == 0 for i in range(12)]
    assert sum(_feed(ChangeDetector(0.9, 0), *steady, step_s=1e6)) == 1


def test_regions_are_compared_each_for_itself() -> None:
    left, right = _result(10, region="left"), _result(40, region="right")
    detector = ChangeDetector()
    assert _feed(detector, left, right, left, right) == [True, True, False, False]
    assert detector.wants(_result(None, region="left"), 0)
    assert not detector.wants(right, 0)


def test_a_sensor_that_has_settled_is_sent() -> None:
    results = [_result(settling=True), _result(settling=True), _result(), _result()]
    assert _feed(ChangeDetector(), *results) == [True, False, True, False]


def test_a_delivery_that_failed_is_wanted_again() -> None:
    detector = ChangeDetector()
    assert detector.wants(_result(), 0)
    assert detector.wants(_result(), 0)


@given(st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0.6, 1), st.integers(48, 96))
def test_the_same_object_under_another_roi_is_the_same(
    x: float, y: float, width: float, pixels: int
) -> None:
    """A disc of the view, drawn under two ROIs: only the pixels' size makes a difference."""

    def disc(roi: Roi) -> Any:
        centres = (np.arange(pixels) + 0.5) / pixels
        xs, ys = roi.x + centres * roi.width, roi.y + centres * roi.height
        return (xs - 0.4) ** 2 + (ys[:, None] - 0.4) ** 2 < 0.15**2

    one, other = Roi(0, 0, 0.8, 0.8), Roi(x, y, width, 0.7)
    assert view_iou(disc(one), one, disc(other), other) > 0.85


def test_masks_under_rois_apart_have_no_overlap() -> None:
    bits = np.ones((8, 8), bool)
    assert view_iou(bits, Roi(0, 0, 0.2, 0.2), bits, Roi(0.5, 0.5, 0.2, 0.2)) == 0
    half = view_iou(bits, Roi(0, 0, 0.4, 0.4), bits, Roi(0.2, 0, 0.4, 0.4))
    assert half == pytest.approx(1 / 3, abs=0.02)


def test_an_object_that_stays_while_the_roi_moves_is_not_sent() -> None:
    """96 pixels over half a view: 10 pixels are 0.052 of it."""
    moved = Roi(HALF.x + 10 / 192, HALF.y, HALF.width, HALF.height)
    assert _feed(ChangeDetector(), _result(30), _result(20, moved)) == [True, False]
    assert _feed(ChangeDetector(), _result(30), _result(30, moved)) == [True, True]


def test_nothing_that_leads_to_a_picture_is_kept() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    result = Result(Frame(image, 0), _result().mask, HALF)
    detector = ChangeDetector()
    detector.sent(result, 0)
    kept = list(vars(detector)["_sent"].values())
    assert len(kept) == 1
    assert all(getattr(kept[0], name) is not result.frame for name in kept[0].__slots__)
    assert kept[0].bits.base is None  # an array of its own


def test_names_without_end_do_not_fill_the_memory() -> None:
    detector = ChangeDetector()
    for i in range(1500):
        detector.sent(_result(None, region=str(i)), 0)
    assert len(vars(detector)["_sent"]) <= 1024
    assert not detector.wants(_result(None, region="1499"), 0)


@pytest.mark.parametrize(("iou", "interval_s"), [(1.1, 1), (-0.1, 1), (float("nan"), 1), (0.5, -1)])
def test_values_out_of_range_are_refused(iou: float, interval_s: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        ChangeDetector(iou, interval_s)
