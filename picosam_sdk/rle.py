"""COCO's run-length encoding of masks, both ways, in plain numpy.

A mask is read column by column; the counts are the lengths of its runs of zeros and ones in
turn, starting with zeros. The compressed string holds each count (from the fourth on: its
difference to the count two before) as little-endian groups of 5 bits, one printable character
each. It equals what pycocotools makes, byte for byte.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError

__all__ = ["MAX_PIXELS", "decode", "encode"]

MAX_PIXELS = 1 << 28
"""The largest mask that is decoded, in pixels: a few bytes of RLE can ask for any amount."""

_MAX_DIGITS = 7
"""Characters of one number: 35 bits, more than a count of MAX_PIXELS needs."""

_SMALL = 1 << 14
"""Pixels of a mask below which the characters of its counts are looked up."""


def encode(mask: NDArray[Any]) -> dict[str, Any]:
    """Makes COCO's compressed RLE of a mask.

    Args:
        mask: bool or integers (H, W); what is not 0 belongs to the mask.

    Returns:
        ``{"size": [H, W], "counts": str}``, ready for JSON.

    Raises:
        InputError: not a 2-D array of bool or integers, or one without pixels.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "bui":
        got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise InputError(
            f"expected a mask of bool (H, W), got {got}",
            hint="Compare with a threshold first, as in logits > 0.",
        )
    if mask.size == 0:
        raise InputError(
            f"expected a mask of at least 1 x 1 pixels, got shape {mask.shape}",
            hint="Check that the mask was made for this picture.",
        )
    flat = (mask if mask.dtype == np.bool_ else mask != 0).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    first = int(flat[0])  # a mask that starts with ones has a run of no zeros before
    ends = np.zeros(changes.size + 2 + first, np.int64)
    ends[1 + first : -1] = changes
    ends[1 + first : -1] += 1
    ends[-1] = flat.size
    counts = ends[1:] - ends[:-1]
    height, width = mask.shape
    return {"size": [height, width], "counts": _to_string(counts, flat.size)}


def decode(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Reads a COCO RLE.

    Args:
        rle: ``size`` ([H, W]) and ``counts``, compressed (str or bytes) or a sequence of runs.

    Returns:
        bool (H, W), C-contiguous.

    Raises:
        InputError: the RLE is malformed, does not fill its size, or is above MAX_PIXELS.
    """
    height, width = _size(rle)
    raw = rle.get("counts") if isinstance(rle, Mapping) else None
    if isinstance(raw, (str, bytes)):
        counts = _from_string(raw)
    elif isinstance(raw, (Sequence, np.ndarray)):
        counts = _from_numbers(raw)
    else:
        raise _malformed(f"its counts are {type(raw).__name__}, not a string or a list")
    if counts.size and (counts.min() < 0 or counts.max() > height * width):
        raise _malformed(f"a run is negative or longer than its {height} x {width} pixels")
    total = int(counts.sum())
    if total != height * width:
        raise _malformed(f"its runs cover {total} pixels, its size is {height} x {width}")
    values = np.arange(counts.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def _size(rle: Any) -> tuple[int, int]:
    size = rle.get("size") if isinstance(rle, Mapping) else None
    try:
        height, width = (operator.index(value) for value in size)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise _malformed(f"its size is {size!r}, not [height, width]") from None
    if height < 1 or width < 1:
        raise _malformed(f"its size is {height} x {width}")
    if height * width > MAX_PIXELS:
        raise _malformed(f"its {height} x {width} pixels are above the limit of {MAX_PIXELS}")
    return height, width


def _to_string(counts: NDArray[np.int64], pixels: int) -> str:
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    codes = _small_codes()[rest + _SMALL] if pixels < _SMALL else _codes(rest)
    return codes.tobytes().translate(None, b"\0").decode("ascii")


def _codes(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Each number's characters, the first in the lowest byte; 0 where there is none."""
    codes = np.zeros(numbers.shape, "<u8")
    unfinished = np.ones(numbers.shape, np.bool_)
    for place in range(_MAX_DIGITS):
        digits = numbers & 0x1F
        numbers = numbers >> 5
        more = numbers != -(digits >> 4)  # the sign is already in the digit
        characters = np.where(unfinished, digits + 0x20 * more + 48, 0)
        codes |= characters.astype(np.uint64) << np.uint64(8 * place)
        unfinished &= more
    return codes


@lru_cache(maxsize=1)
def _small_codes() -> NDArray[np.uint64]:
    """Those of all numbers that masks of the networks' sizes are made of."""
    return _codes(np.arange(-_SMALL, _SMALL))


def _from_string(text: str | bytes) -> NDArray[np.int64]:
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise _malformed("its counts hold characters that are not ASCII") from None
    digits = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    if digits.size == 0:
        return digits
    if digits.min() < 0 or digits.max() > 0x3F:
        raise _malformed("its counts hold characters outside '0' to 'o'")
    ends = np.flatnonzero(digits < 0x20)
    if ends.size == 0 or ends[-1] != digits.size - 1:
        raise _malformed("its counts stop in the middle of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_DIGITS:
        raise _malformed("its counts hold a number of more than 35 bits")
    places = np.arange(digits.size) - np.repeat(starts, lengths)
    counts = np.add.reduceat((digits & 0x1F) << (5 * places), starts)
    counts -= np.where(digits[ends] & 0x10, np.int64(1) << (5 * lengths), 0)  # the sign
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _from_numbers(numbers: Any) -> NDArray[np.int64]:
    try:
        return np.array([operator.index(number) for number in numbers], dtype=np.int64)
    except (TypeError, OverflowError):
        raise _malformed("its list of counts holds something that is no whole number") from None


def _malformed(what: str) -> InputError:
    return InputError(
        f"expected a COCO RLE, got one that is malformed: {what}",
        hint="Check the file that it came from; rle.encode and pycocotools write valid ones.",
    )
