"""The one message format of a mask: what goes over MQTT, to a browser, and into a recording.

A message is a JSON object; its schema ships as ``assets/mask.schema.json``. The mask travels as
hard bits at the network's resolution, as COCO's compressed RLE or, where that is long and they are
shorter, as deflated bits: 130 to 640 bytes for real shapes.
"""

from __future__ import annotations

import base64
import binascii
import time
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import rle
from picosam_sdk.errors import InputError
from picosam_sdk.images import MAX_PIXELS
from picosam_sdk.mask import Mask, Result
from picosam_sdk.types import Roi

__all__ = ["VERSION", "decode_mask", "encode_bits", "encode_result"]

VERSION = 1
"""Raised when a reader of the version before would misread a message."""

_SHORT = 256
"""Characters of RLE up to which no shorter form is looked for: that takes as long as the RLE."""


def encode_result(result: Result, *, device: str, session: str, seq: int) -> dict[str, Any]:
    """Makes the message of a result.

    Args:
        result: what the egress policy let through; its image, if any, is not in the message.
        device, session: of :class:`picosam_sdk.interfaces.Context`.
        seq: running number of this publisher within the session, from 0, so that a receiver
            sees loss, replay and reordering.

    Returns:
        Ready for JSON. ``timestamp_ns`` is Unix time; shares and pixels as in :class:`Mask`.
        Without a mask, ``mask``, ``roi``, ``score``, ``bbox`` and ``area_px`` are None.
    """
    frame, mask = result.frame, result.mask
    unix_ns = time.time_ns() - (time.monotonic_ns() - frame.timestamp_ns)
    message: dict[str, Any] = {
        "v": VERSION,
        "device": device,
        "session": session,
        "seq": seq,
        "frame": frame.index,
        "timestamp_ns": unix_ns,
        "ages_ms": {key: round(value / 1e6, 1) for key, value in result.ages_ns.items()},
        "region": result.region,
        "settling": result.settling,
        "size_px": list(mask.size_px) if mask is not None else None,
        "roi": _shares(mask.roi) if mask is not None else None,
        "prompt": _shares(result.roi) if result.roi is not None else None,
        "score": round(min(max(float(mask.score), 0.0), 1.0), 4) if mask is not None else None,
        "bbox": list(mask.bbox() or ()) or None if mask is not None else None,
        "area_px": mask.area_px if mask is not None else None,
        "mask": encode_bits(mask.logits > mask.threshold) if mask is not None else None,
    }
    if result.gaze is not None and result.gaze.valid:
        message["gaze"] = [round(result.gaze.x, 5), round(result.gaze.y, 5)]
    return message


def encode_bits(bits: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as ``{"size": [h, w], "counts": RLE}`` or ``{"size": [h, w], "zbits": base64}``.

    ``zbits`` are the rows' bits, the first the highest of its byte, deflated (zlib), in base64.
    """
    encoded = rle.encode(bits)
    if len(encoded["counts"]) <= _SHORT:
        return encoded
    packed = base64.b64encode(zlib.compress(np.packbits(bits).tobytes(), 6)).decode("ascii")
    if len(packed) < len(encoded["counts"]):
        return {"size": encoded["size"], "zbits": packed}
    return encoded


def decode_mask(message: Mapping[str, Any]) -> Mask | None:
    """The mask of a message; None if it has none. It is as hard as it was sent.

    Raises:
        InputError: the message is malformed, or of a newer version.
    """
    if message.get("v") != VERSION:
        raise InputError(
            f"expected a mask message of version {VERSION}, got {message.get('v')!r}",
            hint="Update the side that is older.",
        )
    if message.get("mask") is None:
        return None
    try:
        width_px, height_px = (int(value) for value in message["size_px"])
        if width_px * height_px > MAX_PIXELS:
            raise ValueError(f"a frame of {width_px} x {height_px}")
        prompt = message.get("prompt")
        return Mask.from_bits(
            _bits(message["mask"]),
            roi=Roi(*(float(value) for value in message["roi"])),
            score=float(message["score"]),
            size_px=(width_px, height_px),
            prompt=None if prompt is None else Roi(*(float(value) for value in prompt)),
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"expected a mask message after assets/mask.schema.json, got: {error!r}",
            hint="Check what publishes on this topic.",
        ) from error


def _bits(encoded: Mapping[str, Any]) -> NDArray[np.bool_]:
    height, width = (int(value) for value in encoded["size"])
    if not (0 < height <= 4096 and 0 < width <= 4096):  # a few bytes can ask for any amount
        raise InputError(
            f"expected a mask of at most 4096 x 4096, got {height} x {width}",
            hint="Check what publishes on this topic.",
        )
    if "zbits" not in encoded:
        return rle.decode(encoded)
    count = -(-height * width // 8)
    try:
        inflater = zlib.decompressobj()
        packed = inflater.decompress(base64.b64decode(encoded["zbits"], validate=True), count + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"zbits: {error}") from error
    if len(packed) != count:
        raise ValueError(f"zbits: expected {count} bytes, got {len(packed)} or more")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width)
    return bits.reshape(height, width).astype(np.bool_)


def _shares(roi: Roi) -> list[float]:
    x, y, width, height = (round(float(v), 6) for v in (roi.x, roi.y, roi.width, roi.height))
    return [x, y, max(width, 1e-6), max(height, 1e-6)]  # a ROI without a width is none
