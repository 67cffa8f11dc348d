"""A picture as a JPEG for the page."""

from __future__ import annotations

from picosam_sdk.errors import PublishError
from picosam_sdk.types import ImageArray

__all__ = ["jpeg_of"]


def jpeg_of(image: ImageArray, longer_px: int, quality: int) -> bytes:
    """Encodes a picture.

    Args:
        image: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA, whose transparent pixels become black.
        longer_px: its longer side at most; a larger one is averaged down.
        quality: 1 to 100.
    """
    import cv2

    height_px, width_px = image.shape[:2]
    scale = longer_px / max(height_px, width_px)
    if image.shape[2] == 4:
        image = image[:, :, :3] * (image[:, :, 3:] > 0)
    if scale < 1:
        size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise PublishError("expected a JPEG of the picture, got none", hint="Lower picture_px.")
    return bytes(data.tobytes())
