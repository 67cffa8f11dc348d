"""Ways to show a mask on its picture: frozen settings with one method, ``annotate(image, mask)``.

::

    from picosam_sdk.annotators import Halo

    picture = Halo(color=(64, 200, 255)).annotate(image, mask)

The picture that goes in is never changed, and what comes out shares no memory with it. Sizes that
are not given follow the frame's longer side, so that a photograph and its thumbnail look alike.

These are for eyes. What leaves the device is made by the egress policy's grants "cutout" and
"redacted", whose blur is far coarser.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from picosam_sdk import painting
from picosam_sdk.errors import InputError
from picosam_sdk.mask import Mask
from picosam_sdk.painting import Color
from picosam_sdk.types import Box, ImageArray

__all__ = [
    "ANNOTATORS",
    "Annotator",
    "BlurOutside",
    "CutOut",
    "Halo",
    "Outline",
    "Overlay",
    "PixelateOutside",
]


class Annotator(ABC):
    """A way to show a mask."""

    name: ClassVar[str]
    """In :data:`ANNOTATORS`."""

    @abstractmethod
    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        """A new picture that shows the mask.

        Args:
            image: the frame's picture, anything :func:`picosam_sdk.images.load_image` takes.
            mask: of this picture.

        Returns:
            uint8 (H, W, 3) RGB.

        Raises:
            InputError: the picture cannot be used, or has another size than the mask's frame.
        """


@dataclass(frozen=True, slots=True)
class Overlay(Annotator):
    """The object tinted and outlined, as :meth:`picosam_sdk.mask.Mask.overlay` draws it.

    Args:
        color: RGB.
        alpha: how strong the tint is, 0 (outline only) to 1.
    """

    color: Color = (255, 64, 32)
    alpha: float = 0.45
    name: ClassVar[str] = "overlay"

    def __post_init__(self) -> None:
        painting.check_color(self.color, self.alpha)

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        return mask.overlay(image, self.color, self.alpha)


@dataclass(frozen=True, slots=True)
class Outline(Annotator):
    """A line along the inner edge of the object.

    Args:
        color: RGB.
        line_px: its width; None for 1/320 of the frame's longer side.
    """

    color: Color = (255, 64, 32)
    line_px: int | None = None
    name: ClassVar[str] = "outline"

    def __post_init__(self) -> None:
        painting.check_color(self.color)
        _check_size(self.line_px, "line_px")

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        out = _copy(image, mask)
        box, bits = mask.window
        line_px = self.line_px or round(_share(mask, 320))
        painting.outline(painting.view_of(out, box), bits, self.color, line_px)
        return out


@dataclass(frozen=True, slots=True)
class Halo(Annotator):
    """A glow around the object, which itself stays as it is.

    Args:
        color: RGB.
        radius_px: how far it reaches; None for 1/32 of the frame's longer side.
        alpha: how strong it is at the object, 0 to 1.
    """

    color: Color = (255, 214, 10)
    radius_px: float | None = None
    alpha: float = 0.9
    name: ClassVar[str] = "halo"

    def __post_init__(self) -> None:
        painting.check_color(self.color, self.alpha)
        _check_size(self.radius_px, "radius_px")

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        out = _copy(image, mask)
        found = mask.bbox()
        if found is None:
            return out
        radius_px = self.radius_px or _share(mask, 32)
        x, y, width, height = found
        reach = int(np.ceil(radius_px)) + 1
        window = Box(
            max(0, x - reach), max(0, y - reach),
            min(mask.size_px[0], x + width + reach), min(mask.size_px[1], y + height + reach),
        )  # fmt: skip
        box, bits = mask.window
        inside = np.zeros((window.height, window.width), np.bool_)
        part = bits[y - box.y0 : y - box.y0 + height, x - box.x0 : x - box.x0 + width]
        top, left = y - window.y0, x - window.x0
        inside[top : top + height, left : left + width] = part
        around = painting.view_of(out, window)
        painting.glow(around, inside, self.color, radius_px, self.alpha)
        return out


@dataclass(frozen=True, slots=True)
class BlurOutside(Annotator):
    """The object sharp, and all around it blurred; its colours do not run into the blur.

    Without an object all of the picture is blurred.

    Args:
        sigma_px: standard deviation of the blur; None for 1/64 of the frame's longer side.
    """

    sigma_px: float | None = None
    name: ClassVar[str] = "blur"

    def __post_init__(self) -> None:
        _check_size(self.sigma_px, "sigma_px")

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        picture = painting.picture_of(image, mask.size_px)
        sigma_px = self.sigma_px or _share(mask, 64)
        return _with_object(picture, mask, painting.blurred_around(picture, *mask.window, sigma_px))


@dataclass(frozen=True, slots=True)
class PixelateOutside(Annotator):
    """The object sharp, and all around it in squares, into which its colours do not run.

    Without an object all of the picture is in squares.

    Args:
        block_px: side of a square; None for 1/48 of the frame's longer side.
    """

    block_px: int | None = None
    name: ClassVar[str] = "pixelate"

    def __post_init__(self) -> None:
        _check_size(self.block_px, "block_px")

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        picture = painting.picture_of(image, mask.size_px)
        block_px = self.block_px or round(_share(mask, 48))
        around = painting.pixelated_around(picture, *mask.window, block_px)
        return _with_object(picture, mask, around)


@dataclass(frozen=True, slots=True)
class CutOut(Annotator):
    """The object alone, on one colour. :meth:`picosam_sdk.mask.Mask.cutout` makes it transparent.

    Args:
        background: RGB.
    """

    background: Color = (0, 0, 0)
    name: ClassVar[str] = "cutout"

    def __post_init__(self) -> None:
        painting.check_color(self.background)

    def annotate(self, image: Any, mask: Mask) -> ImageArray:
        picture = painting.picture_of(image, mask.size_px)
        return _with_object(picture, mask, painting.flat(self.background, picture.shape))


ANNOTATORS: dict[str, type[Annotator]] = {
    cls.name: cls for cls in (Overlay, Outline, Halo, BlurOutside, PixelateOutside, CutOut)
}
"""All of them by name; each can be made without arguments."""


def _copy(image: Any, mask: Mask) -> ImageArray:
    return np.array(painting.picture_of(image, mask.size_px), order="C")


def _with_object(picture: ImageArray, mask: Mask, out: ImageArray) -> ImageArray:
    """The object of one picture put into another, which is ours."""
    box, bits = mask.window
    painting.copy_object(painting.view_of(picture, box), bits, painting.view_of(out, box))
    return out


def _share(mask: Mask, parts: int) -> float:
    """A part of the frame's longer side, at least 1 px."""
    return max(1.0, max(mask.size_px) / parts)


def _check_size(value: float | None, name: str) -> None:
    if value is not None and not 1 <= value <= 10_000:
        raise InputError(
            f"expected {name} from 1 to 10000 pixels, or None, got {value}",
            hint="Leave it out to let it follow the size of the picture.",
        )
