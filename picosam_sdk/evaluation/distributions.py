"""How the objects of an evaluation are distributed: what a report plots, as plain numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.evaluation.metrics import Evaluation

__all__ = ["SIDE_EDGES_PX", "by_side", "calibration", "iou_histogram"]

SIDE_EDGES_PX = (0, 16, 32, 64, 128, 256, 512, 1e9)
"""Groups by the square root of the object's area in pixels; the last holds the rest."""


def iou_histogram(ious: NDArray[np.float64]) -> dict[str, list[float]]:
    """``edges`` of twenty bins of 0.05 and the ``counts`` in them; 1.0 lies in the last."""
    counts, edges = np.histogram(ious, bins=20, range=(0, 1))
    return {"edges": edges.round(2).tolist(), "counts": counts.tolist()}


def by_side(evaluation: Evaluation) -> list[dict[str, Any]]:
    """IoU by size of the object; groups without objects are left out.

    Returns:
        For each group ``from_px`` and ``to_px`` (None: no bound), ``n``, the median ``side_px``,
        ``miou``, and the quartiles ``q25``, ``median``, ``q75``.
    """
    sides = np.sqrt(evaluation.areas)
    groups = []
    for low, high in pairwise(SIDE_EDGES_PX):
        chosen = (sides >= low) & (sides < high)
        if not chosen.any():
            continue
        ious = evaluation.ious[chosen]
        q25, median, q75 = np.quantile(ious, (0.25, 0.5, 0.75)).tolist()
        groups.append(
            {
                "from_px": low,
                "to_px": None if high == SIDE_EDGES_PX[-1] else high,
                "n": len(ious),
                "side_px": float(np.median(sides[chosen])),
                "miou": float(ious.mean()),
                "q25": q25,
                "median": median,
                "q75": q75,
            }
        )
    return groups


def calibration(evaluation: Evaluation) -> dict[str, Any]:
    """How far the predicted IoU can be believed.

    Returns:
        ``bins``: for each tenth of the predicted IoU that occurs ``from``, ``n``, and the means
        ``score`` and ``iou``; ``mean_error``: mean over the objects of the distance between their
        bin's two means; ``bias``: mean predicted minus mean true IoU; ``correlation``.
    """
    scores, ious = evaluation.scores, evaluation.ious
    places = np.clip((scores * 10).astype(int), 0, 9)
    bins = []
    for place in np.unique(places).tolist():
        chosen = places == place
        bins.append(
            {
                "from": place / 10,
                "n": int(chosen.sum()),
                "score": float(scores[chosen].mean()),
                "iou": float(ious[chosen].mean()),
            }
        )
    return {
        "bins": bins,
        "mean_error": sum(b["n"] * abs(b["score"] - b["iou"]) for b in bins) / len(ious),
        "bias": float(scores.mean() - ious.mean()),
        "correlation": evaluation.score_correlation(),
    }
