"""What the sensor computed, out of a frame's metadata; every oddity has a name.

The real helper class reshapes the tensors (column by column, as they come). Before it, what it
would fall over is put right or refused: a description of another libcamera's size, a tensor
that is short or has none, values that are no numbers.
"""

from __future__ import annotations

import ctypes
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outputs", "input_tensor", "read_outputs"]

INFO_BYTES = (708, 712)
"""Sizes of the description: of older libcamera, and of that which counts frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """One inference.

    Args:
        logits: float32 (S, S), rows down, columns right.
        score: predicted IoU, 0 to 1; without such an output, how sure the mask's pixels are.
        timings_ms: "dnn" and "dsp", as the sensor measured them; may be empty.
        note: what was odd but could be put right.
    """

    logits: NDArray[np.float32]
    score: float
    timings_ms: dict[str, float]
    note: str = ""


def read_outputs(helper: Any, metadata: dict[str, Any], size_px: int) -> Outputs | str | None:
    """The outputs in a frame's metadata.

    Args:
        helper: picamera2's IMX500.
        metadata: of a completed request.
        size_px: side of the mask that the model's card promises.

    Returns:
        The outputs; None if the frame has none; a text if it has some that cannot be used.
    """
    tensor = metadata.get("CnnOutputTensor")
    info = metadata.get("CnnOutputTensorInfo")
    if not tensor:
        return None if not info else "description without a tensor"
    if not info:
        return "tensor without its description"
    info, note = bytes(info), ""
    if len(info) not in INFO_BYTES:
        return f"description of {len(info)} bytes"
    wanted = _helper_info_bytes(helper)
    if len(info) != wanted:
        note = f"description of {len(info)} bytes where picamera2 expects {wanted}"
        info = info[:wanted].ljust(wanted, b"\0")
    metadata = {**metadata, "CnnOutputTensorInfo": info}
    shapes = helper.get_output_shapes(metadata)
    expected = sum(math.prod(shape) for shape in shapes)
    if len(tensor) != expected:
        return f"tensor of {len(tensor)} values, described as {expected}"
    return _sorted_out(helper.get_outputs(metadata) or [], helper, metadata, size_px, note)


def input_tensor(metadata: dict[str, Any], size_px: int) -> NDArray[np.uint8] | None:
    """What the network saw, RGB uint8 (S, S, 3); None unless the camera was told to send it."""
    values = metadata.get("CnnInputTensor")
    if not values or len(values) != 3 * size_px * size_px:
        return None
    planes = np.array(values, dtype=np.uint8).reshape(3, size_px, size_px)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _sorted_out(
    tensors: list[NDArray[np.float32]],
    helper: Any,
    metadata: dict[str, Any],
    size_px: int,
    note: str,
) -> Outputs | str:
    """Tells mask and score apart by their shapes, in whatever order they come."""
    logits: NDArray[np.float32] | None = None
    score: float | None = None
    for tensor in tensors:
        plain = tensor.squeeze()
        if plain.shape == (size_px, size_px) and logits is None:
            logits = np.ascontiguousarray(plain, dtype=np.float32)
        elif plain.ndim == 0 and score is None:
            score = float(plain)
        else:
            return f"outputs of shapes {', '.join(str(tensor.shape) for tensor in tensors)}"
    if logits is None:
        return "no output of the mask's shape"
    if not np.isfinite(logits).all() or (score is not None and not math.isfinite(score)):
        return "output with NaN or infinite values"
    kpi = helper.get_kpi_info(metadata)
    timings = {"dnn": float(kpi[0]), "dsp": float(kpi[1])} if kpi else {}
    return Outputs(logits, _surety(logits) if score is None else score, timings, note)


def _surety(logits: NDArray[np.float32]) -> float:
    """The mean probability of the mask's pixels; 0 for an empty mask."""
    inside = logits[logits > 0]
    return float((0.5 + 0.5 * np.tanh(inside / 2)).mean()) if inside.size else 0.0


def _helper_info_bytes(helper: Any) -> int:
    """The size of description that this release of picamera2 accepts."""
    for cls in type(helper).__mro__:
        struct = getattr(sys.modules.get(cls.__module__), "CnnOutputTensorInfoExported", None)
        if struct is not None:
            return ctypes.sizeof(struct)
    return INFO_BYTES[-1]
