"""A camera whose pictures hold patterns that nobody can guess, and a search for them in bytes.

One pattern lies on the object, which the backend "red" segments, one beside it. They are made of
cells of 4 x 4 pixels, so that they survive JPEG and a change of size.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk import Camera, Frame, Roi, hookimpl
from picosam_sdk.interfaces import Backend, Context
from picosam_sdk.types import ImageArray
from tests.fakes import RedBackend

SIZE_PX = (320, 200)
SIDE_PX, CELL_PX = 64, 4
OBJECT_AT, BESIDE_AT = (40, 60), (220, 60)  # x, y of the two patterns
OBJECT = Roi.from_pixels(30, 50, 84, 84, SIZE_PX)

_MOST_BYTES = 1 << 24


def _pattern(seed: int, low: tuple[int, int, int], high: tuple[int, int, int]) -> ImageArray:
    side = SIDE_PX // CELL_PX
    rng = np.random.default_rng(seed)
    cells = rng.integers(low, high, (side, side, 3)).astype(np.uint8)
    return cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)


ON_OBJECT = _pattern(1, (170, 0, 0), (256, 60, 256))
"""As random as a picture can be whose pixels all are red enough for the backend."""

BESIDE = _pattern(2, (0, 60, 0), (150, 256, 256))


def picture() -> ImageArray:
    """Grey, with both patterns."""
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), 90, np.uint8)
    for (x, y), pattern in ((OBJECT_AT, ON_OBJECT), (BESIDE_AT, BESIDE)):
        image[y : y + SIDE_PX, x : x + SIDE_PX] = pattern
    return image


@dataclass(frozen=True)
class CanaryConfig:
    """``frames``: how many; ``period_s``: between two."""

    frames: int = 10
    period_s: float = 0.0


class CanaryCamera(Camera):
    """Shows :func:`picture`."""

    name: ClassVar[str] = "canary"
    Config: ClassVar[type] = CanaryConfig
    live: ClassVar[bool] = False

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._index = 0

    def read(self, timeout_s: float) -> Frame | None:
        if self._index == self.config.frames:
            return None
        time.sleep(self.config.period_s)
        self._index += 1
        return Frame(picture(), time.monotonic_ns(), self._index - 1)


class CanaryPlugin:
    """The camera, and the backend that segments its object."""

    @staticmethod
    @hookimpl
    def picosam_backends() -> list[type[Backend]]:
        return [RedBackend]

    @staticmethod
    @hookimpl
    def picosam_cameras() -> list[type[Camera]]:
        return [CanaryCamera]


def finds(data: bytes) -> set[str]:
    """Which patterns can be found in bytes: "object", "beside".

    Looked for are rows of pixels as RGB, BGR and single channels; and in every PNG, JPEG, WebP
    or BMP the pattern itself, at any size of the picture; all of that also inside base64 (both
    alphabets), hexadecimal digits and zlib or gzip streams, three deep.
    """
    found: set[str] = set()
    for view in _views(data):
        for name, pattern in (("object", ON_OBJECT), ("beside", BESIDE)):
            if name not in found and (_has_rows(view, pattern) or _has_picture(view, pattern)):
                found.add(name)
    return found


def _views(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """The data, and what is encoded in them."""
    yield data
    if not depth:
        return
    for run in re.findall(rb"[0-9A-Fa-f]{96,}", data):
        yield from _views(binascii.unhexlify(run[: len(run) // 2 * 2]), depth - 1)
    for run in re.findall(rb"[A-Za-z0-9+/_-]{64,}", data):
        text = run.translate(bytes.maketrans(b"-_", b"+/"))
        for start in range(4):  # where the first group of four begins is not known
            part = text[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]  # one digit is no byte
            yield from _views(base64.b64decode(part + b"=" * (-len(part) % 4)), depth - 1)
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", data):
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            inflated = inflater.decompress(data[start.start() :], _MOST_BYTES)
        except zlib.error:
            continue
        if len(inflated) >= 48:
            yield from _views(inflated, depth - 1)


def _has_rows(data: bytes, pattern: ImageArray) -> bool:
    rows = pattern[:: CELL_PX * 4]
    kinds: list[NDArray[np.uint8]] = [rows, rows[..., ::-1], *(rows[..., c] for c in range(3))]
    return any(
        row[16:48].tobytes() in data or row[15::-1].tobytes() in data
        for kind in kinds
        for row in kind
    )


_MAGIC = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|BM.{4}\x00\x00\x00\x00", re.S)


def _has_picture(data: bytes, pattern: ImageArray) -> bool:
    """Whether an encoded picture shows the pattern, whatever size the picture was given."""
    for start in _MAGIC.finditer(data):
        image = cv2.imdecode(np.frombuffer(data[start.start() :], np.uint8), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < 16:
            continue
        for size in ({SIZE_PX} | {image.shape[1::-1]}) if image.shape[0] < 4000 else {SIZE_PX}:
            whole = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if whole.shape[0] < SIDE_PX or whole.shape[1] < SIDE_PX:
                continue
            match = cv2.matchTemplate(whole, pattern[..., ::-1].copy(), cv2.TM_CCOEFF_NORMED)
            if float(np.nanmax(np.where(np.isfinite(match), match, -1))) > 0.5:
                return True
    return False
