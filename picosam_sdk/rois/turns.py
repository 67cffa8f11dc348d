"""Places that are looked at in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.types import Prompt, Roi

__all__ = ["TurnsSource"]


class TurnsSource(RoiSource):
    """Prompts with the same places over and over, each for ``config.frames_each`` frames.

    Args:
        config, context: as of every part.
        prompts: the places, in their order.
    """

    def __init__(self, config: Any, context: Context, prompts: Sequence[Prompt]) -> None:
        super().__init__(config, context)
        self._prompts = prompts
        self._asked = 0

    def open(self) -> None:
        self._asked = 0

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        turn = self._asked // self.config.frames_each
        self._asked += 1
        return self._prompts[turn % len(self._prompts)]
