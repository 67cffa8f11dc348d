"""A camera for demonstrations and tests: objects that move over a background, and where they are.

Objects are warm (red far above green), the background is cool, both are textured; so a threshold
on colour finds what :meth:`Scene.truth` tells, and the network has something to look at.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.config import check
from picosam_sdk.errors import CameraError
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.pacing import Pacer
from picosam_sdk.types import Frame, ImageArray, Roi

__all__ = ["Scene", "SyntheticCamera", "SyntheticConfig"]


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """``kind = "synthetic"``.

    Args:
        size_px: width and height.
        fps: frames a second; 0 for as fast as they are read.
        frames: after how many it ends; 0 for never.
        objects: how many move; a later one hides an earlier one.
        object_size: their height as a share of the view's shorter side.
        speed: rounds through the view in a second's worth of frames (30).
        seed: of textures, shapes and paths; the same seed gives the same pictures.
    """

    size_px: tuple[int, int] = (640, 480)
    fps: float = 30.0
    frames: int = 0
    objects: int = 1
    object_size: float = 0.35
    speed: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        fits = all(16 <= side_px <= 8192 for side_px in self.size_px)
        check(fits, "size_px", "a width and height from 16 to 8192 px", self.size_px)
        check(0 <= self.fps <= 1000, "fps", "a rate from 0 to 1000", self.fps)
        check(self.frames >= 0, "frames", "a number of frames, or 0", self.frames)
        check(0 <= self.objects <= 32, "objects", "a number from 0 to 32", self.objects)
        check(0.02 <= self.object_size <= 1, "object_size", "a share from 0.02 to 1",
              self.object_size)  # fmt: skip
        check(0 <= self.speed <= 10, "speed", "0 to 10 rounds", self.speed)
        check(self.seed >= 0, "seed", "a number of at least 0", self.seed)


class Scene:
    """What the camera looks at: a function of the frame's number alone.

    Args:
        config: as of the camera.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        rng = np.random.default_rng(config.seed)
        width_px, height_px = config.size_px
        noise = _noise(rng, width_px, height_px, cells=6) * 0.7
        noise += _noise(rng, width_px, height_px, cells=40) * 0.3
        self._background = _tint(noise, dark=(20, 60, 70), light=(110, 150, 190))
        side_px = max(8, round(config.object_size * min(config.size_px)))
        self._sprites = [_sprite(rng, side_px) for _ in range(config.objects)]
        self._paths = [rng.uniform(0, 1, 4) for _ in range(config.objects)]

    def render(self, index: int) -> ImageArray:
        """The picture of a frame, uint8 (height_px, width_px, 3) RGB."""
        image = self._background.copy()
        for number, (picture, shape) in enumerate(self._sprites):
            x, y = self._corner(number, index)
            part = image[y : y + shape.shape[0], x : x + shape.shape[1]]
            part[shape] = picture[shape]
        return image

    def truth(self, index: int) -> NDArray[np.bool_]:
        """Where each object shows in a frame: bool (objects, height_px, width_px)."""
        width_px, height_px = self.config.size_px
        masks = np.zeros((len(self._sprites), height_px, width_px), np.bool_)
        for number, (_, shape) in enumerate(self._sprites):
            x, y = self._corner(number, index)
            window = (slice(y, y + shape.shape[0]), slice(x, x + shape.shape[1]))
            masks[number][window] = shape
            for hidden in masks[:number]:
                hidden[window] &= ~shape
        return masks

    def boxes(self, index: int) -> list[Roi]:
        """The box of each object in a frame, hidden parts included."""
        boxes = []
        for number, (_, shape) in enumerate(self._sprites):
            rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
            x, y = self._corner(number, index)
            left, top = x + int(columns[0]), y + int(rows[0])
            size_px = self.config.size_px
            boxes.append(Roi.from_pixels(left, top, len(columns), len(rows), size_px))
        return boxes

    def _corner(self, number: int, index: int) -> tuple[int, int]:
        """Top left corner of an object: a Lissajous figure inside the view."""
        shape = self._sprites[number][1]
        turn = 2 * math.pi * self.config.speed * index / 30
        phase_x, phase_y, rate_x, rate_y = self._paths[number]
        x = 0.5 + 0.5 * math.sin(turn * (0.6 + 0.4 * rate_x) + 2 * math.pi * phase_x)
        y = 0.5 + 0.5 * math.sin(turn * (0.6 + 0.4 * rate_y) + 2 * math.pi * phase_y)
        width_px, height_px = self.config.size_px
        return round(x * (width_px - shape.shape[1])), round(y * (height_px - shape.shape[0]))


class SyntheticCamera(Camera):
    """Shows a :class:`Scene`; a slow reader loses no frame."""

    name: ClassVar[str] = "synthetic"
    Config: ClassVar[type] = SyntheticConfig
    live: ClassVar[bool] = False

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.scene: Scene | None = None
        """What it looks at, while it is open: tests ask it for the truth."""
        self._pacer = Pacer(0)
        self._index = 0

    def open(self) -> None:
        self.scene = Scene(self.config)
        self._pacer = Pacer(self.config.fps)
        self._index = 0

    def read(self, timeout_s: float) -> Frame | None:
        scene = self.scene
        if scene is None:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        if self.config.frames and self._index >= self.config.frames:
            return None
        self._pacer.wait(timeout_s)
        timestamp_ns = time.monotonic_ns()
        frame = Frame(scene.render(self._index), timestamp_ns, self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        self._pacer.close()
        self.scene = None


def _noise(
    rng: np.random.Generator, width_px: int, height_px: int, cells: int
) -> NDArray[np.float32]:
    """Smooth noise from 0 to 1, ``cells`` lumps along the shorter side."""
    import cv2

    scale = cells / min(width_px, height_px)
    shape = (max(2, round(height_px * scale)), max(2, round(width_px * scale)))
    coarse = rng.random(shape, dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC), 0, 1)


def _tint(
    values: NDArray[np.float32], dark: tuple[int, int, int], light: tuple[int, int, int]
) -> ImageArray:
    """A picture whose colours run from dark to light as the values do from 0 to 1."""
    low, high = np.array(dark, np.float32), np.array(light, np.float32)
    return np.rint(low + values[..., None] * (high - low)).astype(np.uint8)


def _sprite(rng: np.random.Generator, side_px: int) -> tuple[ImageArray, NDArray[np.bool_]]:
    """An object: a lumpy disc, as a picture with stripes and the shape that is opaque."""
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32)
    x, y = (columns + 0.5) / side_px * 2 - 1, (rows + 0.5) / side_px * 2 - 1
    angle = np.arctan2(y, x)
    radius = np.full_like(x, 0.8)
    for lobes in (2, 3, 5):
        radius += rng.uniform(0.02, 0.07) * np.sin(lobes * angle + rng.uniform(0, 2 * math.pi))
    distance = np.hypot(x, y)
    tilt = rng.uniform(0, math.pi)
    stripes = 0.5 + 0.5 * np.sin(12 * (x * math.cos(tilt) + y * math.sin(tilt)))
    light = np.clip(0.55 * (1 - distance * 0.5) + 0.45 * stripes, 0, 1).astype(np.float32)
    green = int(rng.integers(10, 50))
    picture = _tint(light, dark=(170, green, 20), light=(250, green + 60, 60))
    return picture, distance < radius
