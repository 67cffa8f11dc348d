"""The data that flows through the SDK: plain, frozen, validated."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError

__all__ = ["Box", "CropRule", "Frame", "Gaze", "ImageArray", "Prompt", "Roi"]

ImageArray = NDArray[np.uint8]
"""An RGB picture: uint8, shape (height_px, width_px, 3)."""


class Box(NamedTuple):
    """A rectangle of whole pixels: columns x0 to x1 - 1, rows y0 to y1 - 1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest, as shares of the camera's full field of view.

    The view is the unit square, (0, 0) its top left corner. A ROI may reach over the border
    (an eye tracker's does, at times); it is clipped where pixels are read, and one that lies
    wholly outside is refused there.

    Args:
        x, y: top left corner.
        width, height: extent, larger than zero.

    Raises:
        InputError: a value is not finite, or the ROI has no area.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        for value in (self.x, self.y, self.width, self.height):
            # This runs for each ROI of each frame, and asking for the abstract Real is slow.
            if not ((type(value) is float or isinstance(value, Real)) and math.isfinite(value)):
                raise InputError(
                    "expected a ROI of four finite numbers, got "
                    f"{(self.x, self.y, self.width, self.height)}",
                    hint="Drop prompts whose coordinates are NaN, as when the gaze is lost.",
                )
        if self.width <= 0 or self.height <= 0:
            raise InputError(
                "expected a ROI with a width and height above zero, "
                f"got {self.width} x {self.height}",
                hint="Give x, y, width, height (not two corners), or prompt with a point instead.",
            )

    @classmethod
    def from_pixels(cls, x: float, y: float, width: float, height: float, image: Any, /) -> Roi:
        """Makes a ROI from pixels of a picture.

        Args:
            x, y, width, height: in pixels; ``x + width`` is the first column outside.
            image: the picture, or its size as ``(width_px, height_px)``.
        """
        width_px, height_px = size_of(image)
        return cls(x / width_px, y / height_px, width / width_px, height / height_px)

    def to_pixels(self, width_px: int, height_px: int) -> Box:
        """The whole pixels that the ROI covers, clipped to the picture; never empty.

        Raises:
            InputError: the ROI lies wholly outside the view.
        """
        if not self.overlaps_view():
            raise InputError(
                f"expected a ROI that overlaps the picture, got {self} "
                "(the picture is the unit square)",
                hint="Check that the ROI belongs to this picture and is in shares, "
                "or use Roi.from_pixels.",
            )
        x0, x1 = _pixel_span(self.x, self.width, width_px)
        y0, y1 = _pixel_span(self.y, self.height, height_px)
        return Box(x0, y0, x1, y1)

    def overlaps_view(self) -> bool:
        """Whether any part of the ROI lies inside the unit square."""
        return self.x < 1 and self.y < 1 and self.x + self.width > 0 and self.y + self.height > 0

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def grow(self, share: float) -> Roi:
        """The same centre, each side moved outwards by ``share`` of the ROI's own size."""
        dx, dy = self.width * share, self.height * share
        return Roi(self.x - dx, self.y - dy, self.width + 2 * dx, self.height + 2 * dy)

    def square(self, aspect: float = 1.0) -> Roi:
        """The smallest square around it with the same centre.

        Args:
            aspect: width of the view over its height in pixels, so that the result is square
                in pixels and not in shares.
        """
        side = max(self.width * aspect, self.height)
        width, height = side / aspect, side
        cx, cy = self.center
        return Roi(cx - width / 2, cy - height / 2, width, height)

    def iou(self, other: Roi) -> float:
        """Intersection over union of the two rectangles, 0 to 1."""
        overlap_x = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        overlap_y = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if overlap_x <= 0 or overlap_y <= 0:
            return 0.0
        intersection = overlap_x * overlap_y
        union = self.width * self.height + other.width * other.height - intersection
        if not 0 < union < math.inf:  # below or above what floats can hold
            return 0.0
        return min(1.0, intersection / union)


@dataclass(frozen=True, slots=True)
class CropRule:
    """How a ROI becomes the network's input; belongs to the model card.

    Args:
        size_px: side of the network's square input, in pixels.
        padding: share of the ROI's size added on each of its four sides.
        square: whether the padded ROI is made square about its centre before it is clipped
            to the picture. The paper's rule does; without it the network sees how the box
            is shaped, since a narrow box is stretched to the square input.
    """

    size_px: int = 96
    padding: float = 0.10
    square: bool = True

    def __post_init__(self) -> None:
        if self.size_px < 1 or not 0 <= self.padding < 10:
            raise InputError(
                f"expected size_px >= 1 and a padding from 0 to 10, got {self}",
                hint="The paper's rule is CropRule(size_px=96, padding=0.10, square=True).",
            )


PAPER_RULE = CropRule(size_px=96, padding=0.10, square=True)
"""The crop of the PicoSAM3 paper's evaluation protocol (arXiv 2603.11917)."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a camera gave at one instant.

    Args:
        image: RGB picture, or None where the pixels stay inside the sensor.
        timestamp_ns: when it was exposed, on the monotonic clock (``time.monotonic_ns``).
        index: running number within its stream, from 0.
    """

    image: ImageArray | None
    timestamp_ns: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Gaze:
    """Where an eye looked at one instant.

    Args:
        x, y: as shares of the view that it was measured in or mapped to, (0, 0) its top left
            corner. NaN where the tracker lost the eye; outside [0, 1] where it looked past.
        timestamp_ns: when the eye was measured, on the host's monotonic clock.
        confidence: of the tracker, 0 to 1.
        worn: False if the tracker says that nobody wears it.
    """

    x: float
    y: float
    timestamp_ns: int
    confidence: float = 1.0
    worn: bool = True

    @property
    def valid(self) -> bool:
        """Whether there is a place that was looked at, inside or outside the view."""
        return self.worn and math.isfinite(self.x) and math.isfinite(self.y)

    @property
    def inside(self) -> bool:
        """Whether it is valid and lies inside the view."""
        return self.valid and 0 <= self.x < 1 and 0 <= self.y < 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a ROI source asks for: a ROI, or a point on the object. Exactly one of the two.

    Args:
        roi: a box around the object.
        point: x, y on the object, as shares of the view, inside it.
        timestamp_ns: when that was measured which it stands for, such as the gaze, on the
            monotonic clock; the pipeline tells every result how old it was. 0: it is timeless.
        region: name of what is watched there, such as "shelf 2"; results carry it.
        gaze: the gaze that it was made from, if any.

    Raises:
        InputError: neither or both are given, or the point lies outside the view.
    """

    roi: Roi | None = None
    point: tuple[float, float] | None = None
    timestamp_ns: int = 0
    region: str = ""
    gaze: Gaze | None = None

    def __post_init__(self) -> None:
        if (self.roi is None) == (self.point is None):
            raise InputError(
                f"expected a ROI or a point, got {'neither' if self.roi is None else 'both'}",
                hint="Return None where there is nothing to prompt with.",
            )
        if self.point is not None and not all(0 <= value < 1 for value in self.point):
            raise InputError(
                f"expected a point inside the view, as shares of it, got {self.point}",
                hint="Return None while the gaze or pointer is outside.",
            )


def size_of(image: Any) -> tuple[int, int]:
    """``(width_px, height_px)`` of an array (H, W, ...), a PIL image, or such a pair itself."""
    if isinstance(image, np.ndarray) and image.ndim >= 2:
        width_px, height_px = int(image.shape[1]), int(image.shape[0])
    else:
        pair = getattr(image, "size", image)
        try:
            width_px, height_px = (operator.index(value) for value in pair)
        except (TypeError, ValueError):
            raise InputError(
                f"expected an image or a pair (width_px, height_px), got {type(image).__name__}",
                hint="Pass the picture itself: Roi.from_pixels(40, 60, 200, 180, image).",
            ) from None
    if width_px < 1 or height_px < 1:
        raise InputError(
            f"expected a picture of at least 1 x 1 pixels, got {width_px} x {height_px}",
            hint="Check that the picture was read.",
        )
    return width_px, height_px


def _pixel_span(start: float, length: float, size_px: int) -> tuple[int, int]:
    """Rounds a span of the unit interval to whole pixels inside [0, size_px), at least one."""
    low = min(max(start, 0.0), 1.0)
    high = min(max(start + length, 0.0), 1.0)
    first = min(round(low * size_px), size_px - 1)
    return first, max(round(high * size_px), first + 1)
