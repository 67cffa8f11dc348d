"""From the scene camera's view to the sensor's: where a gaze lies in the picture that is segmented.

The glasses' scene camera is another camera than the one that is segmented. Between the two lies a
homography, measured by :mod:`picosam_gaze.calibration`. It is exact for two cameras that turn
about one point, or that look at one plane; for two that stand apart it holds at the distance at
which it was calibrated, and elsewhere it is off by the parallax.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from picosam_gaze.lens import Lens
from picosam_sdk.types import Gaze

__all__ = ["HomographyMapping", "IdentityMapping", "Mapping"]


class Mapping(ABC):
    """From shares of the scene camera's view to shares of the sensor's."""

    @abstractmethod
    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point in the sensor's view; it may lie outside. NaN if there is none."""

    def gaze(self, gaze: Gaze) -> Gaze:
        """A gaze in the sensor's view, with all else as it was; NaN stays NaN."""
        x, y = self.point(gaze.x, gaze.y)
        return replace(gaze, x=x, y=y)


class IdentityMapping(Mapping):
    """The gaze was measured in the very view that is segmented."""

    def point(self, x: float, y: float) -> tuple[float, float]:
        return (x, y) if math.isfinite(x) and math.isfinite(y) else (math.nan, math.nan)


class HomographyMapping(Mapping):
    """Takes the lens out, then applies a homography.

    Args:
        matrix: 3 x 3, from shares of the scene camera's view, its lens taken out, to shares of
            the sensor's view.
        lens: of the scene camera; None for none to be taken out.
    """

    def __init__(self, matrix: Any, lens: Lens | None = None) -> None:
        self.matrix = np.array(matrix, dtype=np.float64)
        self._rows = [tuple(float(value) for value in row) for row in self.matrix]
        self._lens = lens

    def point(self, x: float, y: float) -> tuple[float, float]:
        if not (math.isfinite(x) and math.isfinite(y)):
            return math.nan, math.nan
        if self._lens is not None:
            x, y = self._lens.straighten(x, y)
        right, down, depth = (a * x + b * y + c for a, b, c in self._rows)
        # Not above zero (or NaN, of the lens): behind the sensor, where there is no view.
        if not depth > 1e-9:
            return math.nan, math.nan
        return right / depth, down / depth
