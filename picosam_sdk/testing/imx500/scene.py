"""What the emulated sensor looks at: a photo, a video, or a function of the frame's number.

The sensor sees 4056 x 3040; the emulation keeps every second pixel of that, the size of the
binned mode. A picture of another shape is shown whole, with black bars.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from picosam_sdk.errors import InputError
from picosam_sdk.geometry import resize
from picosam_sdk.images import load_image
from picosam_sdk.types import ImageArray

__all__ = ["Scene", "fit_to_view"]

WIDTH_PX, HEIGHT_PX = 2028, 1520
_VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


class Scene:
    """A source of pictures.

    Args:
        source: a path of a photo or video, a picture (RGB uint8 (H, W, 3)), a function of the
            frame's number that gives one, or None for the first sample photograph.

    Raises:
        InputError: the source cannot be read.
    """

    def __init__(self, source: Any = None) -> None:
        self._function: Callable[[int], Any] | None = None
        self._raster: ImageArray = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        self._drawn = -1
        self.version = 0
        """Changes with the picture."""
        self.show(source)

    def show(self, source: Any) -> None:
        """Turns to another source."""
        if source is None:
            from picosam_sdk.samples import sample_photos

            source = sample_photos()[0].path
        self._function = None
        if callable(source):
            self._function = source
        elif isinstance(source, (str, os.PathLike)) and str(source).lower().endswith(_VIDEOS):
            self._function = _video(Path(source))
        else:
            self._draw(source)

    def at(self, index: int) -> ImageArray:
        """The view at a frame: uint8 (1520, 2028, 3), not to be changed."""
        if self._function is not None and index != self._drawn:
            self._draw(self._function(index))
            self._drawn = index
        return self._raster

    def _draw(self, picture: Any) -> None:
        self._raster = resize(fit_to_view(load_image(picture)), WIDTH_PX, HEIGHT_PX)
        self.version += 1


def fit_to_view(image: ImageArray) -> ImageArray:
    """The picture whole, with black bars that give it the sensor's shape."""
    height_px, width_px = image.shape[:2]
    full_width = max(width_px, round(height_px * WIDTH_PX / HEIGHT_PX))
    full_height = max(height_px, round(width_px * HEIGHT_PX / WIDTH_PX))
    if (full_width, full_height) == (width_px, height_px):
        return image
    out = np.zeros((full_height, full_width, 3), np.uint8)
    top, left = (full_height - height_px) // 2, (full_width - width_px) // 2
    out[top : top + height_px, left : left + width_px] = image
    return out


def _video(path: Path) -> Callable[[int], ImageArray]:
    """The frames of a video, from the beginning again after its end."""
    import cv2

    capture = cv2.VideoCapture(str(path))

    def frame(_index: int) -> ImageArray:
        found, picture = capture.read()
        if not found:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found, picture = capture.read()
        if not found:
            raise InputError(
                f"expected a video in {path}, got a file that OpenCV cannot read",
                hint="Convert it to MP4 (H.264), or give a photo.",
            )
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    frame(0)
    return frame
