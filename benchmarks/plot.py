"""The picture: quality against time, sizes by parameters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

__all__ = ["draw"]


def draw(report: dict[str, Any], path: Path) -> bool:
    """Draws mIoU against milliseconds for one prompt; what has no mIoU is marked on the axis.

    Returns:
        False without matplotlib (extra ``train``), or without peers in the report.
    """
    rows = report.get("peers", {}).get("rows", [])
    if not rows:
        return False
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    scores = [100 * row["miou"] for row in rows if "miou" in row]
    low = min(scores, default=0) - 18
    for number, row in enumerate(sorted(rows, key=lambda row: float(row["ms"]))):
        ours = row["name"].startswith("PicoSAM3")
        colour = "tab:red" if ours else "tab:blue"
        measured = "miou" in row
        y = 100 * row["miou"] if measured else low + 6
        size = 30 + 28 * row["parameters"] / 1e6
        axes.scatter(row["ms"], y, s=size, c=colour if measured else "none", alpha=0.65,
                     edgecolors=colour, linestyles="-" if measured else ":")  # fmt: skip
        above = number % 2 == 0  # so that neighbours' names do not meet
        clear = math.sqrt(size) / 2 + 3  # points from the marker's middle
        axes.annotate(
            row["name"], (row["ms"], y), xytext=(0, clear if above else -clear),
            textcoords="offset points", fontsize=8, ha="center", va="bottom" if above else "top",
        )  # fmt: skip
    axes.set_xscale("log")
    times = [row["ms"] for row in rows]
    axes.set_xlim(min(times) / 3, max(times) * 4)  # room for the names
    axes.set_xlabel("ms for one prompt on a new picture of 1280 x 720, one thread (log)")
    if scores:
        axes.set_ylabel(f"mIoU, exact boxes, {report['peers']['objects']} objects")
        axes.set_ylim(low, max(scores) + 8)
    else:
        axes.set_yticks([])
    axes.set_title("Area: parameters. Dotted: random weights, speed only", fontsize=9)
    axes.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
