"""From which pairs of points no mapping can be had, and why.

::

    CalibrationError
    ├ TooFewPairsError      fewer than four different pairs
    ├ CollinearError        they lie on a line
    ├ ClusteredError        they cover too little of the view
    ├ TooFewInliersError    they do not agree with each other
    ├ IllConditionedError   they leave the mapping open in some direction
    ├ MirroredError         one picture is the mirror image of the other
    └ CalibrationFileError  a stored calibration cannot be read
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError

__all__ = [
    "CalibrationError",
    "CalibrationFileError",
    "ClusteredError",
    "CollinearError",
    "IllConditionedError",
    "MirroredError",
    "TooFewInliersError",
    "TooFewPairsError",
    "condition",
    "direction",
    "points",
]

MIN_WIDTH = 0.05
"""Least ratio of the two principal standard deviations of a set of points."""

MIN_AREA = 0.05
"""Least share of the view that the points' convex hull covers."""

MIN_SINGULAR = 1e-3
"""Least ratio of the eighth to the first singular value of the normalised equations."""

Points = NDArray[np.float64]


class CalibrationError(InputError):
    """No mapping can be had from these pairs of points."""


class TooFewPairsError(CalibrationError):
    """A homography needs four different pairs."""


class CollinearError(CalibrationError):
    """The points lie on a line."""


class ClusteredError(CalibrationError):
    """The points cover too little of the view."""


class TooFewInliersError(CalibrationError):
    """Too few pairs agree with each other."""


class IllConditionedError(CalibrationError):
    """The pairs do not fix the mapping in every direction."""


class MirroredError(CalibrationError):
    """The mapping turns the picture into its mirror image."""


class CalibrationFileError(CalibrationError):
    """A file of a calibration, of pairs or of a lens cannot be read."""


def points(shares: Points, whose: str, what: str = "pairs") -> None:
    """Refuses points of one picture that are too few, in a line, or in a corner.

    Args:
        shares: float64 (n, 2), of the view; may be NaN, of a point that the lens does not show.
        whose: the picture, for the message.
        what: the points, for the message.
    """
    import cv2

    if not np.isfinite(shares).all():
        raise CalibrationError(
            f"expected points inside the {whose} picture, got some that lie outside",
            hint="Check the size of the picture and the lens.",
        )
    different = len(np.unique(np.round(shares, 6), axis=0))
    if different < 4:
        raise TooFewPairsError(
            f"expected at least 4 different {what}, got {different} in the {whose} picture",
            hint="Take a dozen points, spread over the view.",
        )
    spread = np.linalg.svd(shares - shares.mean(axis=0), compute_uv=False)
    if spread[1] < MIN_WIDTH * spread[0]:
        raise CollinearError(
            f"expected {what} spread over the view, got points on a line in the {whose} picture",
            hint="Add points above and below that line.",
        )
    area = float(cv2.contourArea(cv2.convexHull(shares.astype(np.float32))))
    if area < MIN_AREA:
        raise ClusteredError(
            f"expected {what} that cover at least {MIN_AREA:.0%} of the {whose} view, got "
            f"{area:.1%}",
            hint="Add points near the view's borders; outside them the mapping is a guess.",
        )


def condition(scene: Points, sensor: Points) -> None:
    """Refuses pairs whose equations leave a direction open, such as four with three in a line."""
    rows = []
    for (x, y), (u, v) in zip(_normalised(scene), _normalised(sensor), strict=True):
        rows += [[-x, -y, -1, 0, 0, 0, u * x, u * y, u], [0, 0, 0, -x, -y, -1, v * x, v * y, v]]
    values: Any = np.linalg.svd(np.array(rows), compute_uv=False)
    ratio = float(values[7] / values[0])
    if ratio < MIN_SINGULAR:
        raise IllConditionedError(
            "expected pairs that fix the mapping in every direction, got equations whose "
            f"eighth singular value is {ratio:.1e} of the first",
            hint="Take more points, no three of the outermost ones in a line.",
        )


def direction(matrix: Points, scene: Points, allow_mirror: bool) -> None:
    """Refuses a mapping that tears the view apart or mirrors it.

    Args:
        matrix: homography, with a depth above zero where most points are.
        scene: the points that it was fitted to.
        allow_mirror: whether it may mirror.
    """
    depth = np.column_stack([scene, np.ones(len(scene))]) @ matrix[2]
    if not depth.min() > 0.05 * depth.max():
        raise IllConditionedError(
            "expected a mapping with the whole view in front of the sensor, got one whose horizon "
            "crosses the points",
            hint="Check that each row shows the same spot in both pictures.",
        )
    if np.linalg.det(matrix) < 0 and not allow_mirror:
        raise MirroredError(
            "expected two pictures that see the scene from the same side, got one that is the "
            "mirror image of the other",
            hint="Check the columns: y counts downwards from the top in both. If the sensor does "
            "look through a mirror, allow it with --mirror.",
        )


def _normalised(shares: Points) -> Points:
    """Hartley's normalisation: centred, with a mean distance of the square root of two."""
    centred = shares - shares.mean(axis=0)
    out: Points = centred * (np.sqrt(2) / np.linalg.norm(centred, axis=1).mean())
    return out
