"""What goes out: messages of a bounded size, silhouettes and, if granted, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_mqtt.drawing import png
from picosam_mqtt.signing import canonical, sign
from picosam_sdk.errors import PublishError
from picosam_sdk.geometry import resize
from picosam_sdk.mask import Mask
from picosam_sdk.payload import encode_bits
from picosam_sdk.types import ImageArray

__all__ = ["MAX_PAYLOAD", "mask_payload", "picture", "silhouette"]

MAX_PAYLOAD = 1200
"""Bytes of a mask message, its signature included; a larger mask is made coarser until it fits."""

_COARSEST_PX = 8
_JPEG_QUALITY = 85


def mask_payload(
    message: Mapping[str, Any], mask: Mask | None, key: bytes | None = None
) -> tuple[bytes, bool]:
    """The bytes of a mask message.

    Args:
        message: made by ``encode_result``.
        mask: whose message it is.
        key: signs it, if given.

    Returns:
        The payload, and whether the mask had to be made coarser. Real shapes do not; noise does.
        Its ``bbox`` and ``area_px`` stay those of the mask as it was.
    """
    bits = None if mask is None else mask.logits > mask.threshold
    coarser = False
    while True:
        payload = canonical(sign(message, key) if key else message)
        if len(payload) <= MAX_PAYLOAD or bits is None or min(bits.shape) < 2 * _COARSEST_PX:
            return payload, coarser
        bits = _halved(bits)
        coarser = True
        message = {**message, "mask": encode_bits(bits)}


def silhouette(mask: Mask | None, side_px: int, size_px: tuple[int, int]) -> bytes:
    """The mask as a picture of the whole view, white on black: PNG, one bit a pixel.

    Args:
        mask: None for an empty picture.
        side_px: its longer side at most.
        size_px: of the frame, where there is no mask.
    """
    width_px, height_px = mask.size_px if mask is not None else size_px
    scale = min(1.0, side_px / max(width_px, height_px))
    width_px, height_px = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    if mask is None:
        return png(np.zeros((height_px, width_px), np.bool_))
    return png(mask.paste(width_px, height_px))


def picture(image: ImageArray, side_px: int) -> bytes:
    """A picture that was granted, with its longer side at most ``side_px``.

    Returns:
        JPEG; PNG if it has transparent parts, uint8 (H, W, 4).

    Raises:
        PublishError: it could not be written.
    """
    import cv2

    height_px, width_px = image.shape[:2]
    scale = min(1.0, side_px / max(width_px, height_px))
    if scale < 1:
        image = resize(image, max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    transparent = image.shape[2] == 4
    order = cv2.COLOR_RGBA2BGRA if transparent else cv2.COLOR_RGB2BGR
    options = [] if transparent else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    ok, data = cv2.imencode(".png" if transparent else ".jpg", cv2.cvtColor(image, order), options)
    if not ok:
        raise PublishError(f"expected a picture that can be written, got {image.shape}")
    return bytes(data)


def _halved(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Half as many cells each way; one belongs to the object if at least half of it did."""
    height, width = bits.shape[0] // 2, bits.shape[1] // 2
    blocks = bits[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    halved: NDArray[np.bool_] = blocks.sum(axis=(1, 3)) >= 2
    return halved
