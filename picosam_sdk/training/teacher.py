"""A Segment Anything model as the teacher: an ONNX encoder, run once a photograph, and decoder.

Any SAM-type model serves that was exported in the interface of Segment Anything's own script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import ModelError
from picosam_sdk.geometry import resize
from picosam_sdk.types import ImageArray

__all__ = ["Embedding", "PixelBox", "Teacher"]

PixelBox = tuple[float, float, float, float]
"""x, y, width, height in pixels of the photograph."""

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
_DECODER_INPUTS = {
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
}
_DECODER_OUTPUTS = ["iou_predictions", "low_res_masks"]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """An encoded photograph: features float32 (1, 256, 64, 64), and how the mask grid lies on it.

    Args:
        scale: pixels of the encoder's input per pixel of the photograph.
        grid_scale: cells of the decoder's low-resolution mask per pixel of the photograph.
        width_px, height_px: of the photograph.
    """

    features: NDArray[np.float32]
    scale: float
    grid_scale: float
    width_px: int
    height_px: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the mask's cells that lie on the photograph."""
        rows = max(1, round(self.height_px * self.grid_scale))
        return rows, max(1, round(self.width_px * self.grid_scale))


class Teacher:
    """A SAM-type encoder and decoder, run by ONNX Runtime on the CPU.

    Args:
        encoder: input float32 (N, 3, S, S), normalised RGB; output (1, C, h, w).
        decoder: the decoder of Segment Anything's own ONNX export.
        threads: for the models' arithmetic.

    Raises:
        ModelError: a file is missing or no such model.
    """

    def __init__(self, encoder: Path, decoder: Path, threads: int = 1) -> None:
        self._encoder = _session(encoder, threads)
        self._decoder = _session(decoder, threads)
        inputs = self._encoder.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise ModelError(
                f"expected an encoder with input (N, 3, S, S), {encoder} has {_describe(inputs)}",
                hint="Give the image encoder as --encoder; were the two files swapped?",
            )
        missing = _DECODER_INPUTS - {item.name for item in self._decoder.get_inputs()}
        missing |= set(_DECODER_OUTPUTS) - {item.name for item in self._decoder.get_outputs()}
        if missing:
            raise ModelError(
                f"expected Segment Anything's decoder in {decoder}, it lacks {sorted(missing)}",
                hint="Export the decoder with segment-anything's scripts/export_onnx_model.py.",
            )
        self._name = inputs[0].name
        self.side_px = int(shape[2]) if isinstance(shape[2], int) else 1024
        self._input = np.zeros((1, 3, self.side_px, self.side_px), np.float32)
        self._no_mask = np.zeros((1, 1, 256, 256), np.float32)

    def encode(self, image: ImageArray) -> Embedding:
        """Runs the encoder on a photograph, uint8 RGB (H, W, 3)."""
        height, width = image.shape[:2]
        scale = self.side_px / max(height, width)
        small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
        values = (small.astype(np.float32) - _MEAN) / _STD
        self._input[:] = 0
        self._input[0, :, : small.shape[0], : small.shape[1]] = values.transpose(2, 0, 1)
        output = self._encoder.get_outputs()[0].name
        (features,) = _run(self._encoder, [output], {self._name: self._input})
        return Embedding(features, scale, scale * 256 / self.side_px, width, height)

    def ask(
        self, picture: Embedding, points: Sequence[tuple[float, float]], labels: Sequence[int]
    ) -> tuple[NDArray[np.float32], float]:
        """Decodes one prompt.

        Args:
            points: x, y in pixels of the photograph.
            labels: 1 a point inside, 0 outside, 2 and 3 the corners of a box.

        Returns:
            Logits float32 on the grid (at most 256 x 256), and the predicted IoU.
        """
        coords = np.zeros((1, len(points) + 1, 2), np.float32)
        coords[0, :-1] = np.asarray(points, np.float32) * picture.scale
        iou, low = _run(
            self._decoder,
            _DECODER_OUTPUTS,
            {
                "image_embeddings": picture.features,
                "point_coords": coords,
                "point_labels": np.array([[*labels, -1]], np.float32),
                "mask_input": self._no_mask,
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([picture.height_px, picture.width_px], np.float32),
            },
        )
        best = int(np.argmax(iou[0]))
        rows, columns = picture.grid
        return low[0, best, :rows, :columns], float(iou[0, best])

    def ask_box(self, picture: Embedding, box: PixelBox) -> tuple[NDArray[np.float32], float]:
        """Decodes a box prompt, see :meth:`ask`."""
        x, y, width, height = box
        return self.ask(picture, [(x, y), (x + width, y + height)], [2, 3])


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    if not path.is_file():
        raise ModelError(
            f"expected an ONNX file at {path}, found none",
            hint="Give the teacher's two files: --encoder encoder.onnx --decoder decoder.onnx.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(
            f"expected an ONNX model in {path}, got: {error}", hint="Export or copy it anew."
        ) from error


def _run(session: Any, outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> Any:
    try:
        return session.run(outputs, inputs)
    except Exception as error:
        raise ModelError(
            f"the teacher failed on its inputs: {error}",
            hint="Give an encoder and a decoder of the same model.",
        ) from error


def _describe(inputs: Sequence[Any]) -> str:
    return ", ".join(f"{item.name} {item.shape}" for item in inputs)
