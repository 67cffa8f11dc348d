"""Boxes that do not move: a shelf, a doorway, a parking space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.rois.places import Unit, box_of, check_unit
from picosam_sdk.rois.turns import TurnsSource
from picosam_sdk.types import Prompt, Roi

__all__ = ["FixedConfig", "FixedSource", "NamedBox"]


@dataclass(frozen=True, slots=True)
class NamedBox:
    """One box of ``boxes``.

    Args:
        box: x, y (the top left corner), width, height, in the source's unit.
        region: its name, which results carry.
    """

    box: tuple[float, float, float, float]
    region: str = ""


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """``kind = "fixed"``: ``box``, or several in ``boxes``.

    Args:
        box: x, y (the top left corner), width, height.
        region: name of ``box``, which results carry.
        boxes: several; each frame is prompted with the next of them.
        unit: "share" of the view's width and height, "percent" of them, or "px".
        size_px: width and height of the picture that "px" refers to.
        frames_each: how many frames each of several boxes is prompted for before the next; a
            sensor needs some frames to turn to another place.
    """

    box: tuple[float, float, float, float] | None = None
    region: str = ""
    boxes: tuple[NamedBox, ...] = ()
    unit: Unit = "share"
    size_px: tuple[int, int] | None = None
    frames_each: int = 1

    def __post_init__(self) -> None:
        check((self.box is None) == bool(self.boxes), "box", "either 'box' or 'boxes'",
              "both" if self.boxes else "neither",
              hint="Give box = [x, y, width, height].")  # fmt: skip
        check_unit(self.unit, self.size_px)
        check(self.frames_each >= 1, "frames_each", "at least 1", self.frames_each)
        names = [box.region for box in self.boxes]
        check(len(set(names) - {""}) == len(names) - names.count(""), "boxes",
              "regions of different names", names)  # fmt: skip
        for index, named in enumerate(self.boxes):
            self._roi(named.box, f"boxes[{index}].box")
        if self.box is not None:
            self._roi(self.box, "box")

    def prompts(self) -> list[Prompt]:
        """What it prompts with, in order."""
        named = self.boxes if self.box is None else (NamedBox(self.box, self.region),)
        return [Prompt(roi=self._roi(one.box, "box"), region=one.region) for one in named]

    def _roi(self, box: tuple[float, float, float, float], key: str) -> Roi:
        return box_of(box, self.unit, self.size_px, key)


class FixedSource(TurnsSource):
    """Prompts with the same boxes over and over, one a frame."""

    name: ClassVar[str] = "fixed"
    Config: ClassVar[type] = FixedConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context, config.prompts())
