"""The model card of a network file: beside it, or inside it."""

from __future__ import annotations

import json
from pathlib import Path

from picosam_sdk.errors import ModelError
from picosam_sdk.modelcard import METADATA_KEY, ModelCard, card_path
from picosam_sdk.rpk import read_rpk

__all__ = ["read_card"]


def read_card(path: Path) -> ModelCard:
    """Reads a network file and its card, and checks that they belong together.

    The card stands beside the file (``network.json`` for ``network.rpk``, with the file's hash)
    or inside it, in ``network_intrinsics`` under ``picosam_card``.

    Raises:
        ModelError: either is missing or unreadable, or they do not belong together.
    """
    rpk = read_rpk(path)
    if card_path(path).is_file() or METADATA_KEY not in rpk.intrinsics:
        card = ModelCard.read(path)
    else:
        card = ModelCard.from_json(json.dumps(rpk.intrinsics[METADATA_KEY]), str(path))
    if rpk.input_size != (card.crop.size_px, card.crop.size_px):
        raise ModelError(
            f"expected a network with an input of {card.crop.size_px} x {card.crop.size_px} "
            f"(its card says so) in {path}, got {rpk.input_size[0]} x {rpk.input_size[1]}",
            hint="Take network and card from the same conversion.",
        )
    return card
