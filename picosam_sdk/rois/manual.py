"""A prompt set by hand: a click or a box on the web page, or a command from afar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from picosam_sdk.config import check
from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.types import Prompt, Roi

__all__ = ["ManualConfig", "ManualSource"]

_AHEAD_NS = 100_000_000
"""How far in the future a prompt may be dated; clocks of two programs differ a little."""


@dataclass(frozen=True, slots=True)
class ManualConfig:
    """``kind = "manual"``.

    Args:
        max_age_s: how long a prompt counts; 0 for until another is set or it is taken back.
            Before the source "follow", something short, such as 1: long enough to find the
            object, which is then followed.
    """

    max_age_s: float = 10.0

    def __post_init__(self) -> None:
        check(0 <= self.max_age_s < 1e9, "max_age_s", "seconds, or 0", self.max_age_s)


class ManualSource(RoiSource):
    """Prompts with what stands in ``context.prompt``, as long as it is young enough.

    A prompt without a time of its own counts from when it is first seen here. What was set
    before the source was opened does not count.
    """

    name: ClassVar[str] = "manual"
    Config: ClassVar[type] = ManualConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._seen: Prompt | None = None
        self._since_ns = 0
        self._before: Prompt | None = None

    def open(self) -> None:
        self._before = self.context.prompt.get()
        self._seen = None

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        prompt = self.context.prompt.get()
        if prompt is None or prompt is self._before:
            return None
        if prompt is not self._seen:
            self._seen = prompt
            self._since_ns = prompt.timestamp_ns or now_ns
        age_ns = now_ns - self._since_ns
        if age_ns < -_AHEAD_NS or (self.config.max_age_s and age_ns > self.config.max_age_s * 1e9):
            return None
        if prompt.roi is not None and not prompt.roi.overlaps_view():
            return None
        return replace(prompt, timestamp_ns=min(self._since_ns, now_ns))
