"""Which samples may be believed."""

from __future__ import annotations

from enum import Enum

from picosam_sdk.types import Gaze

__all__ = ["Gate", "Verdict"]


class Verdict(Enum):
    """What a sample is good for."""

    USABLE = "usable"
    MISSING = "missing"
    """The eye was not seen, or hardly: a blink, or a loss."""
    NOT_WORN = "not worn"
    """Nobody wears the tracker."""


class Gate:
    """Lets samples pass that the tracker itself trusts.

    Args:
        min_confidence: below it, a sample counts as missing. Pupil Labs recommends 0.6 for
            Pupil Core; trackers without a confidence report 1.
    """

    def __init__(self, min_confidence: float = 0.6) -> None:
        self._min_confidence = min_confidence

    def judge(self, gaze: Gaze) -> Verdict:
        """What one sample is good for; a confidence that is NaN is none."""
        if not gaze.worn:
            return Verdict.NOT_WORN
        if not gaze.valid or not gaze.confidence >= self._min_confidence:
            return Verdict.MISSING
        return Verdict.USABLE
