"""Prompts as the command line writes them."""

from __future__ import annotations

from picosam_sdk.errors import InputError
from picosam_sdk.types import Roi

__all__ = ["parse_point", "parse_roi"]


def parse_roi(text: str, size_px: tuple[int, int]) -> Roi:
    """``x,y,width,height`` in pixels, or in percent of the picture with a trailing ``%``.

    Raises:
        InputError: the text is something else, or no box.
    """
    (x, y, width, height), percent = _numbers(text, 4, "--roi x,y,width,height")
    return Roi.from_pixels(x, y, width, height, (100, 100) if percent else size_px)


def parse_point(text: str, size_px: tuple[int, int]) -> tuple[float, float]:
    """``x,y`` in pixels, or in percent of the picture with a trailing ``%``; gives pixels.

    Raises:
        InputError: the text is something else.
    """
    (x, y), percent = _numbers(text, 2, "--point x,y")
    return (x * size_px[0] / 100, y * size_px[1] / 100) if percent else (x, y)


def _numbers(text: str, count: int, form: str) -> tuple[list[float], bool]:
    percent = text.rstrip().endswith("%")
    try:
        numbers = [float(part) for part in text.replace("%", "").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InputError(
            f"expected {form} with {count} numbers, got '{text}'",
            hint="Write pixels as 40,60,200,180 or percent as 10,20,50,40% (a point: 320,240).",
        )
    return numbers, percent
