"""The whole view, or its cells one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.rois.turns import TurnsSource
from picosam_sdk.types import Prompt, Roi

__all__ = ["GridConfig", "GridSource"]


@dataclass(frozen=True, slots=True)
class GridConfig:
    """``kind = "grid"``. One column and one row are the full view.

    Args:
        columns, rows: how many cells.
        overlap: share of a cell's width and height that it has in common with its neighbour,
            so that what lies on a border is whole in one of them.
        frames_each: how many frames each cell is prompted for before the next; a sensor needs
            some frames to turn to another place.
    """

    columns: int = 3
    rows: int = 2
    overlap: float = 0.25
    frames_each: int = 1

    def __post_init__(self) -> None:
        check(1 <= self.columns <= 64, "columns", "a number from 1 to 64", self.columns)
        check(1 <= self.rows <= 64, "rows", "a number from 1 to 64", self.rows)
        check(0 <= self.overlap < 0.9, "overlap", "a share from 0 to 0.9", self.overlap)
        check(self.frames_each >= 1, "frames_each", "at least 1", self.frames_each)

    def cells(self) -> list[Prompt]:
        """All cells, row by row; each carries a region such as "row 1 column 2"."""
        width, step_x = _cell(self.columns, self.overlap)
        height, step_y = _cell(self.rows, self.overlap)
        return [
            Prompt(
                roi=Roi(column * step_x, row * step_y, width, height),
                region=f"row {row + 1} column {column + 1}",
            )
            for row in range(self.rows)
            for column in range(self.columns)
        ]


class GridSource(TurnsSource):
    """Looks at every cell in turn: a search, for a chain's end."""

    name: ClassVar[str] = "grid"
    Config: ClassVar[type] = GridConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context, config.cells())


def _cell(count: int, overlap: float) -> tuple[float, float]:
    """Length of a cell, and from one to the next, so that ``count`` of them fill the view."""
    length = 1 / (count - (count - 1) * overlap)
    return length, length * (1 - overlap)
