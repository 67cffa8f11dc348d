"""The ONNX Runtime backend: the network on the CPU."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import BackendError, InputError, ModelError, UnavailableError
from picosam_sdk.interfaces import HostBackend
from picosam_sdk.modelcard import DEFAULT_MODEL, METADATA_KEY, ModelCard
from picosam_sdk.types import ImageArray

__all__ = ["OnnxBackend"]


class OnnxBackend(HostBackend):
    """Runs an ONNX model with onnxruntime.

    Args:
        model: the .onnx file, its card beside it; None for the one that ships.
        threads: within one operator. The network is small: on a machine that does anything
            else, more than one is slower.

    Raises:
        ModelError: the file is unreadable, does not match its card, or has another signature.
        UnavailableError: onnxruntime cannot be imported.
    """

    name: ClassVar[str] = "onnx"

    def __init__(self, model: str | Path | None = None, threads: int = 1) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise InputError(
                f"expected threads to be a whole number of at least 1, got {threads!r}",
                hint="Leave it out for one thread.",
            )
        self.path = Path(model) if model is not None else DEFAULT_MODEL
        self.threads = threads
        self.card = ModelCard.read(self.path)
        self._session: Any = _open_session(self.path, threads)
        _check_signature(self._session, self.card, self.path)
        size = self.card.crop.size_px
        self.infer(
            np.zeros((1, size, size, 3), np.uint8)
        )  # allocates, and shows a broken graph now

    @classmethod
    def unavailable(cls) -> str:
        return "" if find_spec("onnxruntime") else "the package onnxruntime is not installed"

    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size = self.card.crop.size_px
        if self._session is None:
            raise BackendError(
                "expected an open backend, got one that was closed",
                hint="Use it inside its 'with' block, or open another.",
            )
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise InputError(
                f"expected crops of uint8 (N, {size}, {size}, 3), got {crops.dtype} {crops.shape}",
                hint="Make them with picosam_sdk.geometry.crop under the model's own crop rule.",
            )
        try:
            logits, iou = self._session.run(("logits", "iou"), {"image": crops})
        except Exception as error:  # onnxruntime raises its own kinds, which share no base
            raise BackendError(
                f"onnxruntime failed on a batch of {len(crops)}: {error}",
                hint="Try a smaller batch; 'picosam doctor' shows versions and free memory.",
            ) from error
        return logits, iou

    def close(self) -> None:
        self._session = None

    def info(self) -> dict[str, Any]:
        return {
            "model": str(self.path),
            "threads": self.threads,
            "quantization": self.card.quantization,
        }


def _open_session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise UnavailableError(
            f"the ONNX backend needs onnxruntime, which cannot be imported: {error}",
            hint="Install it with: pip install onnxruntime",
        ) from error
    ort.disable_telemetry_events()  # where it was loaded before the SDK: it reports to its maker
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, which share no base
        raise ModelError(
            f"expected an ONNX model in {path}, got: {error}",
            hint="Export it again with 'picosam export'.",
        ) from error


def _check_signature(session: Any, card: ModelCard, path: Path) -> None:
    """Refuses a graph whose inputs and outputs are not the contract's, or whose card differs."""
    size = card.crop.size_px
    expected = {
        "image": ("tensor(uint8)", [size, size, 3]),
        "logits": ("tensor(float)", [size, size]),
        "iou": ("tensor(float)", []),
    }
    try:
        actual = {
            node.name: (node.type, list(node.shape[1:]))
            for node in (*session.get_inputs(), *session.get_outputs())
        }
        embedded = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise ModelError(
            f"expected names and metadata as UTF-8 in {path}, got: {error}",
            hint="Export it again with 'picosam export'.",
        ) from error
    if actual != expected:
        raise ModelError(
            f"expected a graph with {_describe(expected)} in {path}, got {_describe(actual)}",
            hint="Export it with 'picosam export', which makes this signature.",
        )
    if embedded is not None:
        inner = ModelCard.from_json(embedded, f"the metadata of {path}")
        if (inner.crop, inner.threshold) != (card.crop, card.threshold):
            raise ModelError(
                f"expected the card beside {path} to say {inner.crop}, threshold {inner.threshold} "
                f"as the file's own metadata does, got {card.crop}, threshold {card.threshold}",
                hint="Keep the card that was exported with the model.",
            )


def _describe(signature: dict[str, tuple[str, list[Any]]]) -> str:
    return ", ".join(f"{name} {kind} (N, {shape})" for name, (kind, shape) in signature.items())
