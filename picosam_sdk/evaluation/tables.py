"""The report's tables, as HTML made from what report.json holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from picosam_sdk.evaluation.metrics import percent

__all__ = [
    "calibration_table",
    "competitor_table",
    "headline_table",
    "histogram_table",
    "jitter_table",
    "share_above",
    "side_table",
]

Cell = tuple[str, str]
"""Text and class of a cell."""


def headline_table(values: Mapping[str, Any]) -> str:
    summary, point = values["summary"], values["point"]
    box, ellipse = summary["baselines"]["box"], summary["baselines"]["ellipse"]
    paper = [p["miou"] for p in values["paper"]]
    none = [None] * len(paper)
    names = [f"paper, {p['data']}" for p in values["paper"]]
    head = ("", "n", "mIoU", "±", "mAP", "box", "ellipse", *names)

    def row(name: str, group: Any, box: Any, ellipse: Any, paper: Sequence[Any]) -> list[Cell]:
        return [
            (name, ""),
            (str(group.get("n", summary["n"])), ""),
            (percent(group["miou"]), "ours"),
            (percent(group.get("se")), ""),
            (percent(group.get("map")), ""),
            (percent(box), ""),
            (percent(ellipse), ""),
            *((percent(value), "paper") for value in paper),
        ]

    rows: list[list[Cell] | str] = [
        row("all objects", summary, box["miou"], ellipse["miou"], paper),
        row("mask clipped to the grown box", {"miou": summary["clipped_miou"]}, None, None, none),
        row("one point instead of a box", point, None, None, none),
        "by size",
    ]
    for name, group in summary["by_size"].items():
        rows.append(row(name, group, box["by_size"][name]["miou"],
                        ellipse["by_size"][name]["miou"], none))  # fmt: skip
    rows.append("by competing objects")
    for name, group in summary["by_competitors"].items():
        theirs = [p["by_competitors"][name] for p in values["paper"]]
        rows.append(row(name, group, box["by_competitors"][name]["miou"],
                        ellipse["by_competitors"][name]["miou"], theirs))  # fmt: skip
    return _table(head, rows)


def share_above(values: Mapping[str, Any], bound: float) -> str:
    histogram = values["iou_histogram"]
    counts = histogram["counts"]
    above = sum(n for n, edge in zip(counts, histogram["edges"][:-1], strict=True) if edge >= bound)
    return f"{100 * above / sum(counts):.0f} %"


def histogram_table(values: Mapping[str, Any]) -> str:
    summary = values["summary"]
    rows: list[list[Cell] | str] = [
        [(f"IoU of at least {bound:.2f}", ""), (share_above(values, bound), "ours")]
        for bound in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    ]
    rows.append([("mAP (0.50 to 0.95)", ""), (f"{percent(summary['map'])} %", "ours")])
    return _table(("", "objects"), rows)


def side_table(values: Mapping[str, Any]) -> str:
    rows: list[list[Cell] | str] = []
    for group in values["by_side"]:
        low, high = round(group["from_px"]), group["to_px"]
        rows.append(
            [
                (f"from {low} px" if high is None else f"{low} to {round(high)} px", ""),
                (str(group["n"]), ""),
                (percent(group["miou"]), "ours"),
                (f"{percent(group['q25'])} to {percent(group['q75'])}", ""),
            ]
        )
    return _table(("side", "n", "mIoU", "middle half"), rows)


def jitter_table(values: Mapping[str, Any]) -> str:
    theirs = [{row["level"]: row["miou"] for row in p["jitter"]} for p in values["paper"]]
    rows: list[list[Cell] | str] = [
        [
            (f"{100 * row['level']:.0f} %", ""),
            (percent(row["miou"]), "ours"),
            (percent(row["se"]), ""),
            *((percent(paper.get(row["level"])), "paper") for paper in theirs),
            (percent(row["box_miou"]), ""),
        ]
        for row in values["jitter"]
    ]
    names = [f"paper, {p['data'].split()[0]}" for p in values["paper"]]
    return _table(("box off by", "mIoU", "±", *names, "box"), rows)


def competitor_table(values: Mapping[str, Any]) -> str:
    summary = values["summary"]
    box = summary["baselines"]["box"]["by_competitors"]
    rows: list[list[Cell] | str] = [
        [
            (name, ""),
            (str(group["n"]), ""),
            (percent(group["miou"]), "ours"),
            (percent(group["se"]), ""),
            *((percent(p["by_competitors"][name]), "paper") for p in values["paper"]),
            (percent(box[name]["miou"]), ""),
        ]
        for name, group in summary["by_competitors"].items()
    ]
    names = [f"paper, {p['data'].split()[0]}" for p in values["paper"]]
    return _table(("others", "n", "mIoU", "±", *names, "box"), rows)


def calibration_table(values: Mapping[str, Any]) -> str:
    calibration = values["calibration"]
    rows: list[list[Cell] | str] = [
        [
            (f"{group['from']:.1f} to {group['from'] + 0.1:.1f}", ""),
            (str(group["n"]), ""),
            (percent(group["score"]), ""),
            (percent(group["iou"]), "ours"),
        ]
        for group in calibration["bins"]
    ]
    correlation = calibration["correlation"]
    return (
        _table(("predicted IoU", "n", "predicted", "true"), rows)
        + '<p class="quiet">Correlation '
        + ("undefined" if correlation is None else f"{correlation:.3f}")
        + f"; predicted minus true on average {100 * calibration['bias']:+.1f} points; "
        f"mean distance of a tenth's two means {percent(calibration['mean_error'])} points.</p>"
    )


def _table(head: Iterable[str], rows: Iterable[list[Cell] | str]) -> str:
    """Rows of cells; a row that is a text is a heading within the table."""
    names = list(head)
    cells = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>']
    for row in rows:
        if isinstance(row, str):
            lines.append(f'<tr class="group"><td colspan="{len(names)}">{escape(row)}</td></tr>')
        else:
            inner = "".join(
                f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
                for text, kind in row
            )
            lines.append(f"<tr>{inner}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])
