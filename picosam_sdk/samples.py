"""The photographs that come with the package, each with prompts that suit it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picosam_sdk.types import Roi

__all__ = ["Prompt", "SamplePhoto", "sample_photos"]

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A box (x, y, width, height) or a point (x, y), in pixels."""

    name: str
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None

    def segment(self, segmenter: Any, image: Any) -> Any:
        """The mask that a Segmenter gives for this prompt."""
        if self.box is not None:
            return segmenter.segment(image, Roi.from_pixels(*self.box, image))
        return segmenter.segment(image, point=self.point)


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """One photograph; its licence and source are in assets/SOURCES.md."""

    path: Path
    title: str
    prompts: tuple[Prompt, ...]


def sample_photos() -> list[SamplePhoto]:
    """All of them, in the order of assets/photos.json."""
    records = json.loads((_ASSETS / "photos.json").read_text(encoding="utf-8"))
    return [
        SamplePhoto(
            _ASSETS / "photos" / record["file"],
            record["title"],
            tuple(
                Prompt(p["name"], tuple(p["box"]) if "box" in p else None,
                       tuple(p["point"]) if "point" in p else None)
                for p in record["prompts"]
            ),
        )
        for record in records
    ]  # fmt: skip
