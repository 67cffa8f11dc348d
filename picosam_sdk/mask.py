"""What the network saw: a mask with the ROI that it was computed under, and a result of the loop.

A :class:`Mask` stays as small as the network's output. Its methods paste it into the frame when
they are called.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import geometry, painting, rle
from picosam_sdk.errors import InputError
from picosam_sdk.images import save_image
from picosam_sdk.types import Box, Frame, Gaze, ImageArray, Roi, size_of

__all__ = ["Mask", "Result"]

_BIT_LOGIT = 10.0
"""The logit that stands for a sure pixel: a probability of 0.99995."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A segmented object. It may be empty: the network saw no object.

    Args:
        logits: float32 (h, w), the network's output; copied, then read-only. A pixel belongs
            to the object where its logit, resized to the frame, is above ``threshold``.
        roi: the ROI in force: the part of the view that the logits cover, after padding and
            clipping to the frame.
        score: the IoU with the true mask that the network expects, 0 to 1.
        size_px: ``(width_px, height_px)`` of the frame.
        prompt: the ROI that was asked for, None if there was none.
        threshold: a logit; 0 is a probability of one half.

    Raises:
        InputError: a value has another type or shape, or is not finite.
    """

    logits: NDArray[np.float32] = field(repr=False)
    roi: Roi
    score: float
    size_px: tuple[int, int]
    prompt: Roi | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        logits: Any = self.logits
        if not isinstance(logits, np.ndarray) or logits.ndim != 2 or logits.dtype != np.float32:
            raise InputError(
                f"expected logits of float32 (h, w), got {_describe(logits)}",
                hint="Pass one output of the network, or use Mask.from_bits for a mask of bools.",
            )
        logits = logits.copy()
        # The sum of squares is finite only if all are, and takes a third of the time.
        if logits.size == 0 or not (
            math.isfinite(np.vdot(logits, logits)) or np.isfinite(logits).all()
        ):
            raise InputError(
                f"expected logits that are all finite, got {_describe(logits)} with NaN, "
                "infinite or no values",
                hint="Check the model and its input.",
            )
        if not (math.isfinite(self.score) and math.isfinite(self.threshold)):
            raise InputError(
                f"expected a finite score and threshold, got {self.score} and {self.threshold}",
                hint="Give a score from 0 to 1 and a threshold in logits.",
            )
        if not isinstance(self.roi, Roi):
            raise InputError(
                f"expected a Roi, got {type(self.roi).__name__}",
                hint="Pass the ROI that the logits cover; Roi(0, 0, 1, 1) is the whole view.",
            )
        size_px = size_of(self.size_px)
        if not self.roi.overlaps_view():
            self.roi.to_pixels(*size_px)  # raises
        logits.flags.writeable = False
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "size_px", size_px)

    @classmethod
    def from_bits(
        cls,
        bits: NDArray[Any],
        roi: Roi | None = None,
        score: float = 1.0,
        size_px: tuple[int, int] | None = None,
        prompt: Roi | None = None,
    ) -> Mask:
        """Makes a mask from hard values, such as an annotation.

        Args:
            bits: bool or integers (h, w); what is not 0 belongs to the object.
            roi: the part of the view that the bits cover; the whole view if None.
            score, prompt: as in the class.
            size_px: of the frame; the bits' own ``(w, h)`` if None.

        Raises:
            InputError: the bits are not such an array, or as in the class.
        """
        if not isinstance(bits, np.ndarray) or bits.ndim != 2 or bits.dtype.kind not in "bui":
            raise InputError(
                f"expected a mask of bool (h, w), got {_describe(bits)}",
                hint="Compare with a threshold first, as in logits > 0.",
            )
        logits = np.where(bits, np.float32(_BIT_LOGIT), np.float32(-_BIT_LOGIT))
        return cls(
            logits=logits,
            roi=Roi(0.0, 0.0, 1.0, 1.0) if roi is None else roi,
            score=score,
            size_px=size_of(bits) if size_px is None else size_px,
            prompt=prompt,
        )

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The sigmoid of the logits, float32 (h, w), 0 to 1."""
        probabilities: NDArray[np.float32] = 0.5 + 0.5 * np.tanh(self.logits * 0.5)
        return probabilities

    @property
    def area_px(self) -> int:
        """How many pixels of the frame belong to the object."""
        import cv2

        return cv2.countNonZero(self.window[1].view(np.uint8))

    @cached_property
    def window(self) -> tuple[Box, NDArray[np.bool_]]:
        """The frame's pixels that the logits cover, and the mask there.

        Returns:
            The box, and bool (height, width) of its size, read-only. Outside of it is no object.
        """
        box = self.roi.to_pixels(*self.size_px)
        bits = geometry.resize(self.logits, box.width, box.height) > self.threshold
        bits.flags.writeable = False
        return box, bits

    def paste(self, width_px: int | None = None, height_px: int | None = None) -> NDArray[np.bool_]:
        """The mask as large as the frame, or as another size of the same view.

        Returns:
            bool (height_px, width_px), False outside the ROI in force.
        """
        size_px = size_of((width_px or self.size_px[0], height_px or self.size_px[1]))
        if size_px == self.size_px:
            box, bits = self.window
            full = np.zeros((size_px[1], size_px[0]), dtype=np.bool_)
            full[box.y0 : box.y1, box.x0 : box.x1] = bits
            return full
        return geometry.paste(self.logits, self.roi.to_pixels(*size_px), *size_px, self.threshold)

    def rle(self) -> dict[str, Any]:
        """COCO's compressed RLE of the whole frame: ``{"size": [h, w], "counts": str}``."""
        return rle.encode(self.paste())

    def bbox(self) -> tuple[int, int, int, int] | None:
        """The smallest ``(x, y, width, height)`` in pixels of the frame; None if empty."""
        import cv2

        box, bits = self.window
        x, y, width, height = cv2.boundingRect(bits.view(np.uint8))
        return (box.x0 + x, box.y0 + y, width, height) if width else None

    def polygons(self) -> list[NDArray[np.float64]]:
        """The outer contours, along the edges of the pixels; holes are not in them.

        Returns:
            One float64 (k, 2) of x, y in pixels of the frame for each connected part, the
            corner of the top left pixel being (0, 0). Filled, they give the mask back.
        """
        import cv2

        box, bits = self.window
        # Each pixel becomes 2 x 2, whose left (top) one lies on its left (top) edge and so on.
        doubled = bits.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
        contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        polygons = []
        for contour in contours:
            corners = (contour[:, 0, :] + 1) // 2
            moved = (corners != np.roll(corners, 1, axis=0)).any(axis=1)
            polygons.append(corners[moved] + np.array([box.x0, box.y0], dtype=np.float64))
        return polygons

    def overlay(
        self, image: Any, color: tuple[int, int, int] = (255, 64, 32), alpha: float = 0.45
    ) -> ImageArray:
        """A copy of the picture with the object tinted and outlined.

        Args:
            image: the frame's picture, anything :func:`picosam_sdk.images.load_image` takes.
            color: RGB, 0 to 255 each.
            alpha: how strong the tint is, 0 (outline only) to 1.

        Returns:
            uint8 (H, W, 3) RGB.

        Raises:
            InputError: the picture has another size than the frame, or a value is out of range.
        """
        painting.check_color(color, alpha)
        out = np.array(painting.picture_of(image, self.size_px), order="C")
        box, bits = self.window
        part = painting.view_of(out, box)
        painting.tint(part, bits, color, alpha)
        painting.outline(part, bits, color, max(1, round(max(self.size_px) / 500)))
        return out

    def cutout(self, image: Any) -> NDArray[np.uint8]:
        """The object alone: its pixels opaque, all others transparent and black.

        The other pixels' colours are removed, not only hidden.

        Args:
            image: the frame's picture, anything :func:`picosam_sdk.images.load_image` takes.

        Returns:
            uint8 (H, W, 4) RGBA.

        Raises:
            InputError: the picture has another size than the frame.
        """
        import cv2

        picture = painting.picture_of(image, self.size_px)
        box, bits = self.window
        opaque = cv2.cvtColor(painting.view_of(picture, box), cv2.COLOR_RGB2RGBA)
        out = np.zeros((*picture.shape[:2], 4), dtype=np.uint8)
        painting.copy_object(opaque, bits, painting.view_of(out, box))
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask, as large as the frame, as an 8-bit PNG: 255 inside, 0 outside.

        Raises:
            InputError: the name does not end in ``.png``, or the file cannot be written.
        """
        if not os.fspath(path).lower().endswith(".png"):
            raise InputError(
                f"expected a file name that ends in .png, got {os.fspath(path)}",
                hint="A mask is written as PNG only, which keeps its values exact.",
            )
        save_image(self.paste().view(np.uint8) * np.uint8(255), path)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What the loop hands over for one frame.

    Args:
        frame: what the camera gave. A recipient finds in it only what the egress policy
            granted: usually no image.
        mask: None if there was no prompt to answer, or its answer was dropped.
        roi: the ROI that was asked for; None if none was.
        timings_ms: how long each step took.
        ages_ns: how old each ingredient was when the result was made, such as frame and ROI.
        settling: a sensor's ROI had just been changed, and the mask may still belong to the
            ROI before.
        region: name of what the ROI source watches there, "" if it has none.
        gaze: what prompted it; None if that was no gaze, or it was not granted.
        image_grant: which grant ``frame.image`` was released under: "pixels", "cutout",
            "redacted"; "" where there is no image, or inside the pipeline.
    """

    frame: Frame
    mask: Mask | None
    roi: Roi | None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    ages_ns: Mapping[str, int] = field(default_factory=dict)
    settling: bool = False
    region: str = ""
    gaze: Gaze | None = None
    image_grant: str = ""


def _describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
