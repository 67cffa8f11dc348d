"""All passes that a report or a model card is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picosam_sdk.evaluation.annotations import Dataset
from picosam_sdk.evaluation.metrics import Evaluation
from picosam_sdk.evaluation.protocol import Progress, evaluate, evaluate_points
from picosam_sdk.segmenter import Segmenter

__all__ = ["JITTER_LEVELS", "Suite", "run_suite"]

JITTER_LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Those of the paper's table."""


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """The same objects prompted in several ways.

    Args:
        boxes: by jitter level; 0 is among them.
        points: prompted with one point each.
    """

    boxes: Mapping[float, Evaluation]
    points: Evaluation

    @property
    def exact(self) -> Evaluation:
        """Prompted with the exact boxes."""
        return self.boxes[0.0]

    def summary(self) -> dict[str, Any]:
        """That of the exact boxes, with ``jitterN_miou`` for N percent and ``point_miou``."""
        jittered = {
            f"jitter{100 * level:.0f}_miou": float(result.ious.mean())
            for level, result in self.boxes.items()
            if level
        }
        return {
            **self.exact.summary(),
            **jittered,
            "point_miou": float(self.points.ious.mean()),
        }


def run_suite(
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    levels: Sequence[float] = JITTER_LEVELS,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Suite:
    """Evaluates boxes at every jitter level, 0 among them, and then points.

    Args:
        limit: evaluate only this many objects, spread evenly over the file.
        progress: called ``len(levels) + 1`` times for every object.

    Raises:
        InputError: a picture or mask is unusable, or an argument is out of range.
        BackendError: the model failed, or its values are not finite.
    """
    boxes = {
        level: evaluate(segmenter.backend, dataset, jitter=level, limit=limit, progress=progress)
        for level in dict.fromkeys((0.0, *levels))
    }
    return Suite(boxes, evaluate_points(segmenter, dataset, limit=limit, progress=progress))
