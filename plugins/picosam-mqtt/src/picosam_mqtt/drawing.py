"""A mask on a terminal, and as a PNG file; with numpy and the standard library alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from picosam_mqtt.decode import DecodedMask

__all__ = ["draw", "png"]

_BLOCKS = (" ", "\u2584", "\u2580", "\u2588")  # nothing, lower half, upper half, both


def draw(mask: DecodedMask, columns: int = 64, ascii_only: bool = False) -> list[str]:
    """The view as lines of text: the object in blocks, the ROI in force around it in dots.

    Args:
        columns: width in characters, with a border; one is taken to be twice as high as wide.
        ascii_only: '#' instead of half blocks, at half the height's resolution.
    """
    width_px, height_px = mask.size_px or (4, 3)
    columns = max(columns - 2, 2)
    lines = max(1, round(columns * height_px / width_px / 2))
    halves = mask.paste(columns, 2 * lines).reshape(lines, 2, columns)
    upper, lower = halves[:, 0], halves[:, 1]
    roi = np.zeros((lines, columns), dtype=np.bool_)
    if mask.roi is not None:
        x, y, width, height = mask.roi
        xs, ys = (np.arange(columns) + 0.5) / columns, (np.arange(lines) + 0.5) / lines
        roi = ((ys >= y) & (ys < y + height))[:, None] & ((xs >= x) & (xs < x + width))
    if ascii_only:
        picture = np.where(upper | lower, "#", np.where(roi, ".", " "))
    else:
        codes = upper * 2 + lower
        picture = np.where((codes == 0) & roi, "\u00b7", np.array(_BLOCKS)[codes])
    side, line = ("|", "-") if ascii_only else ("\u2502", "\u2500")
    rows = [f"{side}{''.join(row)}{side}" for row in picture]
    return [f" {line * columns}", *rows, f" {line * columns}"]


def png(bits: NDArray[np.bool_]) -> bytes:
    """A PNG of one bit a pixel, white inside the mask, black outside.

    Args:
        bits: bool (height, width).
    """
    height, width = bits.shape
    rows = np.packbits(bits, axis=1)
    filtered = np.hstack([np.zeros((height, 1), np.uint8), rows])  # each row begins with filter 0
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered.tobytes(), 9)),
        (b"IEND", b""),
    ]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
