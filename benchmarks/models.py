"""The two networks that are compared: the INT8 one that ships, and its float32 original."""

from __future__ import annotations

from pathlib import Path

from picosam_sdk.modelcard import DEFAULT_MODEL

__all__ = ["WEIGHTS", "networks"]

WEIGHTS = Path(__file__).parents[1] / "models" / "picosam3-lite.pt"


def networks(folder: Path) -> tuple[dict[str, Path], str]:
    """The model files by name, "int8" and "float32", and why the second is missing, or "".

    Args:
        folder: where the float32 model is written, made from the weights in the repository.
    """
    found = {"int8": DEFAULT_MODEL}
    try:
        from picosam_sdk.export.onnx import export_weights
    except ImportError as error:
        return found, f"float32 is left out: the extra 'export' is not installed ({error})"
    if not WEIGHTS.exists():
        return found, "float32 is left out: models/picosam3-lite.pt is not there"
    path = folder / "float32.onnx"
    export_weights(WEIGHTS, path)
    return {**found, "float32": path}, ""
