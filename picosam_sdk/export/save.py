"""Model files on disk: the graph with its card inside and beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from picosam_sdk.errors import ModelError
from picosam_sdk.modelcard import METADATA_KEY, ModelCard

__all__ = ["read_model", "save_model", "set_metrics"]


def read_model(path: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Reads a model with the card beside it.

    Raises:
        ModelError: one of them is missing or unreadable, or they do not belong together.
    """
    card = ModelCard.read(path)
    try:
        return onnx.load(path), card
    except Exception as error:  # protobuf's own kind
        raise ModelError(
            f"expected an ONNX model in {path}, got: {error}",
            hint="Export it again with 'picosam export'.",
        ) from error


def save_model(model: onnx.ModelProto, card: ModelCard, out: Path) -> ModelCard:
    """Writes a model with its card inside (without the hash) and beside it; returns the card.

    Raises:
        ModelError: the file cannot be written.
    """
    for entry in [entry for entry in model.metadata_props if entry.key == METADATA_KEY]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(model.SerializeToString())
        return card.write(out)
    except OSError as error:
        raise ModelError(
            f"expected to write a model to {out}, got: {error}",
            hint="Choose a file in a folder that you may write to.",
        ) from error


def set_metrics(model: Path, out: Path, metrics: Mapping[str, Any], name: str = "") -> ModelCard:
    """Writes a model file with more metrics in its card: the network itself stays as it is.

    Raises:
        ModelError: the model cannot be read, or the result not written.
    """
    proto, card = read_model(model)
    merged = {**card.metrics, **metrics}
    return save_model(proto, replace(card, name=name or card.name, metrics=merged), out)
