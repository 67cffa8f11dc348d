"""Whether something stands in a region, told from masks alone.

The network answers something for every box, also for an empty one, and its score says how good
the outline will be, not whether there is an object. So an empty place is learnt first: the mean
mask and score of some looks at it. From then on, with p the probabilities of a mask, s its score,
and p0, s0 those of the empty place:

    evidence = (1 - sum(min(p, p0)) / sum(max(p, p0))) * max(s, s0)

The first factor is how much the answer has changed (one minus the soft IoU), the second discounts
changes between two answers of which the network is not sure. ``measure.py`` says how often this
errs. A place becomes occupied when the evidence is above ``enter`` and the mask holds still, and
empty when it is below ``leave``, each for ``looks`` looks in a row: an arm that reaches in does
neither. The light may have changed while something stood there, so evidence that falls to
``leave_share`` of what it was is enough to be empty, and the place is then half learnt anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import Mask, Roi


@dataclass(frozen=True)
class Rules:
    """When a place changes its state.

    Args:
        learn: looks at the empty place, which must agree with each other.
        looks: looks in a row that must say the same.
        enter, leave: evidence above and below which a place is occupied and empty.
        leave_share: of the evidence that an object had, below which its place is empty, too.
        still: how much, 0 to 1, two masks in a row of an object at rest agree at least.
        area_change: by which share of itself the area must change for an event.
        adapt: weight of a new look at an empty place in what is known of it, for daylight.
    """

    learn: int = 8
    looks: int = 4
    enter: float = 0.13
    leave: float = 0.09
    leave_share: float = 0.4
    still: float = 0.7
    area_change: float = 0.3
    adapt: float = 0.02


@dataclass
class Empty:
    """What the network says of an empty place: probabilities float32 (h, w), score, its ROI."""

    probabilities: NDArray[np.float32]
    score: float
    roi: Roi

    def evidence(self, mask: Mask) -> float:
        """How much a mask speaks for an object, 0 to 1."""
        change = 1 - agreement(mask.probabilities, self.probabilities)
        return change * max(mask.score, self.score)

    def adapt(self, mask: Mask, weight: float) -> None:
        """Learns from another look, by an exponential moving average."""
        change = mask.probabilities - self.probabilities
        self.probabilities = self.probabilities + np.float32(weight) * change
        self.score += weight * (mask.score - self.score)


def agreement(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Soft IoU of two masks, 0 to 1."""
    return float(np.minimum(a, b).sum() / max(float(np.maximum(a, b).sum()), 1e-6))


class Place:
    """Watches one region: shown its masks in order, it says what happens there.

    Attributes:
        empty: what is known of the empty place; None while it is learnt.
        present: whether something stands there.
        area_px: of that.
        evidence: of the last look.
    """

    def __init__(self, rules: Rules, empty: Empty | None = None) -> None:
        self.rules, self.empty = rules, empty
        self.present = False
        self.area_px = 0
        self.evidence = 0.0
        self._looks: deque[Mask] = deque(maxlen=rules.learn)
        self._run: list[Mask] = []  # the looks in a row that speak for one change
        self._toward = ""
        self._before: Mask | None = None
        self._level = 0.0  # evidence of what stands there

    def look(self, mask: Mask) -> str:
        """Takes a mask.

        Returns:
            "enter", "leave" or "change" if that is now sure; "" otherwise.
        """
        if self.empty is not None and self.empty.roi != mask.roi:
            self.empty = None  # another box than the one that was learnt
        if self.empty is None:
            self._learn(mask)
            return ""
        self.evidence = self.empty.evidence(mask)
        before, self._before = self._before, mask
        toward = self._tendency(mask, before)
        if toward != self._toward:
            self._toward, self._run = toward, []
        self._run.append(mask)
        if not toward or len(self._run) < self.rules.looks:
            return ""
        self._toward, self.present = "", toward != "leave"
        if self.present:
            self.area_px = int(median(look.area_px for look in self._run))
            self._level = median(self.empty.evidence(look) for look in self._run)
        else:
            self.area_px, self._level = 0, 0.0
            for look in self._run:
                self.empty.adapt(look, 0.5 / len(self._run))
        return toward

    def _tendency(self, mask: Mask, before: Mask | None) -> str:
        """What this look alone speaks for."""
        rules, empty = self.rules, self.empty
        assert empty is not None
        if self.evidence <= max(rules.leave, rules.leave_share * self._level):
            if not self.present:
                empty.adapt(mask, rules.adapt)
            return "leave" if self.present else ""
        at_rest = before is not None and (
            agreement(mask.probabilities, before.probabilities) >= rules.still
        )
        if self.evidence < rules.enter or not at_rest:
            return ""
        if not self.present:
            return "enter"
        changed = abs(mask.area_px - self.area_px) > rules.area_change * self.area_px
        return "change" if changed else ""

    def _learn(self, mask: Mask) -> None:
        if self._looks and self._looks[-1].roi != mask.roi:
            self._looks.clear()
        self._looks.append(mask)
        mean = np.mean([look.probabilities for look in self._looks], axis=0)
        empty = Empty(mean, float(np.mean([look.score for look in self._looks])), mask.roi)
        agree = all(empty.evidence(look) < self.rules.leave for look in self._looks)
        if len(self._looks) == self.rules.learn and agree:
            self.empty = empty


def save(path: Path, places: dict[str, Place]) -> None:
    """Stores what is known of the empty places; there is no picture in it."""
    arrays = {}
    for region, place in places.items():
        if place.empty is not None:
            roi = place.empty.roi
            arrays[f"p:{region}"] = place.empty.probabilities.astype(np.float16)
            arrays[f"s:{region}"] = np.array(
                [place.empty.score, roi.x, roi.y, roi.width, roi.height]
            )
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> dict[str, Empty]:
    """What :func:`save` stored, by region."""
    with np.load(path) as arrays:
        known = {}
        for key in arrays.files:
            if key.startswith("p:"):
                score, *roi = (float(value) for value in arrays[f"s:{key[2:]}"])
                known[key[2:]] = Empty(arrays[key].astype(np.float32), score, Roi(*roi))
    return known
