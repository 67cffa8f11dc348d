"""What the glasses add to the SDK: an announcer for the wearer, and a film of what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk import Context, Publisher, Result, hookimpl
from picosam_sdk.errors import PublishError

GREEN, YELLOW = (80, 220, 120), (255, 210, 60)

Describe = Callable[[Result], str]
"""Your own classifier or words, for :class:`Announcer`: a result in, what to call it out."""


def area_in_words(result: Result) -> str:
    """Says of an object only how much of the view it takes: there is no label."""
    assert result.mask is not None
    width_px, height_px = result.mask.size_px
    return f"{result.mask.area_px / (width_px * height_px):.0%} of view"


class Announcer(Publisher):
    """Says what is held in view, once when it is found and then each second.

    Attributes:
        describe: what to call an object; put your own classifier here.
        say: where the sentence goes; put text to speech here.
    """

    name = "announce"
    describe: Describe = staticmethod(area_in_words)
    say: Callable[[str], None] = staticmethod(print)

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._since_ns = self._said_ns = 0
        self._box: tuple[int, int, int, int] | None = None

    def publish(self, result: Result) -> int | None:
        now_ns, box = result.frame.timestamp_ns, result.mask.bbox() if result.mask else None
        if box is None:
            self._box = None
            return None
        if self._box is None or _iou(box, self._box) < 0.2:
            self._since_ns, self._said_ns = now_ns, 0
        self._box = box
        if now_ns - self._said_ns < 1e9:
            return None
        self._said_ns = now_ns
        held_s = (now_ns - self._since_ns) / 1e9
        text = f"object held for {held_s:.1f} s, {self.describe(result)}"
        self.say(text)
        return len(text)


@dataclass(frozen=True)
class FilmConfig:
    """``kind = "film"``.

    Args:
        path: the video to write.
        fps: frames a second that it is shown with.
    """

    path: Path
    fps: float = 20.0


class Film(Publisher):
    """A video with gaze, ROI and mask drawn. Needs the grant "pixels"."""

    name = "film"
    Config = FilmConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._writer: Any = None
        self._written = 0

    @property
    def destination(self) -> str:
        return f"file {self.config.path}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"pixels"})

    def publish(self, result: Result) -> int | None:
        if result.frame.image is None:
            raise PublishError("expected the frame's picture, got none", hint="Grant 'pixels'.")
        picture = draw(result)
        if self._writer is None:
            size_px = (picture.shape[1], picture.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.config.path), codec, self.config.fps, size_px)
            self._written = 0
        self._writer.write(picture[..., ::-1])
        written = self.config.path.stat().st_size
        grown, self._written = written - self._written, written
        return grown

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None


def draw(result: Result) -> NDArray[np.uint8]:
    """The frame at half its size, with the mask, the ROI in force and the gaze on it."""
    assert result.frame.image is not None
    picture = result.mask.overlay(result.frame.image) if result.mask else result.frame.image.copy()
    height_px, width_px = picture.shape[:2]
    if result.mask is not None:
        box = result.mask.roi.to_pixels(width_px, height_px)
        cv2.rectangle(picture, (box.x0, box.y0), (box.x1, box.y1), YELLOW, 2, cv2.LINE_AA)
    if result.gaze is not None and result.gaze.inside:
        at = (int(result.gaze.x * width_px), int(result.gaze.y * height_px))
        cv2.circle(picture, at, 18, GREEN, 4, cv2.LINE_AA)
    half: NDArray[np.uint8] = cv2.resize(
        picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    return half


@hookimpl
def picosam_publishers() -> list[type[Publisher]]:
    return [Announcer, Film]


def _iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    return overlap / (a[2] * a[3] + b[2] * b[3] - overlap)
