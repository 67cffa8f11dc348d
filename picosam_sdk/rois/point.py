"""A place on an object that stays where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.rois.places import Unit, check_unit, place_of
from picosam_sdk.types import Prompt, Roi

__all__ = ["LadderSource", "PointConfig", "PointSource"]


@dataclass(frozen=True, slots=True)
class PointConfig:
    """``kind = "point"``.

    Args:
        point: x, y of a place on the object.
        unit: "share" of the view's width and height, "percent" of them, or "px".
        size_px: width and height of the picture that "px" refers to.
        region: its name, which results carry.
    """

    point: tuple[float, float]
    unit: Unit = "share"
    size_px: tuple[int, int] | None = None
    region: str = ""

    def __post_init__(self) -> None:
        check_unit(self.unit, self.size_px)
        self.place()

    def place(self) -> tuple[float, float]:
        """The point as shares of the view."""
        return place_of(self.point, self.unit, self.size_px, "point")


class PointSource(RoiSource):
    """Prompts with a point: boxes of several sizes are tried around it, and the best is taken."""

    name: ClassVar[str] = "point"
    Config: ClassVar[type] = PointConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._prompt = Prompt(point=config.place(), region=config.region)

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        return self._prompt


class LadderSource(PointSource):
    """The same as "point", by the name of what is done with it: a ladder of boxes around it."""

    name: ClassVar[str] = "ladder"
