"""The frame in which every model is scored: the paper's crop of the prompt box, 96 x 96 px.

- The truth is the annotated mask, resampled by OpenCV's INTER_NEAREST. It takes the pixel at the
  corner, not at the centre, of each new one, which is half a pixel of the frame off and costs an
  unbiased prediction about 0.003 of IoU; but the published figures are made this way.
- The prediction is the logits, resampled bilinearly and thresholded after that. Nothing is
  predicted outside of what the model was shown. Logits that cover the frame exactly, as under the
  paper's own crop rule, are used untouched.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.types import PAPER_RULE, Box, Roi

__all__ = ["SIZE", "shapes_in_frame", "to_frame", "truth_in_frame"]

SIZE = PAPER_RULE.size_px
"""Side of the frame in pixels."""


def truth_in_frame(mask: NDArray[np.bool_], frame: Box) -> NDArray[np.bool_]:
    """A picture's mask, bool (H, W), inside the frame: bool (SIZE, SIZE)."""
    part = mask[frame.y0 : frame.y1, frame.x0 : frame.x1].astype(np.uint8)
    return np.asarray(cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) > 0)


def to_frame(values: NDArray[np.float32], region: Box, frame: Box) -> NDArray[np.float32]:
    """Logits that cover one part of a picture, resampled into the frame.

    Args:
        values: logits, float32 (h, w).
        region: the pixels of the picture that they cover.
        frame: the pixels of the paper's crop.

    Returns:
        float32 (SIZE, SIZE), bilinear between the centres of the values; -inf outside the region.
    """
    height, width = values.shape
    if region == frame and (height, width) == (SIZE, SIZE):
        return values
    y, y_inside = _positions(frame.y0, frame.height, region.y0, region.height, height)
    x, x_inside = _positions(frame.x0, frame.width, region.x0, region.width, width)
    y0, x0 = y.astype(np.intp), x.astype(np.intp)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    y_share, x_share = (y - y0)[:, None], x - x0
    rows = values[y0] * (1 - y_share) + values[y1] * y_share
    result = rows[:, x0] * (1 - x_share) + rows[:, x1] * x_share
    return np.where(y_inside[:, None] & x_inside, result, -np.inf).astype(np.float32)


def shapes_in_frame(
    prompt: Roi, frame: Box, width_px: int, height_px: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The masks that need no model: the whole prompt box and the ellipse in it.

    Returns:
        Two of bool (SIZE, SIZE).
    """
    cx, cy = prompt.center
    x = _centers(frame.x0, frame.width) / width_px
    y = _centers(frame.y0, frame.height) / height_px
    across = (2 * np.abs(x - cx) / prompt.width)[None, :]
    down = (2 * np.abs(y - cy) / prompt.height)[:, None]
    return (across <= 1) & (down <= 1), across**2 + down**2 <= 1


def _positions(
    frame_start: int, frame_length: int, start: int, length: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where the frame's pixel centres fall among ``count`` values that cover a span of pixels.

    Returns:
        Their places, 0 to count - 1, and whether they lie inside the span; both (SIZE,).
    """
    place = (_centers(frame_start, frame_length) - start) * count / length - 0.5
    return np.clip(place, 0, count - 1), (place >= -0.5) & (place < count - 0.5)


def _centers(start: int, length: int) -> NDArray[np.float64]:
    """Centres of the frame's pixels along one axis, in pixels of the picture, (SIZE,)."""
    return start + (np.arange(SIZE, dtype=np.float64) + 0.5) * (length / SIZE)
