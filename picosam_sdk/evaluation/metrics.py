"""What an evaluation measured, one value an object, and the figures made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.evaluation.annotations import Instance
from picosam_sdk.types import Roi

__all__ = ["IOU_THRESHOLDS", "SIZES", "Evaluation", "iou", "mean_ap", "percent"]

IOU_THRESHOLDS: NDArray[np.float64] = np.arange(50, 100, 5) / 100
"""0.50, 0.55, ... 0.95."""

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes by area in square pixels: from the first, below the second."""

COMPETITORS = {"0": (0, 0), "1-2": (1, 2), "3+": (3, 10**9)}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The objects of one evaluation; all arrays are (n,), in the order of ``instances``.

    Args:
        instances: what was evaluated, in the file's order.
        prompts: the box that each was prompted with (jittered, if asked for).
        ious: IoU of the predicted mask with the true one, float64, 0 to 1.
        clipped_ious: the same after clipping the predicted mask to the prompt box grown by 10 %;
            None where no box was given.
        scores: IoU that the model predicted for its own mask, float64.
        areas: of the objects, in square pixels, float64.
        competitors: how many other objects have their box's centre inside the crop, int64.
        baselines: IoU of the masks that need no model, ``box`` and ``ellipse``, float64.
        model: what ran, from its card.
        protocol: how it was measured.
    """

    instances: tuple[Instance, ...]
    prompts: tuple[Roi, ...]
    ious: NDArray[np.float64]
    clipped_ious: NDArray[np.float64] | None
    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    competitors: NDArray[np.int64]
    baselines: Mapping[str, NDArray[np.float64]]
    model: Mapping[str, Any]
    protocol: Mapping[str, Any]

    def size_groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which objects are small, medium and large."""
        return {
            name: (self.areas >= low) & (self.areas < high) for name, (low, high) in SIZES.items()
        }

    def competitor_groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which objects have 0, 1-2 and 3+ competitors."""
        return {
            name: (self.competitors >= low) & (self.competitors <= high)
            for name, (low, high) in COMPETITORS.items()
        }

    def score_correlation(self) -> float | None:
        """Pearson's correlation of predicted and true IoU; None where one of them is constant."""
        if len(self.ious) < 2 or np.ptp(self.ious) == 0 or np.ptp(self.scores) == 0:
            return None
        return float(np.corrcoef(self.ious, self.scores)[0, 1])

    def summary(self) -> dict[str, Any]:
        """Everything in one dictionary that JSON can hold; a figure over no objects is None."""
        sizes, competitors = self.size_groups(), self.competitor_groups()
        clipped = self.clipped_ious
        return {
            **_figures(self.ious),
            "clipped_miou": None if clipped is None else _figures(clipped)["miou"],
            "by_size": {name: _figures(self.ious[chosen]) for name, chosen in sizes.items()},
            "by_competitors": {
                name: _figures(self.ious[chosen]) for name, chosen in competitors.items()
            },
            "baselines": {
                baseline: {
                    **_figures(ious),
                    "by_size": {name: _figures(ious[chosen]) for name, chosen in sizes.items()},
                    "by_competitors": {
                        name: _figures(ious[chosen]) for name, chosen in competitors.items()
                    },
                }
                for baseline, ious in self.baselines.items()
            },
            "score_correlation": self.score_correlation(),
            "model": dict(self.model),
            "protocol": dict(self.protocol),
        }


def iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], outside: float = 0.0) -> float:
    """Intersection over union of two masks of the same shape; 1.0 when both are empty.

    Args:
        outside: area of the prediction that lies outside both, in their pixels.
    """
    union = np.count_nonzero(predicted | truth) + outside
    return float(np.count_nonzero(predicted & truth) / union) if union else 1.0


def mean_ap(ious: NDArray[np.float64]) -> float:
    """Mean over IoU_THRESHOLDS of the share of objects at or above the threshold."""
    return float((ious[:, None] >= IOU_THRESHOLDS).mean())


def percent(value: float | None) -> str:
    """A share as a number to read: 0.654 is "65.4", None is "-"."""
    return "-" if value is None else f"{100 * value:.1f}"


def _figures(ious: NDArray[np.float64]) -> dict[str, Any]:
    """``n``, ``miou``, its standard error ``se`` (objects taken as independent) and ``map``."""
    n = len(ious)
    return {
        "miou": float(ious.mean()) if n else None,
        "map": mean_ap(ious) if n else None,
        "n": n,
        "se": float(ious.std(ddof=1) / n**0.5) if n > 1 else None,
    }
