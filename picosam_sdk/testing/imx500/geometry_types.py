"""libcamera's geometry, with its integer arithmetic and its refusal of negative sizes."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["Point", "Rectangle", "Size"]


class Point:
    def __init__(self, x: int = 0, y: int = 0) -> None:
        self.x, self.y = operator.index(x), operator.index(y)

    def __neg__(self) -> Point:
        return Point(-self.x, -self.y)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"libcamera.Point({self.x}, {self.y})"


class Size:
    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = _unsigned(width), _unsigned(height)

    def bounded_to_aspect_ratio(self, ratio: Size) -> Size:
        wide, high = self.width * ratio.height, ratio.width * self.height
        if wide > high:
            return Size(high // ratio.height, self.height)
        return Size(self.width, wide // ratio.width)

    def centered_to(self, center: Point) -> Rectangle:
        return Rectangle(
            center.x - self.width // 2, center.y - self.height // 2, self.width, self.height
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and (self.width, self.height) == (other.width, other.height)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"libcamera.Size({self.width}, {self.height})"


class Rectangle:
    def __init__(self, *args: Any) -> None:
        if len(args) == 1:
            args = (0, 0, args[0].width, args[0].height)
        elif len(args) == 3:
            args = (args[0], args[1], args[2].width, args[2].height)
        x, y, width, height = args or (0, 0, 0, 0)
        self.x, self.y = operator.index(x), operator.index(y)
        self.width, self.height = _unsigned(width), _unsigned(height)

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    @property
    def topLeft(self) -> Point:  # noqa: N802 - its name there
        return Point(self.x, self.y)

    @property
    def center(self) -> Point:
        return Point(self.x + self.width // 2, self.y + self.height // 2)

    @property
    def is_null(self) -> bool:
        return not (self.width or self.height)

    def bounded_to(self, bound: Rectangle) -> Rectangle:
        x, y = max(self.x, bound.x), max(self.y, bound.y)
        right = min(self.x + self.width, bound.x + bound.width)
        bottom = min(self.y + self.height, bound.y + bound.height)
        return Rectangle(x, y, max(right - x, 0), max(bottom - y, 0))

    def enclosed_in(self, boundary: Rectangle) -> Rectangle:
        width, height = min(self.width, boundary.width), min(self.height, boundary.height)
        x = min(max(self.x, boundary.x), boundary.x + boundary.width - width)
        y = min(max(self.y, boundary.y), boundary.y + boundary.height - height)
        return Rectangle(x, y, width, height)

    def scaled_by(self, numerator: Size, denominator: Size) -> Rectangle:
        return Rectangle(
            _divided(self.x * numerator.width, denominator.width),
            _divided(self.y * numerator.height, denominator.height),
            self.width * numerator.width // denominator.width,
            self.height * numerator.height // denominator.height,
        )

    def translated_by(self, point: Point) -> Rectangle:
        return Rectangle(self.x + point.x, self.y + point.y, self.width, self.height)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rectangle) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "libcamera.Rectangle({}, {}, {}, {})".format(*_values(self))


def _values(rectangle: Rectangle) -> tuple[int, int, int, int]:
    return rectangle.x, rectangle.y, rectangle.width, rectangle.height


def _unsigned(value: Any) -> int:
    number = operator.index(value)
    if number < 0:
        raise TypeError(f"incompatible constructor arguments: {number} is negative")
    return number


def _divided(numerator: int, denominator: int) -> int:
    """Division as in C: towards zero."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
