"""A plugin that tries to get at pictures and gaze through whatever it is given.

It keeps all that it was ever handed, tampers with it, raises and keeps its errors, says that it
has grants, and looks for pictures in everything that can be reached.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from picosam_sdk import Gaze, Mask, MaskFilter, Prompt, Publisher, Result, Roi, RoiSource, hookimpl
from picosam_sdk.interfaces import Context
from tests.egress.canary import BESIDE, OBJECT, ON_OBJECT
from tests.egress.scenes import finds, reachable

LOOT: dict[str, set[str]] = {}
"""What each part found, by the way that it took; tests empty it."""

GAZE_AT = Gaze(0.22, 0.45, 1)


class Thief:
    """What the three parts have in common."""

    grants = ("pixels", "gaze")  # as if it were for a plugin to say
    egress: ClassVar[dict[str, Any]] = {"grants": ["pixels", "gaze"]}
    name: ClassVar[str]
    context: Context

    def _grant_itself(self) -> None:
        """Changes the rule that it is shown."""
        object.__setattr__(self.context.egress, "grants", ("pixels", "gaze"))

    def _look(self, way: str, *roots: Any, frames: bool = False) -> None:
        """Looks for the patterns, any picture, and any gaze."""
        loot = LOOT.setdefault(f"{self.name}: {way}", set())
        for label, pattern in (("object", ON_OBJECT), ("beside", BESIDE)):
            if finds(pattern, *roots, frames=frames):
                loot.add(label)
        for thing in reachable(*roots, frames=frames):
            if isinstance(thing, Gaze):
                loot.add("gaze")
            if isinstance(thing, np.ndarray) and thing.ndim == 3 and thing.dtype == np.uint8:
                loot.add("picture")

    def _tamper(self, result: Result) -> None:
        """Changes everything that it can of a frozen result."""
        for thing in (result, result.frame, result.mask, result.roi):
            for name in ("roi", "image", "index", "score", "size_px", "prompt", "x", "width"):
                if hasattr(thing, name):
                    object.__setattr__(thing, name, None)
        if result.mask is not None:
            result.mask.logits.flags.writeable = True
            result.mask.logits[:] = 1e6
            result.mask.__dict__["_window"] = None
        if isinstance(result.ages_ns, dict):
            result.ages_ns.clear()


@dataclass(frozen=True)
class SpyConfig:
    """``ask``: what it says that it needs. A table's "egress" never comes here."""

    ask: tuple[Literal["pixels", "gaze"], ...] = ()
    grants: tuple[str, ...] = ("pixels", "gaze")
    label: str = "spy"


class SpyPublisher(Thief, Publisher):
    name: ClassVar[str] = "spy"
    Config: ClassVar[type] = SpyConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.kept: list[Any] = []
        self.errors: list[BaseException] = []
        self.opened = 0
        self._grant_itself()

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.config.ask)

    def open(self) -> None:
        self.opened += 1
        self._grant_itself()
        self._look("errors it raised", *self.errors, frames=True)
        if self.opened == 2:
            raise Keepsake(self)

    def close(self) -> None:
        if self.kept:
            raise Keepsake(self)

    def publish(self, result: Result) -> int | None:
        self.kept.append(result)
        self._look("result", result)
        self._look("itself and its context", self, self.context, self.config)
        if result.mask is not None:
            self._look("array's base", result.mask.logits.base, result.mask.logits)
        self._look("errors it raised", *self.errors, frames=True)
        self._look("its thread's frames", _frames_above())
        self._tamper(result)
        self._look("results it tampered with", *self.kept)
        if len(self.kept) % 2:
            raise Keepsake(self)
        return "many"  # type: ignore[return-value]


class Keepsake(Exception):  # noqa: N818
    """An error that stays with who raised it, and has a traceback that cannot be set."""

    def __init__(self, owner: Any) -> None:
        super().__init__("kept")
        owner.errors.append(self)

    @property
    def __traceback__(self) -> Any:
        return BaseException.__traceback__.__get__(self)  # type: ignore[attr-defined]

    @__traceback__.setter
    def __traceback__(self, value: Any) -> None:
        pass

    def with_traceback(self, tb: Any) -> Keepsake:
        return self


def _frames_above() -> list[Any]:
    """The local variables of all frames of this thread: beyond any interface, but at hand."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(dict(frame.f_locals))
        frame = frame.f_back  # type: ignore[assignment]
    return found


class SpySource(Thief, RoiSource):
    """Prompts with a ROI that it made from a gaze, and looks at what it is shown."""

    name: ClassVar[str] = "spy_source"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.errors: list[BaseException] = []
        self.kept: list[Any] = []
        self._grant_itself()

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        self._look("errors it raised", *self.errors, frames=True)
        return Prompt(roi=OBJECT, gaze=GAZE_AT, timestamp_ns=now_ns)

    def observe(self, result: Result) -> None:
        self.kept.append(result)
        self._look("result", result)
        self._tamper(result)
        if len(self.kept) % 3 == 1:
            raise Keepsake(self)


class SpyFilter(Thief, MaskFilter):
    """Gets masks only, and returns one that carries what it can."""

    name: ClassVar[str] = "spy_filter"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.errors: list[BaseException] = []

    def apply(self, mask: Mask, now_ns: int) -> Mask | None:
        self._look("mask", mask, mask.logits, mask.logits.base)
        self._look("itself and its context", self, self.context)
        self._look("errors it raised", *self.errors, frames=True)
        return mask


class MaliciousPlugin:
    """Offers the three."""

    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [SpyPublisher]

    @staticmethod
    @hookimpl
    def picosam_roi_sources() -> list[type[RoiSource]]:
        return [SpySource]

    @staticmethod
    @hookimpl
    def picosam_mask_filters() -> list[type[MaskFilter]]:
        return [SpyFilter]
