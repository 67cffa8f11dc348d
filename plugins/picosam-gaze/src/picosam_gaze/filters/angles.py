"""Visual angle: from shares of the scene camera's view to degrees and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from picosam_sdk.config import check

__all__ = ["View"]


@dataclass(frozen=True, slots=True)
class View:
    """A scene camera as a pinhole: the directions in which its picture's points lie.

    Degrees are counted in a plane whose origin is the optical axis: a point's distance from the
    origin is its angle from the axis (azimuthal equidistant projection). Distances along a line
    through the origin are exact; across it they come out too large, by 2 % at 20 degrees from
    the axis and 9 % at 40. Thresholds of eye movements are not known that well.

    Args:
        fov_deg: horizontal field of view, 1 to 175 degrees.
        aspect: width of the view over its height, in pixels.
    """

    fov_deg: float = 90.0
    aspect: float = 4 / 3

    def __post_init__(self) -> None:
        check(1 <= self.fov_deg <= 175, "fov_deg", "1 to 175 degrees", self.fov_deg)
        check(0.1 <= self.aspect <= 10, "aspect", "width over height, 0.1 to 10", self.aspect)

    def to_deg(self, x: float, y: float) -> tuple[float, float]:
        """Degrees right of and below the optical axis.

        Args:
            x, y: as shares of the view; they may lie outside it.
        """
        half = math.tan(math.radians(self.fov_deg) / 2)
        right = (2 * x - 1) * half
        down = (2 * y - 1) * half / self.aspect
        radius = math.hypot(right, down)
        if radius < 1e-12:
            return 0.0, 0.0
        scale = math.degrees(math.atan(radius)) / radius
        return right * scale, down * scale

    def to_share(self, right_deg: float, down_deg: float) -> tuple[float, float]:
        """The inverse of :meth:`to_deg`; NaN for what lies 90 degrees or more off the axis."""
        half = math.tan(math.radians(self.fov_deg) / 2)
        radius = math.radians(math.hypot(right_deg, down_deg))
        if radius >= math.pi / 2:
            return math.nan, math.nan
        scale = math.tan(radius) / radius if radius > 1e-12 else 1.0
        right = math.radians(right_deg) * scale
        down = math.radians(down_deg) * scale
        return (right / half + 1) / 2, (down * self.aspect / half + 1) / 2
