"""What a person looks at while a network trains: the log as a plot, predictions as a sheet."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["plot_log", "preview_sheet"]


def plot_log(log: Path, target: Path) -> None:
    """Draws loss, validation IoU and rate of a run's log.csv against crops seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with log.open() as file:
        for row in csv.DictReader(file):
            series[row["name"]].append((float(row["crops"]) / 1000, float(row["value"])))
    panels = [
        ("loss", ["total", "bce", "jaccard"]),
        ("validation", ["miou", "jitter_miou", "score_correlation"]),
        ("crops a second", ["crops_per_s"]),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(14, 4), layout="constrained")
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name in names:
            if series[name]:
                axis.plot(*zip(*series[name], strict=True), label=name, linewidth=1)
        axis.set_title(title)
        axis.set_xlabel("thousand crops")
        axis.grid(alpha=0.3)
        if axis.lines:  # a short run may have logged none
            axis.legend()
    figure.savefig(target, dpi=90)
    plt.close(figure)


def preview_sheet(
    views: Sequence[Any],
    logits: NDArray[np.float32],
    scores: NDArray[np.float32],
    target: Path,
    columns: int = 8,
) -> None:
    """Pairs of crop and overlay: the mask filled, the target's outline, the predicted IoU."""
    tiles = []
    for (image, truth), logit, score in zip(views, logits, scores, strict=True):
        overlay = image.copy()
        overlay[logit > 0] = overlay[logit > 0] // 2 + np.array([0, 110, 40], np.uint8)
        outline, _ = cv2.findContours(
            (truth > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(overlay, outline, -1, (255, 60, 60), 1)
        cv2.putText(overlay, f"{score:.2f}", (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 0))
        tiles.append(np.hstack([image, overlay]))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(target), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
