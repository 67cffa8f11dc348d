"""Measures the mapping from the scene camera to the sensor, from pairs of points.

A pair is one spot as both cameras show it. A homography is fitted to the pairs (RANSAC with a
fixed seed, then least squares over those that agree), and its error is reported twice: on the
pairs that it was fitted to, and on each pair as the others predict it (leave one out), which is
what a gaze between the pairs will meet. Sets from which no mapping can be had are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_gaze.calibration import checks
from picosam_gaze.calibration.checks import IllConditionedError, TooFewInliersError
from picosam_gaze.calibration.pairs import Pairs
from picosam_gaze.lens import Lens
from picosam_gaze.mapping import HomographyMapping

__all__ = ["Calibration", "Spread", "fit"]

_SEED = 0
_MIN_INLIERS = 0.5

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """How large an error is, over the pairs.

    Args:
        median_percent, p95_percent: of the diagonal of the sensor's view.
        median_px, p95_px: in pixels of the sensor; None if its size was not given.
    """

    median_percent: float
    p95_percent: float
    median_px: float | None = None
    p95_px: float | None = None


@dataclass(frozen=True)
class Calibration:
    """A mapping, and how good it is.

    Args:
        matrix: homography, 3 x 3, from shares of the scene camera's view (its lens taken out) to
            shares of the sensor's view.
        lens: of the scene camera; None for none to be taken out.
        scene_px, sensor_px: sizes of the two pictures; None if the pairs came in shares.
        pairs, inliers: how many pairs there were, and how many agree.
        error: on the pairs that agree.
        left_out: on each of them as the others predict it; None with four, which always agree.
        outliers: rows of the pairs that do not agree, counted from 1.
    """

    matrix: tuple[tuple[float, ...], ...]
    lens: Lens | None
    scene_px: tuple[int, int] | None
    sensor_px: tuple[int, int] | None
    pairs: int
    inliers: int
    error: Spread
    left_out: Spread | None
    outliers: tuple[int, ...] = ()

    @property
    def mapping(self) -> HomographyMapping:
        """The mapping itself."""
        return HomographyMapping(self.matrix, self.lens)


def fit(
    pairs: Pairs,
    lens: Lens | None = None,
    *,
    max_error_percent: float = 2.0,
    allow_mirror: bool = False,
) -> Calibration:
    """Fits the mapping.

    Args:
        pairs: points in both pictures.
        lens: of the scene camera.
        max_error_percent: a pair that is further off, in percent of the diagonal of the sensor's
            view, does not agree.
        allow_mirror: whether one picture may be the mirror image of the other.

    Raises:
        CalibrationError: no mapping can be had from these pairs; each reason has a class.
    """
    scene = pairs.scene if lens is None else lens.straighten_many(pairs.scene)
    width, height = pairs.sensor_px or (1, 1)
    # Errors are wanted in shares of the diagonal, the same in both directions.
    scale = np.array([width, height]) / np.hypot(width, height)
    sensor = pairs.sensor * scale
    checks.points(scene, "scene camera's")
    checks.points(pairs.sensor, "sensor's")
    inside = _agreeing(scene, sensor, max_error_percent / 100)
    if inside.sum() < max(4, np.ceil(_MIN_INLIERS * len(scene))):
        raise TooFewInliersError(
            f"expected at least {max(4, int(np.ceil(_MIN_INLIERS * len(scene))))} of "
            f"{len(scene)} pairs to agree within {max_error_percent:g} % of the view's diagonal, "
            f"got {int(inside.sum())}",
            hint="Check that each row shows the same spot in both pictures, that the sizes are "
            "right, and give the lens if the scene camera is wide; or raise --max-error.",
        )
    scene, sensor = scene[inside], sensor[inside]
    checks.points(scene, "scene camera's", "pairs that agree")
    checks.points(sensor / scale, "sensor's", "pairs that agree")
    checks.condition(scene, sensor)
    matrix = _homography(scene, sensor)
    if matrix is None:
        raise IllConditionedError("expected pairs that fix a homography, got none from these")
    checks.direction(matrix, scene, allow_mirror)
    error = np.linalg.norm(_apply(matrix, scene) - sensor, axis=1)
    to_shares = np.diag([1 / scale[0], 1 / scale[1], 1.0]) @ matrix
    return Calibration(
        matrix=tuple(tuple(float(value) for value in row) for row in to_shares),
        lens=lens,
        scene_px=pairs.scene_px,
        sensor_px=pairs.sensor_px,
        pairs=len(inside),
        inliers=int(inside.sum()),
        error=_spread(error, pairs.sensor_px),
        left_out=_left_out(scene, sensor, pairs.sensor_px),
        outliers=tuple(int(row) + 1 for row in np.flatnonzero(~inside)),
    )


def _agreeing(scene: Points, sensor: Points, threshold: float) -> NDArray[np.bool_]:
    """Which pairs one homography explains, bool (n,)."""
    import cv2

    cv2.setRNGSeed(_SEED)
    matrix, _ = cv2.findHomography(scene, sensor, cv2.RANSAC, threshold, None, 5000, 0.9999)
    if matrix is None:
        return np.zeros(len(scene), dtype=np.bool_)
    # RANSAC's own choice is of its best sample; the refined fit may reach some more.
    inside = np.linalg.norm(_apply(matrix, scene) - sensor, axis=1) <= threshold
    return np.asarray(inside, dtype=np.bool_)


def _homography(scene: Points, sensor: Points) -> Points | None:
    """Least squares over all, with the depth above zero where the points are; None if none."""
    import cv2

    matrix, _ = cv2.findHomography(scene, sensor, 0)
    if matrix is None or not np.isfinite(matrix).all():
        return None
    depth = np.column_stack([scene, np.ones(len(scene))]) @ matrix[2]
    out: Points = matrix * np.sign(depth.mean() or 1.0)
    return out


def _apply(matrix: Points, points: Points) -> Points:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    depth = moved[:, 2:]
    out: Points = moved[:, :2] / np.where(np.abs(depth) < 1e-12, 1e-12, depth)
    return out


def _left_out(scene: Points, sensor: Points, sensor_px: tuple[int, int] | None) -> Spread | None:
    """The error of each pair under a homography of the others."""
    errors = []
    for index in range(len(scene)):
        others = np.arange(len(scene)) != index
        if others.sum() < 4:
            return None
        matrix = _homography(scene[others], sensor[others])
        if matrix is not None:
            error: Any = np.linalg.norm(_apply(matrix, scene[[index]]) - sensor[[index]])
            errors.append(float(error))
    return _spread(np.array(errors), sensor_px) if errors else None


def _spread(errors: NDArray[Any], sensor_px: tuple[int, int] | None) -> Spread:
    """Of errors in shares of the diagonal."""
    median, p95 = (float(value) for value in np.percentile(errors, [50, 95]))
    if sensor_px is None:
        return Spread(median * 100, p95 * 100)
    diagonal_px = float(np.hypot(*sensor_px))
    return Spread(median * 100, p95 * 100, median * diagonal_px, p95 * diagonal_px)
