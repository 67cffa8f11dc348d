"""A pointing device in place of an eye, such as the mouse on the web page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from picosam_gaze.source import GazeSource
from picosam_gaze.sources.inbox import COUNTS
from picosam_sdk.types import Gaze

__all__ = ["PointerSource"]


class PointerSource(GazeSource):
    """``{kind = "pointer"}``: reads ``context.pointer``, each place once."""

    name: ClassVar[str] = "pointer"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self._last: Gaze | None = None
        self._opened = False
        self._received = self._late = 0

    def open(self) -> None:
        self._opened = True

    def close(self) -> None:
        self._opened = False

    def samples(self) -> list[Gaze]:
        gaze = self.context.pointer.get() if self._opened else None
        if gaze is None or gaze is self._last or gaze.timestamp_ns > time.monotonic_ns():
            return []
        if self._last is not None and gaze.timestamp_ns <= self._last.timestamp_ns:
            self._late += gaze != self._last
            return []
        self._last = gaze
        self._received += 1
        return [gaze]

    @property
    def connected(self) -> bool:
        age_s = self._age_s()
        return age_s is not None and 0 <= age_s <= self.config.timeout_s

    @property
    def in_view(self) -> bool:
        return True

    @property
    def stats(self) -> Mapping[str, Any]:
        counts = dict.fromkeys(COUNTS, 0)
        return {
            **counts,
            "connected": self.connected,
            "received": self._received,
            "late": self._late,
            "last_sample_age_s": self._age_s(),
        }

    def _age_s(self) -> float | None:
        gaze = self.context.pointer.get() if self._opened else None
        return None if gaze is None else (time.monotonic_ns() - gaze.timestamp_ns) / 1e9
