"""Places looked at, as a device tells them, and what is no place."""

from __future__ import annotations

import math

__all__ = ["INVISIBLE_PX", "MAX_SHARE", "NEON_PX", "place"]

MAX_SHARE = 10.0
"""A gaze further off than this many views is an error of the device or the sender."""

NEON_PX = (1600, 1200)
"""Scene camera of Pupil Labs Neon."""

INVISIBLE_PX = (1088, 1080)
"""Scene camera of Pupil Invisible."""


def place(x: float, y: float, size_px: tuple[int, int] = (1, 1)) -> tuple[float, float]:
    """A device's x and y as shares of the view; NaN, NaN where they are no place.

    Args:
        x, y: in pixels of ``size_px``, or as shares.
        size_px: width and height of the view.
    """
    x, y = x / size_px[0], y / size_px[1]
    if math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= MAX_SHARE:
        return x, y
    return math.nan, math.nan
