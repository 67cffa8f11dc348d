"""The temporal filter: flicker goes, movement stays, a jump forgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import ConfigError, Context, Mask, Roi
from picosam_sdk.filters.hysteresis import HysteresisConfig, HysteresisFilter
from picosam_sdk.testing.contract import MaskFilterContract
from picosam_sdk.testing.results import SIZE_PX, a_mask

FRAME_NS = 33_000_000
ROI = Roi(0.25, 0.25, 0.5, 0.5)


class TestHysteresisFilter(MaskFilterContract):
    part = HysteresisFilter


class TestWithoutSmoothing(MaskFilterContract):
    part = HysteresisFilter

    @pytest.fixture
    def options(self) -> Any:
        return {"smoothing": 0.0, "margin": 0.0}


def _filter(**options: Any) -> HysteresisFilter:
    return HysteresisFilter(HysteresisConfig(**options), Context())


def _mask(logits: Any, roi: Roi = ROI, threshold: float = 0.0) -> Mask:
    return Mask(np.asarray(logits, np.float32), roi, 0.9, SIZE_PX, roi, threshold)


def _bits(mask: Mask | None) -> Any:
    assert mask is not None
    return mask.logits > mask.threshold


def test_the_formula() -> None:
    """By hand: smoothing 0.5, margin 1, limit 4, threshold 0.5, the fourth pixel always sure."""
    one = _filter(min_iou=0.0)
    frames = [[[6.5, -1.0, 2.5, 9.0]], [[-0.7, 2.7, -4.5, 9.0]], [[-3.5, 0.8, 0.4, 9.0]]]
    means = [[4.0, -1.5, 2.0, 4.0], [1.4, 0.35, -1.0, 4.0], [-1.3, 0.325, -0.55, 4.0]]
    on = [[True, False, True, True], [True, False, True, True], [False, False, True, True]]
    for index, frame in enumerate(frames):
        out = one.apply(_mask(frame, threshold=0.5), index * FRAME_NS)
        assert out is not None
        assert _bits(out).tolist() == [on[index]]
        agrees = np.sign(means[index]) == np.where(on[index], 1, -1)
        expected = np.where(agrees, means[index], np.where(on[index], 0.05, -0.05)) + 0.5
        np.testing.assert_allclose(out.logits[0], expected, atol=1e-6)


def test_flicker_at_the_edge_goes() -> None:
    rng = np.random.default_rng(1)
    steady, changes, raw_changes = _filter(), [], []
    before = raw_before = None
    for index in range(40):
        mask = a_mask()
        noisy = _mask(mask.logits + rng.normal(0, 1.5, mask.logits.shape), mask.roi)
        out = _bits(steady.apply(noisy, index * FRAME_NS))
        if before is not None and raw_before is not None:
            changes.append(np.count_nonzero(out != before))
            raw_changes.append(np.count_nonzero(_bits(noisy) != raw_before))
        before, raw_before = out, _bits(noisy)
    assert np.mean(changes) < np.mean(raw_changes) / 5


def test_a_moving_roi_over_a_still_object_changes_nothing() -> None:
    steady, truth = _filter(), a_mask().paste()
    for index in range(20):
        shift = 0.01 * index
        mask = a_mask(roi=Roi(0.2 + shift, 0.3 - shift / 2, 0.45, 0.45))
        out = steady.apply(mask, index * FRAME_NS)
        assert out is not None
        wrong = np.count_nonzero(out.paste() != truth)
        assert wrong <= 0.06 * truth.sum()


def test_a_moving_object_is_followed() -> None:
    steady = _filter()
    for index in range(20):
        mask = a_mask(x=0.4 + 0.006 * index)
        out = steady.apply(mask, index * FRAME_NS)
    assert out is not None
    both = out.paste() & mask.paste()
    assert both.sum() / (out.paste() | mask.paste()).sum() > 0.85


@pytest.mark.parametrize("how", ["object", "roi", "time", "time back", "size"])
def test_a_jump_forgets(how: str) -> None:
    steady = _filter()
    for index in range(5):
        steady.apply(a_mask(x=0.4), index * FRAME_NS)
    now_ns, mask = 5 * FRAME_NS, a_mask(x=0.4)
    if how == "object":
        mask = a_mask(x=0.62)
    elif how == "roi":
        mask = a_mask(x=0.8, roi=Roi(0.7, 0.25, 0.3, 0.5))
    elif how == "size":
        mask = Mask(mask.logits, mask.roi, 0.9, (64, 48))
    else:
        mask = _mask(np.roll(mask.logits, 20, 1))
        now_ns = 10**9 if how == "time" else 0
    out = steady.apply(mask, now_ns)
    assert np.array_equal(_bits(out), mask.logits > 0)


def test_an_object_unseen_for_a_frame_fades_instead_of_flickering() -> None:
    steady, nothing = _filter(), _mask(np.full((96, 96), -4.0))
    for index in range(5):
        steady.apply(a_mask(), index * FRAME_NS)
    shown = [_bits(steady.apply(nothing, (5 + index) * FRAME_NS)).any() for index in range(4)]
    assert shown[0]
    assert not any(shown[1:])


def test_where_the_roi_did_not_reach_this_frame_alone_counts() -> None:
    steady = _filter()
    for index in range(5):
        steady.apply(_mask(np.full((8, 8), -4.0), Roi(0.0, 0.0, 0.5, 0.5)), index * FRAME_NS)
    wider = np.full((8, 8), 0.5)
    out = steady.apply(_mask(wider, Roi(0.0, 0.0, 0.5, 0.75)), 5 * FRAME_NS)
    assert out is not None
    assert not _bits(out)[:5].any(), "a doubtful pixel stays off where it was off"
    assert _bits(out)[6:].all()


unit = st.floats(0.05, 0.5)


@given(x=unit, y=unit, width=unit, height=unit, dx=st.floats(-0.04, 0.04), grow=st.floats(0.9, 1.1))
def test_warping_a_ramp_is_exact_inside(
    x: float, y: float, width: float, height: float, dx: float, grow: float
) -> None:
    """A plane in view coordinates is the same plane under any ROI."""
    steady = _filter(smoothing=0.95, margin=0.0, limit=90.0, min_iou=0.0)
    old = Roi(x, y, width, height)
    new = Roi(x + dx * width, y, width * grow, height)

    def plane(roi: Roi) -> Any:
        places = (np.arange(32) + 0.5) / 32
        return (roi.x + places * roi.width)[None, :] * 8 + (roi.y + places * roi.height)[
            :, None
        ] * 4

    steady.apply(_mask(plane(old), old), 0)
    out = steady.apply(_mask(plane(new), new), 1)
    assert out is not None
    # Half a pixel at the border is held to the last value that was known.
    border = 8 * old.width / 32 + 4 * old.height / 32 + 1e-3
    np.testing.assert_allclose(out.logits, plane(new), atol=border)
    np.testing.assert_allclose(out.logits[2:-2, 6:-6], plane(new)[2:-2, 6:-6], atol=2e-2)


@pytest.mark.parametrize(
    ("key", "options"),
    [("smoothing", {"smoothing": 1.0}), ("margin", {"margin": 5.0}), ("margin", {"limit": 0.5}),
     ("min_iou", {"min_iou": 1.0}), ("max_gap_s", {"max_gap_s": 0.0})],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(key: str, options: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        HysteresisConfig(**options)
