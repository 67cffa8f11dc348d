"""Visual angle, the One-Euro filter, gates and the configuration of the filters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_gaze.filters import FilterConfig, Gate, OneEuro, PointSmoother, Verdict, View

from picosam_sdk.config import from_mapping
from picosam_sdk.errors import ConfigError
from picosam_sdk.types import Gaze

MS = 1_000_000


def test_the_border_of_the_view_is_half_its_field_of_view_away() -> None:
    view = View(fov_deg=80, aspect=4 / 3)
    assert view.to_deg(0.5, 0.5) == (0, 0)
    assert view.to_deg(1, 0.5) == pytest.approx((40, 0))
    assert view.to_deg(0, 0.5) == pytest.approx((-40, 0))
    vertical = math.degrees(math.atan(math.tan(math.radians(40)) / (4 / 3)))
    assert view.to_deg(0.5, 1) == pytest.approx((0, vertical))


@given(
    st.floats(10, 150), st.floats(0.5, 2), st.floats(-1, 2), st.floats(-1, 2)
)  # fmt: skip
def test_degrees_and_shares_are_inverse(fov: float, aspect: float, x: float, y: float) -> None:
    view = View(fov, aspect)
    assert view.to_share(*view.to_deg(x, y)) == pytest.approx((x, y), abs=1e-6)


def test_the_angle_from_the_axis_is_exact() -> None:
    view = View(fov_deg=90, aspect=1.0)
    right, down = view.to_deg(0.9, 0.75)
    ray = math.hypot(0.8, 0.5)  # tan of 45 degrees is 1
    assert math.hypot(right, down) == pytest.approx(math.degrees(math.atan(ray)))


def test_what_lies_behind_the_camera_has_no_place() -> None:
    assert all(math.isnan(value) for value in View().to_share(90.0, 0.0))


@pytest.mark.parametrize(("fov", "aspect"), [(0, 1), (180, 1), (90, 0), (math.nan, 1)])
def test_a_view_that_cannot_be_is_refused(fov: float, aspect: float) -> None:
    with pytest.raises(ConfigError):
        View(fov, aspect)


def test_one_euro_is_a_plain_low_pass_without_beta() -> None:
    one = OneEuro(min_cutoff_hz=1.0, beta=0.0)
    one.push(0, 0.0)
    alpha = 1 / (1 + 1 / (2 * math.pi * 1.0 * 0.01))
    expected = 0.0
    for step in range(1, 200):
        expected += alpha * (1.0 - expected)
        assert one.push(step * 10 * MS, 1.0) == pytest.approx(expected)


def test_one_euro_after_the_paper_step_by_step() -> None:
    """Algorithm 1 of the paper, written out for three samples."""

    def alpha(cutoff: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff * 0.02))

    one = OneEuro(min_cutoff_hz=0.5, beta=0.8)
    assert one.push(0, 2.0) == 2.0
    speed = alpha(1.0) * (3.0 - 2.0) / 0.02
    first = 2.0 + alpha(0.5 + 0.8 * speed) * (3.0 - 2.0)
    assert one.push(20 * MS, 3.0) == pytest.approx(first)
    speed = alpha(1.0) * (2.5 - first) / 0.02 + (1 - alpha(1.0)) * speed
    second = first + alpha(0.5 + 0.8 * abs(speed)) * (2.5 - first)
    assert one.push(40 * MS, 2.5) == pytest.approx(second)


def test_beta_takes_the_lag_out_of_fast_movement() -> None:
    slow, quick = OneEuro(0.01, 0.0), OneEuro(0.01, 0.8)
    for step in range(100):
        value = step * 0.2  # 20 degrees a second at 100 Hz
        slow_value, quick_value = (
            slow.push(step * 10 * MS, value),
            quick.push(step * 10 * MS, value),
        )
    assert value - quick_value < 1.0 < value - slow_value


def test_one_euro_skips_what_is_not_newer() -> None:
    one = OneEuro()
    one.push(10, 1.0)
    assert one.push(10, 50.0) == 1.0
    assert one.push(5, 50.0) == 1.0


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(-180, 180)), min_size=1, max_size=50))
def test_one_euro_stays_between_its_samples(steps: list[tuple[int, float]]) -> None:
    smoother, now_ns = PointSmoother(0.01, 0.8), 0
    values = [value for _, value in steps]
    for step_ns, value in steps:
        now_ns += step_ns
        x, y = smoother.push(now_ns, value, -value)
        assert min(values) - 1e-9 <= x <= max(values) + 1e-9
        assert y == pytest.approx(-x)


@pytest.mark.parametrize(
    ("gaze", "verdict"),
    [
        (Gaze(0.5, 0.5, 1), Verdict.USABLE),
        (Gaze(1.5, 0.5, 1), Verdict.USABLE),
        (Gaze(0.5, 0.5, 1, confidence=0.6), Verdict.USABLE),
        (Gaze(0.5, 0.5, 1, confidence=0.59), Verdict.MISSING),
        (Gaze(0.5, 0.5, 1, confidence=math.nan), Verdict.MISSING),
        (Gaze(math.nan, 0.5, 1), Verdict.MISSING),
        (Gaze(0.5, math.inf, 1), Verdict.MISSING),
        (Gaze(0.5, 0.5, 1, worn=False), Verdict.NOT_WORN),
    ],
)
def test_the_gate_believes_what_the_tracker_believes(gaze: Gaze, verdict: Verdict) -> None:
    assert Gate(0.6).judge(gaze) is verdict


def test_the_published_thresholds_are_the_defaults() -> None:
    config = FilterConfig()
    assert (config.velocity_deg_s, config.dispersion_deg, config.min_fixation_ms) == (30, 1, 100)
    assert (config.merge_ms, config.merge_deg, config.gap_ms) == (75, 0.5, 75)
    assert (config.min_cutoff_hz, config.beta) == (0.01, 0.8)


@pytest.mark.parametrize(
    ("key", "value"),
    [("kind", "ibt"), ("velocity_deg_s", 0), ("window_ms", 0.5), ("dispersion_deg", -1),
     ("min_confidence", 1.1), ("blink_ms", -1), ("min_cutoff_hz", 0), ("beta", -0.1),
     ("merge_deg", math.nan)],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"roi\[0\]\.filter\.{key}: expected"):
        from_mapping({key: value}, FilterConfig, "roi[0].filter.")
