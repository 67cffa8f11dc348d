"""The view's cells, one after the other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import ConfigError, Context, Prompt, Roi
from picosam_sdk.rois.grid import GridConfig, GridSource
from picosam_sdk.testing.contract import RoiSourceContract


class TestGrid(RoiSourceContract):
    part = GridSource


def test_one_cell_is_the_full_view() -> None:
    source = GridSource(GridConfig(columns=1, rows=1), Context())
    assert source.latest(0) == Prompt(roi=Roi(0, 0, 1, 1), region="row 1 column 1")


def test_cells_take_turns_row_by_row() -> None:
    source = GridSource(GridConfig(columns=2, rows=2, overlap=0, frames_each=2), Context())
    source.open()
    rois = [prompt.roi for _ in range(9) if isinstance(prompt := source.latest(0), Prompt)]
    corners = [
        (0, 0),
        (0, 0),
        (0.5, 0),
        (0.5, 0),
        (0, 0.5),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 0.5),
        (0, 0),
    ]
    assert rois == [Roi(x, y, 0.5, 0.5) for x, y in corners]


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.89))
def test_cells_cover_the_view_and_overlap_as_told(columns: int, rows: int, overlap: float) -> None:
    cells = [cell.roi for cell in GridConfig(columns, rows, overlap).cells() if cell.roi]
    assert len(cells) == columns * rows
    first, last = cells[0], cells[-1]
    assert (first.x, first.y) == (0, 0)
    assert last.x + last.width == pytest.approx(1)
    assert last.y + last.height == pytest.approx(1)
    for one, other in itertools.pairwise(cells[:columns]):
        assert (one.x + one.width - other.x) / one.width == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("key", "value"), [("columns", 0), ("rows", 65), ("overlap", 0.95), ("frames_each", 0)]
)
def test_values_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        GridConfig(**{key: value})
