"""Reading places and boxes out of a configuration: shares of the view, percent, or pixels."""

from __future__ import annotations

from typing import Literal

from picosam_sdk.config import check
from picosam_sdk.errors import InputError
from picosam_sdk.types import Roi

__all__ = ["Unit", "box_of", "check_unit", "place_of"]

Unit = Literal["share", "percent", "px"]
"""Of a configuration's numbers: shares of the view's width and height, percent of them, or
pixels of a picture whose size is given beside."""


def check_unit(unit: Unit, size_px: tuple[int, int] | None) -> None:
    """Refuses pixels without the picture's size, and a size without pixels.

    Raises:
        ConfigError: names the key ``size_px``.
    """
    check((size_px is not None) == (unit == "px"), "size_px",
          "a width and height for unit = 'px', else none", size_px)  # fmt: skip
    if size_px is not None:
        check(min(size_px) >= 1, "size_px", "at least 1 x 1 px", size_px)


def box_of(
    box: tuple[float, float, float, float],
    unit: Unit,
    size_px: tuple[int, int] | None,
    key: str,
) -> Roi:
    """The ROI that x, y, width and height stand for.

    Raises:
        ConfigError: it has no area, or lies outside the view; names the key.
    """
    scale_x, scale_y = _scale(unit, size_px)
    x, y, width, height = box
    try:
        roi = Roi(x / scale_x, y / scale_y, width / scale_x, height / scale_y)
    except InputError as error:
        check(False, key, "x, y, width, height with an area", box, hint=error.hint)
        raise AssertionError from error  # check() has raised
    check(roi.overlaps_view(), key, "a box that lies in the view", box,
          hint=f"Its unit is {unit!r}; (0, 0) is the top left corner.")  # fmt: skip
    return roi


def place_of(
    point: tuple[float, float], unit: Unit, size_px: tuple[int, int] | None, key: str
) -> tuple[float, float]:
    """The shares of the view that x and y stand for.

    Raises:
        ConfigError: the place lies outside the view; names the key.
    """
    scale_x, scale_y = _scale(unit, size_px)
    x, y = point[0] / scale_x, point[1] / scale_y
    check(0 <= x < 1 and 0 <= y < 1, key, "a place in the view", point,
          hint=f"Its unit is {unit!r}; (0, 0) is the top left corner.")  # fmt: skip
    return x, y


def _scale(unit: Unit, size_px: tuple[int, int] | None) -> tuple[float, float]:
    if unit == "px" and size_px is not None:
        return size_px
    return (100, 100) if unit == "percent" else (1, 1)
