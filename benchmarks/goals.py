"""What the speed must be, and what it should be, checked against one run's figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["check_goals"]


def check_goals(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal that this run has the figures for.

    Returns:
        Rows of ``kind`` ("must" or "aim"), ``goal``, ``measured``, and ``met``.
    """
    rows = [*_path(report), *_limits(report), *_peers(report), *_memory(report)]
    return [
        {"kind": kind, "goal": goal, "measured": measured, "met": bool(met)}
        for kind, goal, measured, met in rows
    ]


Row = tuple[str, str, str, bool]


def _path(report: dict[str, Any]) -> Iterator[Row]:
    rows = {
        (row["network"], row["side_px"]): row
        for row in report.get("path", {}).get("rows", [])
        if row["threads"] == 1 and row["batch"] == 1
    }
    for kind, goal, network, ratio, limit in (
        ("must", "whole path at most 1.25 x the bare network", "int8", "whole_ratio", 1.25),
        ("aim", "whole path at most 1.1 x", "int8", "whole_ratio", 1.1),
        ("must", "segment, for which a loop waits, at most 1.25 x", "int8", "segment_ratio", 1.25),
        ("aim", "whole path at most 1.25 x", "float32", "whole_ratio", 1.25),
    ):
        measured, worst = _ratios(rows, network, ratio)
        if measured:
            yield kind, f"{goal} ({network})", measured, worst <= limit
    pair = [row["bare_best_ms"] for (_, side), row in sorted(rows.items()) if side == 300]
    if len(pair) == 2:  # "float32" comes before "int8"
        ratio = pair[1] / pair[0]
        measured = f"{ratio:.2f} of float's time"
        yield "must", "INT8 faster than float, one thread", measured, ratio < 1


def _ratios(rows: Any, network: str, ratio: str) -> tuple[str, float]:
    """The network's ratios for each side of the ROI, and the worst."""
    found = {side: row[ratio] for (name, side), row in sorted(rows.items()) if name == network}
    text = ", ".join(f"{value:.2f} x for {side} px" for side, value in found.items())
    return text, max(found.values(), default=0.0)


def _limits(report: dict[str, Any]) -> Iterator[Row]:
    for name, row in report.get("roofline", {}).get("networks", {}).items():
        measured = f"{row['share']:.2f} ({name})"
        yield "aim", "network at half of the measured limit or above", measured, row["share"] >= 0.5


def _peers(report: dict[str, Any]) -> Iterator[Row]:
    for row in report.get("peers", {}).get("rows", []):
        if "SAM" in row["name"] and not row["name"].startswith("PicoSAM"):
            goal = f"100 x as fast as {row['name']}, one prompt on a new picture"
            yield "must", goal, f"{row['times']:.0f} x", row["times"] >= 100


def _memory(report: dict[str, Any]) -> Iterator[Row]:
    if "startup" in report:
        rss_mb = report["startup"]["segment_rss_mb"]
        yield "must", "'picosam segment' under 150 MB", f"{rss_mb:.0f} MB", rss_mb < 150
    if "growth" in report:
        found = report["growth"]
        measured = f"{found['growth_mb']:+.1f} MB over {found['frames']} frames"
        yield "must", "no growth over 100,000 frames", measured, found["ok"]
