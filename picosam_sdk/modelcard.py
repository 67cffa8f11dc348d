"""What a model file needs and promises: a JSON beside it, checked against its hash.

``picosam3.onnx`` has its card in ``picosam3.json``. The same card, without the hash of the file
that holds it, stands in the ONNX metadata under the key ``picosam_card``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picosam_sdk.config import from_mapping
from picosam_sdk.errors import ConfigError, ModelError
from picosam_sdk.limits import parse_json, read_limited
from picosam_sdk.types import CropRule

__all__ = ["DEFAULT_MODEL", "METADATA_KEY", "ModelCard", "card_path", "sha256_of"]

DEFAULT_MODEL = Path(__file__).parent / "assets" / "picosam3.onnx"
"""The INT8 model inside the package."""

MAX_CARD_BYTES = 1 << 20
"""The longest card that is read."""

METADATA_KEY = "picosam_card"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model's card.

    Args:
        name, version, description: what it is.
        network: shape of the network, "lite" or "paper".
        crop: how a ROI becomes its input.
        mean, std: ``(byte - mean) / std`` is done inside the graph.
        threshold: probability above which a pixel belongs to the mask.
        quantization: "float32" or "int8".
        parameters, macs: number of trainable values; multiply-accumulates for one crop.
        training: data, number of crops seen, recipe.
        metrics: what ``picosam evaluate`` printed for this file.
        licence: SPDX identifier of the weights.
        sha256: of the model file; empty in the ONNX metadata.
    """

    name: str
    network: str
    crop: CropRule
    version: str = "0"
    description: str = ""
    channels: str = "RGB"
    mean: float = 127.0
    std: float = 128.0
    threshold: float = 0.5
    quantization: str = "float32"
    parameters: int = 0
    macs: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ModelError(
                f"expected a threshold between 0 and 1 in a model card, got {self.threshold}",
                hint="It is a probability; 0.5 is usual.",
            )

    @property
    def threshold_logit(self) -> float:
        """The threshold as a logit: a pixel belongs to the mask where its logit is above it."""
        return math.log(self.threshold / (1 - self.threshold))

    def to_json(self) -> str:
        """The card as JSON, two spaces deep."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "model card") -> ModelCard:
        """Raises ModelError if the text is not a card."""
        try:
            raw = parse_json(text)
            if not isinstance(raw, dict):
                raise ConfigError(f"expected an object, got {type(raw).__name__}")
            return from_mapping(raw, cls)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"expected a model card in {source}, got: {error}",
                hint="Take model and card from the same place, or export the model again.",
            ) from error

    @classmethod
    def read(cls, model: Path) -> ModelCard:
        """Reads the card beside a model file and checks the file's hash against it.

        Raises:
            ModelError: model or card is missing or unreadable, or they do not belong together.
        """
        if not model.is_file():
            what = "a folder" if model.is_dir() else "no such file"
            raise ModelError(
                f"expected a model file at {model}, got {what}",
                hint="Give the path of a .onnx file, or none for the model that ships.",
            )
        path = card_path(model)
        try:
            text = read_limited(path, MAX_CARD_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"expected the model's card at {path}, got: {error}",
                hint=f"Keep {path.name} beside {model.name}; 'picosam export' writes both.",
            ) from error
        card = cls.from_json(text, str(path))
        actual = sha256_of(model)
        if actual != card.sha256:
            raise ModelError(
                f"expected sha256 {card.sha256[:16]}... for {model} (its card says so), "
                f"got {actual[:16]}...",
                hint="The file is damaged or was replaced: copy model and card again, together.",
            )
        return card

    def write(self, model: Path) -> ModelCard:
        """Writes the card beside a model file, with the file's hash; returns it."""
        card = dataclasses.replace(self, sha256=sha256_of(model))
        card_path(model).write_text(card.to_json(), encoding="utf-8")
        return card


def card_path(model: Path) -> Path:
    """Where the card of a model file stands: the same name, ending in .json."""
    return model.with_suffix(".json")


def sha256_of(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
