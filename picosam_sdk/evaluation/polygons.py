"""Polygons to masks, bit for bit as pycocotools does it, without needing it.

pycocotools walks each polygon's outline on a grid five times finer than the pixels and keeps, for
every column of pixels, the rows where the outline crosses the column's centre. A pixel is inside
if an odd number of crossings lie above it. ``cv2.fillPoly`` also paints the outline itself and so
makes a small object visibly larger.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError

__all__ = ["polygon_mask"]

MAX_OUTLINE_PX = 1_000_000
"""The longest outline that is walked: some numbers can ask for any amount of memory."""

SCALE = 5.0
"""Grid steps a pixel while the outline is walked, as in pycocotools."""


def polygon_mask(
    polygons: Iterable[NDArray[np.float64]], width_px: int, height_px: int
) -> NDArray[np.bool_]:
    """The union of some polygons.

    Args:
        polygons: each float64 (2 n,): x0, y0, x1, y1, ... in pixels, n >= 3, all finite.

    Returns:
        bool (height_px, width_px).

    Raises:
        InputError: an outline is longer than MAX_OUTLINE_PX.
    """
    by_column = np.zeros(width_px * height_px, dtype=np.bool_)
    for polygon in polygons:
        corners = polygon.reshape(-1, 2)
        with np.errstate(over="ignore"):
            length = np.abs(corners - np.roll(corners, -1, axis=0)).sum()
        if not max(length, np.abs(corners).max()) <= MAX_OUTLINE_PX:
            raise InputError(
                f"expected a polygon whose outline has at most {MAX_OUTLINE_PX} pixels",
                hint="Its corners lie far outside of the picture; correct the annotation.",
            )
        crossings = _crossings(*_outline(corners), width_px, height_px)
        for first, last in zip(crossings[0::2], crossings[1::2], strict=True):
            by_column[first:last] = True
    return by_column.reshape(width_px, height_px).T


def _outline(vertices: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The grid points (u, v) along the closed outline, both ends of every edge included."""
    start = (SCALE * vertices + 0.5).astype(np.int64)
    end = np.roll(start, -1, axis=0)
    reach = np.abs(end - start)
    steps = reach.max(axis=1)
    steep = reach[:, 1] > reach[:, 0]
    # An edge is walked from its smaller end along its longer axis, so that both directions agree.
    along = np.where(steep, 1, 0)
    rows = np.arange(len(start))
    flip = start[rows, along] > end[rows, along]
    low, high = np.where(flip[:, None], end, start), np.where(flip[:, None], start, end)
    slope = (high - low)[rows, 1 - along] / np.maximum(steps, 1)

    edge = np.repeat(rows, steps + 1)
    first = np.concatenate(([0], np.cumsum(steps + 1)[:-1]))
    step = np.arange(len(edge)) - first[edge]
    step = np.where(flip[edge], steps[edge] - step, step)
    major = low[rows, along][edge] + step
    minor = (low[rows, 1 - along][edge] + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(steep[edge], minor, major), np.where(steep[edge], major, minor)


def _crossings(
    u: NDArray[np.int64], v: NDArray[np.int64], width_px: int, height_px: int
) -> NDArray[np.int64]:
    """Where an outline is crossed, going down one column of pixels after the other.

    Returns:
        int64 (2 m,): indices into the pixels column by column, ascending; the inside is from
        each even one to the odd one after it.
    """
    moved = u[1:] != u[:-1]
    column = (np.minimum(u[1:], u[:-1])[moved] + 0.5) / SCALE - 0.5
    row = (np.minimum(v[1:], v[:-1])[moved] + 0.5) / SCALE - 0.5
    kept = (column == np.floor(column)) & (column >= 0) & (column <= width_px - 1)
    row = np.ceil(np.clip(row[kept], 0, height_px))
    return np.sort((column[kept] * height_px + row).astype(np.int64))
