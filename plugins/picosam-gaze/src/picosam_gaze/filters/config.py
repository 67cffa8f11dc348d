"""The keys of the filters, ``[roi.filter]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from picosam_sdk.config import check

__all__ = ["FilterConfig"]


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """How gaze becomes fixations, saccades and blinks.

    Args:
        kind: "ivt", by velocity, or "idt", by dispersion.
        velocity_deg_s: of I-VT: slower is a fixation (Olsen 2012).
        window_ms: of I-VT: over which the velocity is taken. Olsen takes 20 ms; 60 ms bear more
            noise ('picosam gaze evaluate' compares the two).
        dispersion_deg: of I-DT: closer together is a fixation (Salvucci and Goldberg 2000).
        average_ms: of I-DT: each sample is averaged with those up to so long before it, against
            noise; 0 is the published algorithm.
        min_fixation_ms: shorter ones do not count.
        merge_ms, merge_deg: a fixation goes on after an interruption of at most so long, if the
            eye is back at most so far from where it was (Olsen 2012).
        gap_ms: over a longer hole between two samples no velocity is taken (Olsen 2012), unless
            the tracker is always so slow.
        min_confidence: a sample with less counts as missing.
        blink_ms: the eye may be missing for so long; then it is lost. 0: it is lost at once.
        dwell_deg: the dwell goes on over a blink or a small saccade if the next fixation lies at
            most so far from the one before, and began at most ``blink_ms`` after it.
        min_cutoff_hz, beta: of the One-Euro filter that smooths the point of a fixation, in Hz
            and Hz for each degree a second.
    """

    kind: Literal["ivt", "idt"] = "ivt"
    velocity_deg_s: float = 30.0
    window_ms: float = 60.0
    dispersion_deg: float = 1.0
    average_ms: float = 40.0
    min_fixation_ms: float = 100.0
    merge_ms: float = 75.0
    merge_deg: float = 0.5
    gap_ms: float = 75.0
    min_confidence: float = 0.6
    blink_ms: float = 400.0
    dwell_deg: float = 1.0
    min_cutoff_hz: float = 0.01
    beta: float = 0.8

    def __post_init__(self) -> None:
        for key, low, high in (
            ("velocity_deg_s", 1, 1000), ("window_ms", 1, 1000), ("dispersion_deg", 0.05, 30),
            ("average_ms", 0, 1000), ("min_fixation_ms", 1, 5000),
            ("merge_ms", 0, 1000), ("merge_deg", 0, 30),
            ("gap_ms", 1, 5000), ("min_confidence", 0, 1), ("blink_ms", 0, 5000),
            ("dwell_deg", 0, 30), ("min_cutoff_hz", 1e-4, 1000), ("beta", 0, 1000),
        ):  # fmt: skip
            value = getattr(self, key)
            check(low <= value <= high, key, f"{low} to {high}", value)
