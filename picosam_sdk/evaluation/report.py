"""The report of an evaluation: report.html with its pictures beside it, and report.json.

The page needs no network and no script. Only this module uses matplotlib, which the extra
``train`` brings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picosam_sdk import __version__
from picosam_sdk.errors import InputError, MissingExtraError
from picosam_sdk.evaluation import distributions, gallery
from picosam_sdk.evaluation.annotations import Dataset
from picosam_sdk.evaluation.metrics import SIZES, Evaluation
from picosam_sdk.evaluation.page import page
from picosam_sdk.evaluation.paper import PAPER
from picosam_sdk.evaluation.protocol import Model
from picosam_sdk.evaluation.suite import Suite
from picosam_sdk.images import save_image

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
except ImportError as error:
    raise MissingExtraError("matplotlib", "train") from error

__all__ = ["figures", "make_folder", "write_report"]

OURS, PAPER_COLORS, GREY, INK = "#1467c7", ("#d9622b", "#e0a33a"), "#8a919c", "#22262d"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#c4c9d1",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e8eaee",
    "text.color": INK,
    "xtick.color": "#555c67",
    "ytick.color": "#555c67",
    "legend.frameon": False,
}
MOST_DOTS = 5_000
LEAST_FOR_QUARTILES = 5


def write_report(
    model: Model, dataset: Dataset, suite: Suite, folder: Path, *, examples: int = 8
) -> dict[str, Any]:
    """Writes report.html, report.json, the plots and the pictures of some objects.

    Args:
        model: the one that was evaluated, to predict the objects of the gallery once more.
        folder: made if it is not there; files of an earlier report are replaced.
        examples: how many of the best, median and worst objects are shown.

    Returns:
        What report.json holds.

    Raises:
        InputError: the folder cannot be written to.
    """
    shown = gallery.choose(suite.exact.ious, examples)
    names = {
        place: f"objects/{group}-{rank + 1}.jpg"
        for group, places in shown.items()
        for rank, place in enumerate(places)
    }
    values = figures(suite)
    values["gallery"] = {
        group: [gallery.caption(suite.exact, p) | {"file": names[p]} for p in places]
        for group, places in shown.items()
    }
    make_folder(folder)
    try:
        for old in (folder / "objects").glob("*-[0-9]*.jpg"):
            old.unlink()
        with rc_context(STYLE):
            _plot_histogram(suite.exact, folder / "iou_histogram.png")
            _plot_sides(suite.exact, values["by_side"], folder / "iou_by_size.png")
            _plot_jitter(suite, folder / "jitter.png")
            _plot_competitors(values["summary"], folder / "competitors.png")
            _plot_calibration(suite.exact, values["calibration"], folder / "calibration.png")
        for place, picture in gallery.pictures(model, dataset, suite.exact, list(names)):
            save_image(picture, folder / names[place])
        text = json.dumps(values, indent=2, allow_nan=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(page(values), encoding="utf-8")
    except OSError as error:
        raise _not_writable(folder, error) from error
    return values


def make_folder(folder: Path) -> None:
    """Makes the report's folder.

    Raises:
        InputError: it cannot be made.
    """
    try:
        (folder / "objects").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"expected a folder to write to at {folder}, got: {error.strerror}",
        hint="Name another one with --report DIR.",
    )


def figures(suite: Suite) -> dict[str, Any]:
    """All that the report says, less its pictures, as JSON can hold it."""
    return {
        "picosam_sdk": __version__,
        "summary": suite.summary(),
        "jitter": [
            {"level": level, **_brief(result)} for level, result in sorted(suite.boxes.items())
        ],
        "point": _brief(suite.points),
        "iou_histogram": distributions.iou_histogram(suite.exact.ious),
        "by_side": distributions.by_side(suite.exact),
        "calibration": distributions.calibration(suite.exact),
        "paper": [
            {
                "data": paper.data,
                "miou": paper.miou,
                "jitter": [{"level": k, "miou": v} for k, v in paper.jitter.items()],
                "by_competitors": paper.by_competitors,
            }
            for paper in PAPER
        ],
    }


def _brief(evaluation: Evaluation) -> dict[str, Any]:
    summary = evaluation.summary()
    brief = {key: summary[key] for key in ("miou", "se", "map", "clipped_miou")}
    return brief | {"box_miou": summary["baselines"]["box"]["miou"]}


def _axes(width: float = 6.4, height: float = 3.7) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=170, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _plot_histogram(evaluation: Evaluation, path: Path) -> None:
    figure, axes = _axes()
    bins = np.linspace(0, 1, 21).tolist()
    axes.hist(evaluation.ious, bins, color=OURS, alpha=0.85, rwidth=0.92, label="model")
    axes.hist(
        evaluation.baselines["box"], bins, histtype="step", color=GREY, linewidth=1.2,
        label="the whole box as mask",
    )  # fmt: skip
    mean, median = float(evaluation.ious.mean()), float(np.median(evaluation.ious))
    axes.axvline(mean, color=INK, linewidth=1.2, label=f"mean {mean:.3f}")
    axes.axvline(median, color=INK, linewidth=1.2, linestyle=":", label=f"median {median:.3f}")
    axes.set(xlabel="IoU", ylabel="objects", xlim=(0, 1))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")
    figure.savefig(path)


def _plot_sides(evaluation: Evaluation, groups: list[dict[str, Any]], path: Path) -> None:
    figure, axes = _axes()
    sides = np.maximum(np.sqrt(evaluation.areas), 1)
    step = -(-len(sides) // MOST_DOTS)
    axes.scatter(sides[::step], evaluation.ious[::step], s=7, color=OURS, alpha=0.22, linewidths=0)
    groups = [group for group in groups if group["n"] >= LEAST_FOR_QUARTILES]
    x = [group["side_px"] for group in groups]
    q25, median, q75 = ([group[key] for group in groups] for key in ("q25", "median", "q75"))
    axes.fill_between(x, q25, q75, color=INK, alpha=0.10, linewidth=0, label="middle half")
    axes.plot(x, median, color=INK, marker="o", markersize=4, linewidth=1.4, label="median")
    axes.set_xscale("log")
    ticks = [2**k for k in range(2, 12) if sides.min() / 1.5 < 2**k < sides.max() * 1.5]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(tick) for tick in ticks])
    for name, (low, high) in SIZES.items():
        low, high = max(low**0.5, sides.min()), min(high**0.5, sides.max())
        if low < high:
            axes.text((low * high) ** 0.5, 1.03, name, ha="center", color=GREY)
            if low > sides.min():
                axes.axvline(low, color="#c4c9d1", linewidth=0.8, zorder=0)
    axes.set(xlabel="square root of the object's area, px", ylabel="IoU", ylim=(0, 1.1))
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.legend(loc="lower right")
    figure.savefig(path)


def _plot_jitter(suite: Suite, path: Path) -> None:
    figure, axes = _axes()
    levels = sorted(suite.boxes)
    briefs = [_brief(suite.boxes[level]) for level in levels]
    miou = np.array([brief["miou"] for brief in briefs])
    error = np.array([brief["se"] or 0.0 for brief in briefs])
    axes.fill_between(levels, miou - error, miou + error, color=OURS, alpha=0.15, linewidth=0)
    axes.plot(levels, miou, color=OURS, marker="o", linewidth=2, label="this model")
    for paper, color in zip(PAPER, PAPER_COLORS, strict=True):
        axes.plot(
            list(paper.jitter), list(paper.jitter.values()), color=color, marker="s",
            markersize=4, linestyle="--", linewidth=1.3, label=f"paper, {paper.data}",
        )  # fmt: skip
    axes.plot(
        levels, [brief["box_miou"] for brief in briefs], color=GREY, linestyle=":",
        label="the whole box as mask",
    )  # fmt: skip
    axes.set(xlabel="box perturbation, share of the box's size", ylabel="mIoU")
    axes.set_xticks(levels)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower left")
    low = min(*axes.get_ylim(), 0.4)
    axes.set_ylim(low, max(0.75, float(miou.max()) + 0.04))
    figure.savefig(path)


def _plot_competitors(summary: Mapping[str, Any], path: Path) -> None:
    figure, axes = _axes()
    groups: Mapping[str, Any] = summary["by_competitors"]
    box = summary["baselines"]["box"]["by_competitors"]
    series = [("this model", OURS, [group["miou"] for group in groups.values()])]
    series += [
        (f"paper, {paper.data}", color, [paper.by_competitors[name] for name in groups])
        for paper, color in zip(PAPER, PAPER_COLORS, strict=True)
    ]
    series.append(("the whole box as mask", "#c9cdd4", [box[name]["miou"] for name in groups]))
    x, width = np.arange(len(groups)), 0.8 / len(series)
    for place, (label, color, values) in enumerate(series):
        heights = [value or 0.0 for value in values]
        at = x + (place - (len(series) - 1) / 2) * width
        axes.bar(at, heights, width * 0.9, color=color, label=label)
        for left, height in zip(at, heights, strict=True):
            if height:
                axes.text(
                    float(left), height + 0.012, f"{100 * height:.1f}", ha="center", fontsize=8
                )
    axes.set_xticks(x, [f"{name}\nn = {group['n']}" for name, group in groups.items()])
    axes.set(xlabel="other objects whose box has its centre inside the crop", ylabel="mIoU")
    axes.set_ylim(0, 1)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right", ncols=2, fontsize=9)
    figure.savefig(path)


def _plot_calibration(evaluation: Evaluation, values: Mapping[str, Any], path: Path) -> None:
    figure, axes = _axes(4.6, 4.3)
    step = -(-len(evaluation.ious) // MOST_DOTS)
    axes.scatter(
        evaluation.scores[::step], evaluation.ious[::step], s=7, color=OURS, alpha=0.22,
        linewidths=0,
    )  # fmt: skip
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=1, linestyle="--", label="perfect")
    bins = values["bins"]
    sizes = [30 + 170 * group["n"] / len(evaluation.ious) for group in bins]
    at, means = [group["score"] for group in bins], [group["iou"] for group in bins]
    axes.plot(at, means, color=INK, linewidth=1.4)
    axes.scatter(at, means, s=sizes, color=INK, zorder=3, label="mean of a tenth")
    axes.set(xlabel="IoU that the model predicts", ylabel="true IoU", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    figure.savefig(path)
