"""Draws a timeline: gaze, fixations, prompts and dwell over time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from picosam_gaze.filters import EyeState
from picosam_gaze.source import MissingGazeExtraError
from picosam_gaze.timeline import Asked, Timeline
from picosam_sdk.errors import InputError

__all__ = ["SUFFIXES", "draw"]

SUFFIXES = (".png", ".pdf", ".svg")

_INK = "#2b2b2b"
_COLORS = {EyeState.FIXATION: "#4c8bd6", EyeState.BLINK: "#9a9a9a", EyeState.LOST: "#d64c4c"}
_PROMPT = "#e08a1e"
_SHADES = {EyeState.FIXATION: 0.13, EyeState.BLINK: 0.35, EyeState.LOST: 0.3}


def draw(
    timeline: Timeline,
    path: Path,
    *,
    title: str = "",
    dwell_ms: float = 600.0,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> None:
    """Writes the picture.

    Args:
        timeline: what to draw.
        path: ends in one of :data:`SUFFIXES`.
        title: above it.
        dwell_ms: from which dwell on there is a prompt; a line marks it.
        start_s, end_s: which part of it.

    Raises:
        MissingGazeExtraError: matplotlib is not installed.
        InputError: the file cannot be written, or there is nothing in that part.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingGazeExtraError("matplotlib", "plot") from error
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"expected a file name that ends in {', '.join(SUFFIXES)}, got {path}",
            hint="Try -o gaze.png",
        )
    end_s = float(timeline.times_s[-1]) if end_s is None else end_s
    shown = (timeline.times_s >= start_s) & (timeline.times_s <= end_s)
    if not shown.any() or end_s <= start_s:
        raise InputError(
            f"expected gaze between {start_s:g} and {end_s:g} s, got none",
            hint=f"The recording has {timeline.times_s[-1]:.1f} s.",
        )
    width = float(np.clip((end_s - start_s) * 0.6, 10, 40))
    figure = Figure(figsize=(width, 7), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    for axis, index, name in zip(axes[:2], (0, 1), "xy", strict=True):
        _draw_places(axis, timeline, shown, index)
        axis.set_ylabel(f"{name}, share of the view")
    axes[1].invert_yaxis()  # as in the picture, y counts downwards
    _draw_dwell(axes[2], timeline, shown, dwell_ms)
    for axis in axes:
        _shade(axis, timeline, start_s, end_s)
        axis.set_xlim(start_s, end_s)
        axis.spines[["top", "right"]].set_visible(False)
    axes[2].set_xlabel("time, s")
    figure.legend(handles=_legend(timeline), loc="outside lower center", ncols=8, frameon=False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise InputError(
            f"expected to write {path}, got: {error.strerror}", hint="Check the folder."
        ) from error


def _draw_places(axis: Any, timeline: Timeline, shown: Any, index: int) -> None:
    times_s = timeline.times_s[shown]
    axis.plot(times_s, timeline.raw[shown, index], ".", ms=2, color=_INK, alpha=0.35)
    axis.plot(times_s, timeline.smooth[shown, index], "-", lw=1.6, color=_COLORS[EyeState.FIXATION])
    extents: list[float] = []
    for start_s, end_s, one in _spans(timeline):
        if end_s < times_s[0] or start_s > times_s[-1]:
            continue
        if one.roi is not None:
            low, size = ((one.roi.x, one.roi.width), (one.roi.y, one.roi.height))[index]
            axis.fill_between([start_s, end_s], low, low + size, color=_PROMPT, alpha=0.3, lw=0)
            axis.plot([start_s, end_s], [[low, low + size]] * 2, color=_PROMPT, lw=0.8)
            extents += [low, low + size]
        elif one.point is not None:
            axis.plot([start_s, end_s], [one.point[index]] * 2, color=_PROMPT, lw=3,
                      alpha=0.7, solid_capstyle="butt")  # fmt: skip
            extents.append(one.point[index])
    _limit(axis, timeline.raw[shown, index], extents)


def _limit(axis: Any, gaze: Any, extents: list[float]) -> None:
    """Shows what there is, of which stray samples are not; and the view's borders if near."""
    seen = gaze[np.isfinite(gaze)]
    places = [*np.percentile(seen, [0.5, 99.5])] if len(seen) else [0.0, 1.0]
    places = [min(max(place, -0.5), 1.5) for place in (*places, *extents)]
    middle = (min(places) + max(places)) / 2
    half = max((max(places) - min(places)) / 2 * 1.1, 0.15)
    axis.set_ylim(middle - half, middle + half)
    for border in (0, 1):
        if abs(border - middle) <= half:
            axis.axhline(border, color=_INK, lw=0.8)


def _draw_dwell(axis: Any, timeline: Timeline, shown: Any, dwell_ms: float) -> None:
    times_s, dwell = timeline.times_s[shown], timeline.dwell_ms[shown]
    axis.fill_between(times_s, 0, dwell, step="post", color=_COLORS[EyeState.FIXATION], lw=0)
    axis.axhline(dwell_ms, color=_PROMPT, lw=1.2, ls="--")
    axis.set_ylim(0, max(dwell_ms, dwell.max()) * 1.1 + 1)
    axis.set_ylabel("dwell, ms")


def _shade(axis: Any, timeline: Timeline, start_s: float, end_s: float) -> None:
    for event in timeline.events:
        first_s = (event.start_ns - timeline.start_ns) / 1e9
        last_s = (event.end_ns - timeline.start_ns) / 1e9
        if event.state in _SHADES and last_s >= start_s and first_s <= end_s:
            shade = {"color": _COLORS[event.state], "alpha": _SHADES[event.state]}
            axis.axvspan(max(first_s, start_s), min(last_s, end_s), lw=0, zorder=0, **shade)


def _spans(timeline: Timeline) -> list[tuple[float, float, Asked]]:
    """Start and end in s of each stretch in which one thing was prompted with."""
    changes: list[Asked] = []
    for one in timeline.asked:
        if not changes or (one.roi, one.point) != (changes[-1].roi, changes[-1].point):
            changes.append(one)
    if not changes:
        return []
    end = Asked(max(timeline.asked[-1].time_ns, changes[-1].time_ns))
    since_ns = timeline.start_ns
    return [
        ((one.time_ns - since_ns) / 1e9, (after.time_ns - since_ns) / 1e9, one)
        for one, after in pairwise([*changes, end])
    ]


def _legend(timeline: Timeline) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    states = {event.state for event in timeline.events}
    handles: list[Any] = [
        Line2D([], [], marker=".", ls="", color=_INK, alpha=0.5, label="gaze"),
        Line2D([], [], color=_COLORS[EyeState.FIXATION], label="smoothed"),
    ]
    handles += [
        Patch(color=_COLORS[state], alpha=2 * _SHADES[state], label=state.value)
        for state in _SHADES
        if state in states
    ]
    kind = " (what the prompter asks for)" if timeline.simulated else ""
    if any(one.point is not None for one in timeline.asked):
        handles.append(Line2D([], [], color=_PROMPT, lw=3, label="point prompt" + kind))
    if any(one.roi is not None for one in timeline.asked):
        handles.append(Patch(color=_PROMPT, alpha=0.3, label="ROI" + kind))
    handles.append(Line2D([], [], color=_PROMPT, ls="--", label="dwell that prompts"))
    return handles
