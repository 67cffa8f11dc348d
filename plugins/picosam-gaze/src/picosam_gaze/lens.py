"""The scene camera's lens: its distortion taken out of a point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError

__all__ = ["MAX_SIDE_PX", "Lens"]

_COEFFICIENTS = (4, 5, 8, 12, 14)
_MARGIN = 0.1

MAX_SIDE_PX = 65_535
"""Of the picture of a scene camera."""
_UNTURNED = np.eye(3)


@dataclass(frozen=True)
class Lens:
    """A pinhole camera with OpenCV's distortion, as camera calibrations give it.

    Args:
        size_px: of the picture that it was calibrated for.
        matrix: the camera matrix, 3 x 3: ``((fx, 0, cx), (0, fy, cy), (0, 0, 1))``, in pixels.
        distortion: OpenCV's coefficients ``k1, k2, p1, p2[, k3[, k4, k5, k6[, ...]]]``.

    Raises:
        InputError: a value has another shape, or is not finite, or a focal length is not above 0.
    """

    size_px: tuple[int, int]
    matrix: tuple[tuple[float, ...], ...]
    distortion: tuple[float, ...] = ()
    _arrays: tuple[NDArray[np.float64], NDArray[np.float64]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        try:
            matrix = np.array(self.matrix, dtype=np.float64)
            distortion = np.array(self.distortion, dtype=np.float64)
            size_px = np.array(self.size_px, dtype=np.float64)
        except (TypeError, ValueError):
            matrix = distortion = size_px = np.array(math.nan)
        shaped = matrix.shape == (3, 3) and distortion.ndim == 1 and size_px.shape == (2,)
        if not (
            shaped
            and all(np.isfinite(part).all() for part in (matrix, distortion, size_px))
            and matrix[0, 0] > 0
            and matrix[1, 1] > 0
            and (matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] == (0, 0, 0, 0, 1)).all()
            and 1 <= size_px.min() <= size_px.max() <= MAX_SIDE_PX
            and distortion.size in (0, *_COEFFICIENTS)
        ):
            raise InputError(
                "expected a 3 x 3 camera matrix with positive focal lengths, 0 or "
                f"{', '.join(map(str, _COEFFICIENTS))} distortion coefficients and a size of "
                f"1 to {MAX_SIDE_PX} pixels, got {self.matrix}, {self.distortion}, {self.size_px}",
                hint="Copy them from the camera's calibration; OpenCV's order is k1, k2, p1, p2, "
                "k3.",
            )
        if not distortion.size:
            distortion = np.zeros(4)
        object.__setattr__(self, "_arrays", (matrix, distortion))

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view of the pinhole, in degrees."""
        return math.degrees(2 * math.atan(self.size_px[0] / (2 * self.matrix[0][0])))

    def straighten(self, x: float, y: float) -> tuple[float, float]:
        """Where a point would lie without the distortion.

        Args:
            x, y: as shares of the picture.

        Returns:
            Shares of the picture; NaN for a point more than a tenth of a side outside the
            picture, where nobody knows what the lens does.
        """
        if not (-_MARGIN <= x <= 1 + _MARGIN and -_MARGIN <= y <= 1 + _MARGIN):
            return math.nan, math.nan
        point = self._undistort(np.array([[x, y]]))[0]
        return float(point[0]), float(point[1])

    def straighten_many(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of many points, float64 (n, 2)."""
        shares = np.asarray(shares, dtype=np.float64)
        out = self._undistort(shares)
        out[(shares < -_MARGIN).any(axis=1) | (shares > 1 + _MARGIN).any(axis=1)] = np.nan
        return out

    def _undistort(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        import cv2

        matrix, distortion = self._arrays
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        # OpenCV 5 has one function for what are two in OpenCV 4.
        undistort: Any = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
        seen = np.ascontiguousarray(shares * np.array(self.size_px, dtype=np.float64))[:, None]
        straight = undistort(seen, matrix, distortion, R=_UNTURNED, P=matrix, criteria=criteria)
        out: NDArray[np.float64] = straight[:, 0] / self.size_px
        return out

    def check(self) -> None:
        """Sees whether the distortion can be taken out all over the picture.

        Raises:
            InputError: it cannot: the coefficients belong to another model or camera.
        """
        steps = np.linspace(0, 1, 9)
        shares = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        error = np.abs(self.bend_many(self.straighten_many(shares)) - shares).max()
        if not error < 0.002:
            raise InputError(
                "expected distortion coefficients that can be taken out all over the picture, got "
                f"{self.distortion}, which leave an error of {error:.1%} of its side",
                hint="Check their order (k1, k2, p1, p2, k3) and that they are of this camera; a "
                "fisheye model's do not fit.",
            )

    def bend_many(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of :meth:`straighten_many`: where the lens shows points, float64 (n, 2)."""
        import cv2

        matrix, distortion = self._arrays
        rays = (np.asarray(shares) * self.size_px - matrix[:2, 2]) / np.diag(matrix)[:2]
        rays = np.column_stack([rays, np.ones(len(rays))])
        zero = np.zeros(3)
        seen: Any = cv2.projectPoints(rays[:, None], zero, zero, matrix, distortion)[0]
        return seen[:, 0] / self.size_px
