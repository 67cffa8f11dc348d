"""The role of a fixation detector: whether the eye is still, and since when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple

__all__ = ["Detector", "Sample", "Still", "mean_place"]

Sample = tuple[int, float, float]
"""When in ns, and where: degrees right of and below the optical axis."""


def mean_place(samples: Collection[Sample]) -> tuple[float, float]:
    """The mean of the places of one or more samples."""
    count = len(samples)
    return sum(sample[1] for sample in samples) / count, sum(s[2] for s in samples) / count


class Still(NamedTuple):
    """A phase in which the eye is still, up to the newest sample.

    Args:
        since_ns: when it began. Another value means another phase: the eye has moved in between.
        x_deg, y_deg: mean place of the samples of the phase.
    """

    since_ns: int
    x_deg: float
    y_deg: float


class Detector(ABC):
    """Is fed valid samples, in order of time."""

    @abstractmethod
    def push(self, time_ns: int, x_deg: float, y_deg: float) -> Still | None:
        """Takes a sample; None while the eye moves, or while nothing can be said."""

    @property
    @abstractmethod
    def judged_ns(self) -> int:
        """To which instant the last answer belongs; it may lie before the newest sample."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets the samples: what comes next does not continue them."""
