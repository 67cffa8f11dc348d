"""Reads the message of a mask with numpy alone: for consumers that do not have the SDK.

::

    from picosam_mqtt.decode import decode

    mask = decode(message.payload)
    print(mask.device, mask.score, mask.paste(640, 480).sum())

It is strict: whatever comes from a broker may come from anybody. Keys that it does not know are
left alone, since a newer publisher of the same version may send more.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "VERSION", "DecodeError", "DecodedMask", "decode", "read_json"]

VERSION = 1
"""The version of the message that is read here; one of another version is refused."""

MAX_BYTES = 1 << 16
"""The longest message that is read. One with a mask of 96 x 96 has 0.5 to 2 kB."""

Shares: TypeAlias = "tuple[float, float, float, float]"
"""x, y, width, height of a rectangle as shares of the view, (0, 0) its top left corner."""

T = TypeVar("T")

_MAX_SIDE_PX = 4096  # of the mask as it was sent: a few bytes can ask for any amount
_MAX_FRAME_PX = 1 << 27  # of the frame that it belongs to, in all


class DecodeError(ValueError):
    """A payload is no message of a mask; the text says what was expected and what came."""


@dataclass(frozen=True, eq=False)
class DecodedMask:
    """What a message of a mask says. Without a mask, what describes one is None.

    Args:
        device, session: who sent it; the session is new after each start of the device.
        seq: running number within the session, from 0: a gap is a loss, a repetition a duplicate.
        frame: number of the camera's frame.
        timestamp_ns: when the frame was exposed, Unix time.
        region: name of what is watched, "" if it has none.
        settling: a sensor's ROI had just been changed; the mask may belong to the one before.
        bits: bool (h, w), the mask as the network gave it, which covers ``roi``.
        roi: the part of the view that the mask covers.
        prompt: the part of the view that was asked for.
        size_px: ``(width_px, height_px)`` of the frame.
        score: the IoU with the true mask that the network expects, 0 to 1.
        bbox: x, y, width, height in pixels of the frame; None also for an empty mask.
        area_px: pixels of the frame that belong to the object.
        ages_ms: how old each ingredient was when the result was made, such as "frame", "roi".
        gaze: x, y that was looked at, as shares of the view, if it was granted.
    """

    device: str
    session: str
    seq: int
    frame: int
    timestamp_ns: int
    region: str = ""
    settling: bool = False
    bits: NDArray[np.bool_] | None = field(default=None, repr=False)
    roi: Shares | None = None
    prompt: Shares | None = None
    size_px: tuple[int, int] | None = None
    score: float | None = None
    bbox: tuple[int, int, int, int] | None = None
    area_px: int | None = None
    ages_ms: Mapping[str, float] = field(default_factory=dict)
    gaze: tuple[float, float] | None = None

    @property
    def present(self) -> bool:
        """Whether there is an object: a mask with at least one pixel."""
        return self.bits is not None and bool(self.bits.any())

    def paste(self, width_px: int = 0, height_px: int = 0) -> NDArray[np.bool_]:
        """The mask as large as a picture of the whole view; what the SDK's ``Mask.paste`` gives.

        Args:
            width_px, height_px: of the picture; those of the frame if 0.

        Returns:
            bool (height_px, width_px), False outside ``roi`` and everywhere without a mask.

        Raises:
            ValueError: the size is negative, or is not known since there is no mask.
        """
        width_px, height_px = (
            given or known
            for given, known in zip((width_px, height_px), self.size_px or (0, 0), strict=True)
        )
        if width_px < 1 or height_px < 1:
            raise ValueError(
                f"expected a size of at least 1 x 1 pixels, got {width_px} x {height_px}: "
                "give width and height, which a message without a mask does not tell"
            )
        full = np.zeros((height_px, width_px), dtype=np.bool_)
        if self.bits is not None and self.roi is not None:
            x0, x1 = _pixel_span(self.roi[0], self.roi[2], width_px)
            y0, y1 = _pixel_span(self.roi[1], self.roi[3], height_px)
            rows = _resize_rows(self.bits.astype(np.float32), y1 - y0)
            full[y0:y1, x0:x1] = _resize_rows(rows.T, x1 - x0).T > 0.5
        return full


def decode(payload: bytes | bytearray | memoryview | str) -> DecodedMask:
    """Reads one message.

    Args:
        payload: JSON, as it comes from the broker.

    Raises:
        DecodeError: it is longer than MAX_BYTES, malformed, or of another version.
    """
    message = read_json(payload)
    version = message.get("v")
    if version != VERSION or isinstance(version, bool):
        raise DecodeError(
            f"expected a mask message of version {VERSION}, got {version!r:.40}; "
            "update the side that is older"
        )
    values: dict[str, Any] = {
        "device": _get(message, "device", _text),
        "session": _get(message, "session", _text),
        "seq": _get(message, "seq", _count),
        "frame": _get(message, "frame", _count),
        "timestamp_ns": _get(message, "timestamp_ns", _integer),
        "region": _get(message, "region", _text),
        "settling": _get(message, "settling", _flag),
        "ages_ms": _get(message, "ages_ms", _ages),
    }
    if message.get("prompt") is not None:
        values["prompt"] = _get(message, "prompt", _shares)
    if message.get("gaze") is not None:
        values["gaze"] = _get(message, "gaze", _numbers(2))
    if message.get("mask") is None:
        return DecodedMask(**values)
    return DecodedMask(
        **values,
        bits=_get(message, "mask", _bits),
        roi=_get(message, "roi", _roi),
        size_px=_get(message, "size_px", _size_px),
        score=_get(message, "score", _share),
        bbox=_get(message, "bbox", _bbox),
        area_px=_get(message, "area_px", _count),
    )


def read_json(
    payload: bytes | bytearray | memoryview | str, max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """Reads a JSON object from a stranger: no NaN, no key twice, no endless nesting.

    Raises:
        DecodeError: it is longer than ``max_bytes``, or no such object.
    """
    if len(payload) > max_bytes:
        raise DecodeError(f"expected at most {max_bytes} bytes, got {len(payload)}")
    try:
        text = payload if isinstance(payload, str) else bytes(payload).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except RecursionError:
        raise DecodeError("expected a JSON object, got one that is nested too deeply") from None
    except ValueError as error:  # of json, of UTF-8, and of the two hooks
        raise DecodeError(f"expected a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise DecodeError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _get(message: Mapping[str, Any], key: str, read: Callable[[Any], T]) -> T:
    if key not in message:
        raise DecodeError(f"expected the key '{key}', got none")
    try:
        return read(message[key])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else error
        raise DecodeError(f"{key}: {reason}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r:.40}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r:.40}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a number, got {value!r:.40}")
    return float(value)


def _share(value: Any) -> float:
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"expected a number from 0 to 1, got {value!r:.40}")
    return float(value)


def _integer(value: Any) -> int:
    if not _number(value).is_integer():
        raise ValueError(f"expected a whole number, got {value!r:.40}")
    return int(value)


def _count(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"expected a whole number from 0, got {value!r:.40}")
    return int(value)


def _numbers(length: int, read: Callable[[Any], Any] = _number) -> Callable[[Any], Any]:
    def reads(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != length:
            raise ValueError(f"expected {length} numbers, got {value!r:.40}")
        return tuple(read(item) for item in value)

    return reads


def _ages(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"expected numbers by name, got {value!r:.40}")
    return {key: _number(item) for key, item in value.items()}


def _shares(value: Any) -> Shares:
    x, y, width, height = _numbers(4)(value)
    if width <= 0 or height <= 0:
        raise ValueError(f"expected a width and height above 0, got {value}")
    return x, y, width, height


def _roi(value: Any) -> Shares:
    x, y, width, height = _shares(value)
    if x >= 1 or y >= 1 or x + width <= 0 or y + height <= 0:
        raise ValueError(f"expected a part of the view, the unit square, got {value}")
    return x, y, width, height


def _size_px(value: Any) -> tuple[int, int]:
    width_px, height_px = _numbers(2, _count)(value)
    if not 0 < width_px * height_px <= _MAX_FRAME_PX:
        raise ValueError(f"expected 1 to {_MAX_FRAME_PX} pixels in all, got {value}")
    return width_px, height_px


def _bbox(value: Any) -> tuple[int, int, int, int] | None:
    return None if value is None else _numbers(4, _count)(value)


def _bits(encoded: Any) -> NDArray[np.bool_]:
    """The mask as picosam_sdk.payload.encode_bits packs it."""
    if not isinstance(encoded, dict):
        raise ValueError(f"expected an object, got {encoded!r:.40}")
    height, width = _numbers(2, _count)(encoded["size"])
    if not (0 < height <= _MAX_SIDE_PX and 0 < width <= _MAX_SIDE_PX):
        raise ValueError(
            f"expected 1 x 1 to {_MAX_SIDE_PX} x {_MAX_SIDE_PX}, got {height} x {width}"
        )
    if "zbits" in encoded:
        return _inflate(_text(encoded["zbits"]), height, width)
    runs = _runs(_text(encoded["counts"]))
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"expected runs that cover {height} x {width} pixels, got {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _inflate(text: str, height: int, width: int) -> NDArray[np.bool_]:
    count = -(-height * width // 8)
    try:
        inflater = zlib.decompressobj()
        packed = inflater.decompress(base64.b64decode(text, validate=True), count + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"expected deflated bits in base64, got: {error}") from None
    if len(packed) != count:
        raise ValueError(f"expected {count} bytes of bits, got {len(packed)} or more")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width)
    return bits.reshape(height, width).astype(np.bool_)


def _runs(counts: str) -> list[int]:
    """The lengths of the runs in COCO's compressed RLE: of zeros, of ones, and so on.

    A number is a row of 5-bit groups, the lowest first, each a character from '0'; 0x20 says that
    more follow, 0x10 in the last that it is negative. From the fourth number on it is the
    difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for byte in counts.encode("utf-8"):
        digit = byte - 48
        if not 0 <= digit < 64 or shift > 30:
            raise ValueError("expected COCO's compressed RLE, got other characters or numbers")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("expected COCO's compressed RLE, got one that stops within a number")
    return runs


def _pixel_span(start: float, length: float, size_px: int) -> tuple[int, int]:
    """Rounds a span of the unit interval to whole pixels inside [0, size_px), at least one."""
    low, high = (min(max(share, 0.0), 1.0) for share in (start, start + length))
    first = min(round(low * size_px), size_px - 1)
    return first, max(round(high * size_px), first + 1)


def _resize_rows(rows: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    """Makes ``wanted`` rows of all, as picosam_sdk.geometry.resize does.

    An axis is averaged in pairs while it is over twice too long, then interpolated.
    """
    while len(rows) > 2 * wanted + 1:
        rows = _halved(rows)
    return _interpolated(rows, wanted)


def _halved(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    even = len(rows) // 2 * 2
    return (rows[0:even:2] + rows[1:even:2]) / np.float32(2)


def _interpolated(rows: NDArray[np.float32], wanted: int) -> NDArray[np.float32]:
    """Linear, by the centres of the pixels; beyond the outermost centres, the border's value."""
    places = (np.arange(wanted) + 0.5) * (len(rows) / wanted) - 0.5
    places = np.clip(places, 0, len(rows) - 1)
    low = np.minimum(places.astype(np.intp), max(len(rows) - 2, 0))
    high = np.minimum(low + 1, len(rows) - 1)
    weight = (places - low).astype(np.float32)[:, None]
    return (1 - weight) * rows[low] + weight * rows[high]
