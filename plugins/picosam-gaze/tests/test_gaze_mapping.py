"""From the scene camera to the sensor: mapping, lens, calibration, and the sets it refuses."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from picosam_gaze.calibration import (
    CalibrationError,
    ClusteredError,
    CollinearError,
    IllConditionedError,
    MirroredError,
    Pairs,
    TooFewInliersError,
    TooFewPairsError,
    fit,
)
from picosam_gaze.lens import Lens
from picosam_gaze.mapping import HomographyMapping, IdentityMapping

from picosam_sdk.errors import InputError
from picosam_sdk.types import Gaze

SCENE_PX, SENSOR_PX = (1600, 1200), (2028, 1520)
TRUE = np.array([[1.2, 0.05, -0.12], [-0.04, 1.15, 0.02], [0.05, -0.08, 1.0]])
LENS = Lens(
    SCENE_PX, ((890, 0, 810), (0, 889, 600), (0, 0, 1)),
    (-0.13, 0.1, 0, 0, 0.0002, 0.17, 0.05, 0.02),
)  # fmt: skip

Points = NDArray[np.float64]


def grid(columns: int = 4, rows: int = 3, low: float = 0.15, high: float = 0.85) -> Points:
    xs, ys = np.linspace(low, high, columns), np.linspace(low, high, rows)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def through(matrix: Points, points: Points) -> Points:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    out: Points = moved[:, :2] / moved[:, 2:]
    return out


def a_set(scene: Points | None = None, noise_px: float = 0.0, lens: Lens | None = None) -> Pairs:
    scene = grid() if scene is None else scene
    straight = scene if lens is None else lens.straighten_many(scene)
    sensor = through(TRUE, straight)
    noise = np.random.default_rng(4).normal(size=sensor.shape) * noise_px / np.array(SENSOR_PX)
    return Pairs(scene, sensor + noise, SCENE_PX, SENSOR_PX)


def test_identity_leaves_a_gaze_where_it_is() -> None:
    gaze = Gaze(0.2, 1.4, 77, confidence=0.7, worn=True)
    assert IdentityMapping().gaze(gaze) == gaze
    lost = IdentityMapping().gaze(Gaze(math.nan, 0.2, 77))
    assert math.isnan(lost.x)
    assert math.isnan(lost.y)


def test_a_homography_maps_as_its_matrix_says() -> None:
    mapping = HomographyMapping(TRUE)
    assert mapping.point(0.3, 0.6) == pytest.approx(tuple(through(TRUE, np.array([[0.3, 0.6]]))[0]))
    gaze = mapping.gaze(Gaze(0.3, 0.6, 77, confidence=0.7))
    assert (gaze.timestamp_ns, gaze.confidence) == (77, 0.7)


@pytest.mark.parametrize("place", [(math.nan, 0.5), (0.5, math.inf), (5.0, 0.5)])
def test_what_is_lost_or_behind_the_sensor_has_no_place(place: tuple[float, float]) -> None:
    mapping = HomographyMapping([[1, 0, 0], [0, 1, 0], [-0.5, 0, 1]])  # horizon at x = 2
    assert all(math.isnan(value) for value in mapping.point(*place))


def test_the_lens_is_taken_out_as_opencv_puts_it_in() -> None:
    rays = np.random.default_rng(1).uniform(-0.6, 0.6, (40, 2))
    seen = cv2.projectPoints(
        np.column_stack([rays, np.ones(40)])[:, None], np.zeros(3), np.zeros(3),
        np.array(LENS.matrix, dtype=np.float64), np.array(LENS.distortion),
    )[0][:, 0] / SCENE_PX  # fmt: skip
    straight = (rays * (890, 889) + (810, 600)) / SCENE_PX
    assert np.abs(seen - straight).max() > 0.02, "the lens does bend"
    assert np.abs(LENS.straighten_many(seen) - straight).max() < 1e-6
    assert LENS.straighten(*seen[0]) == pytest.approx(tuple(straight[0]), abs=1e-6)
    LENS.check()


def test_far_outside_the_picture_the_lens_knows_no_place() -> None:
    assert all(math.isnan(value) for value in LENS.straighten(1.2, 0.5))
    assert all(math.isnan(value) for value in HomographyMapping(TRUE, LENS).point(0.5, -3))


def test_the_field_of_view_of_a_lens() -> None:
    assert LENS.fov_deg == pytest.approx(math.degrees(2 * math.atan(800 / 890)))


@pytest.mark.parametrize(
    "changes",
    [
        {"matrix": ((890, 0), (0, 889))},
        {"matrix": ((890, 0, 810), (0, -889, 600), (0, 0, 1))},
        {"matrix": ((890, 0, 810), (0, 889, 600), (0, 0, 2))},
        {"matrix": ((math.nan, 0, 810), (0, 889, 600), (0, 0, 1))},
        {"matrix": ((890, 0, 810), (0, 889, 600))},
        {"matrix": ((890, 0, 810), (0, 889), (0, 0, 1))},
        {"matrix": "none"},
        {"distortion": (1.0, 2.0, 3.0)},
        {"distortion": (0.1, 0, 0, math.inf)},
        {"size_px": (0, 1200)},
    ],
)
def test_what_is_no_lens_is_refused(changes: dict[str, Any]) -> None:
    values = {"size_px": SCENE_PX, "matrix": LENS.matrix, "distortion": LENS.distortion}
    with pytest.raises(InputError, match="camera matrix"):
        Lens(**{**values, **changes})


def test_a_distortion_that_cannot_be_taken_out_is_refused() -> None:
    with pytest.raises(InputError, match="taken out"):
        Lens(SCENE_PX, LENS.matrix, (-1.5, 0.1, 0, 0)).check()


def test_exact_pairs_give_the_true_mapping() -> None:
    found = fit(a_set())
    points = grid(9, 9, 0.0, 1.0)
    got = np.array([found.mapping.point(*point) for point in points])
    assert np.abs(got - through(TRUE, points)).max() < 1e-6
    assert found.inliers == found.pairs == 12
    assert found.error.p95_percent < 1e-4
    assert found.left_out is not None
    assert found.left_out.p95_px == pytest.approx(0, abs=1e-2)


def test_the_lens_makes_the_difference() -> None:
    pairs = a_set(grid(6, 5, 0.16, 0.84), lens=LENS)
    with_lens = fit(pairs, LENS)
    without = fit(pairs, max_error_percent=20)
    assert with_lens.error.p95_px == pytest.approx(0, abs=0.1)
    assert without.error.p95_px is not None
    assert without.error.p95_px > 10
    straight = through(TRUE, LENS.straighten_many(np.array([[0.2, 0.3]])))[0]
    assert with_lens.mapping.point(0.2, 0.3) == pytest.approx(tuple(straight), abs=1e-3)


def test_the_error_is_stated_as_it_is() -> None:
    found = fit(a_set(grid(6, 5), noise_px=4.0))
    diagonal_px = math.hypot(*SENSOR_PX)
    assert found.error.median_px == pytest.approx(4.7, rel=0.35)  # of 2-D noise of 4 px each
    assert found.error.median_percent == pytest.approx(
        100 * (found.error.median_px or 0) / diagonal_px
    )
    assert found.left_out is not None
    assert found.left_out.median_percent > found.error.median_percent


def test_outliers_are_found_and_named() -> None:
    pairs = a_set(grid(4, 4), noise_px=2.0)
    sensor = pairs.sensor.copy()
    sensor[[3, 9]] += (0.2, -0.15)
    found = fit(Pairs(pairs.scene, sensor, SCENE_PX, SENSOR_PX))
    assert found.outliers == (4, 10)
    assert (found.pairs, found.inliers) == (16, 14)
    clean = fit(a_set(np.delete(grid(4, 4), [3, 9], axis=0), noise_px=2.0))
    assert found.mapping.point(0.5, 0.5) == pytest.approx(clean.mapping.point(0.5, 0.5), abs=2e-3)


def test_the_same_pairs_give_the_same_calibration() -> None:
    pairs = a_set(grid(5, 5), noise_px=6.0)
    assert fit(pairs) == fit(pairs)


def test_four_pairs_will_do_but_say_nothing_of_the_error() -> None:
    found = fit(a_set(grid(2, 2)))
    assert found.left_out is None
    assert found.error.median_percent == pytest.approx(0, abs=1e-4)


def test_shares_without_sizes_have_an_error_in_percent_only() -> None:
    found = fit(Pairs(grid(), through(TRUE, grid())))
    assert found.error.median_px is None
    assert found.mapping.point(0.4, 0.4) == pytest.approx(
        tuple(through(TRUE, np.array([[0.4, 0.4]]))[0]), abs=1e-6
    )


LINE = np.column_stack([np.linspace(0.1, 0.9, 8), np.linspace(0.2, 0.8, 8)])


@pytest.mark.parametrize(
    ("scene", "error"),
    [
        (grid(3, 1), TooFewPairsError),
        (np.zeros((0, 2)), TooFewPairsError),
        (np.tile([[0.2, 0.3], [0.8, 0.2], [0.5, 0.9]], (4, 1)), TooFewPairsError),
        (LINE, CollinearError),
        (LINE + np.random.default_rng(0).normal(0, 0.004, LINE.shape), CollinearError),
        (grid(4, 4, 0.45, 0.55), ClusteredError),
        (np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9], [0.1, 0.9]]), IllConditionedError),
        (np.vstack([LINE, [[0.1, 0.9]]]), IllConditionedError),
    ],
    ids=["three", "none", "three over and over", "line", "nearly a line", "cluster",
         "three of four in a line", "all but one in a line"],
)  # fmt: skip
def test_degenerate_sets_are_refused(scene: Points, error: type[CalibrationError]) -> None:
    with pytest.raises(error) as caught:
        fit(a_set(scene))
    assert type(caught.value) is error
    assert caught.value.hint


def test_points_on_a_line_in_the_sensors_picture_alone_are_refused() -> None:
    with pytest.raises(CollinearError, match="sensor's"):
        fit(Pairs(grid(4, 2), LINE, SCENE_PX, SENSOR_PX))


def test_pairs_that_do_not_belong_together_are_refused() -> None:
    rng = np.random.default_rng(2)
    with pytest.raises(TooFewInliersError, match="agree within 2 %"):
        fit(Pairs(rng.random((20, 2)), rng.random((20, 2)), SCENE_PX, SENSOR_PX))


def test_inliers_that_lie_together_are_refused() -> None:
    """The outliers alone gave the set its spread."""
    scene = np.vstack([grid(4, 3, 0.4, 0.6), [[0.05, 0.05], [0.95, 0.9], [0.05, 0.9]]])
    sensor = np.vstack([grid(4, 3, 0.4, 0.6), [[0.9, 0.9], [0.1, 0.2], [0.9, 0.1]]])
    with pytest.raises(ClusteredError, match="agree"):
        fit(Pairs(scene, sensor, SCENE_PX, SENSOR_PX))


def test_a_mirrored_picture_is_refused_unless_allowed() -> None:
    upside_down = Pairs(grid(), grid() * (1, -1) + (0, 1), SCENE_PX, SENSOR_PX)
    with pytest.raises(MirroredError, match="mirror"):
        fit(upside_down)
    assert fit(upside_down, allow_mirror=True).mapping.point(0.2, 0.3) == pytest.approx((0.2, 0.7))


def test_a_picture_turned_by_180_degrees_is_no_mirror_image() -> None:
    turned = fit(Pairs(grid(), 1 - grid(), SCENE_PX, SENSOR_PX))
    assert turned.mapping.point(0.2, 0.3) == pytest.approx((0.8, 0.7))


def test_pixels_taken_for_shares_are_refused_with_the_remedy() -> None:
    with pytest.raises(CalibrationError, match="pair 1") as caught:
        Pairs(grid() * SCENE_PX, grid())
    assert "--scene-size" in caught.value.hint


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-0.25, 0.25), min_size=8, max_size=8),
    st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=1, max_size=5),
    st.booleans(),
)
def test_any_mapping_that_keeps_the_view_in_front_is_found_again(
    bend: list[float], places: list[tuple[float, float]], with_lens: bool
) -> None:
    true = np.eye(3) + np.append(bend, 0).reshape(3, 3) * ((1, 1, 0.4), (1, 1, 0.4), (0.5, 0.5, 1))
    lens = LENS if with_lens else None
    scene = grid(5, 4, 0.1, 0.9)
    straight = scene if lens is None else lens.straighten_many(scene)
    sensor = through(true, straight)
    assume(np.abs(sensor - 0.5).max() < 0.74)
    found = fit(Pairs(scene, sensor, SCENE_PX, SENSOR_PX), lens)
    for place in places:
        at = np.array([place])
        there = through(true, at if lens is None else lens.straighten_many(at))[0]
        assert found.mapping.point(*place) == pytest.approx(tuple(there), abs=1e-4)
        back = HomographyMapping(np.linalg.inv(found.matrix))
        if lens is None and back.point(*there) == back.point(*there):
            assert back.point(*there) == pytest.approx(place, abs=1e-4)
