"""How well the fixation filters do on traces whose truth is known, at several rates and noises."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from picosam_gaze.filters import EyeState, FilterConfig, FixationTracker, Sighting, View
from picosam_gaze.scoring import Score, score
from picosam_gaze.traces import LABELS, Trace, TraceConfig, make_trace

__all__ = ["FILTERS", "Cell", "as_dicts", "as_text", "cells", "count_cells"]

FILTERS: dict[str, FilterConfig] = {
    "I-VT": FilterConfig(kind="ivt"),
    "I-DT": FilterConfig(kind="idt"),
    "I-VT, window of 20 ms as published": FilterConfig(kind="ivt", window_ms=20),
    "I-DT, no averaging as published": FilterConfig(kind="idt", average_ms=0),
    "I-VT, One-Euro with min_cutoff 1 and beta 0": FilterConfig(min_cutoff_hz=1.0, beta=0.0),
}
"""What is evaluated, by name: the defaults, the two without what was added against noise, and
the smoothing with the values that implementations of the One-Euro filter start with."""

_SMOOTHERS = ("I-VT", "I-VT, One-Euro with min_cutoff 1 and beta 0")


@dataclass(frozen=True, slots=True)
class Cell:
    """One filter at one rate and noise.

    Args:
        filter: its name.
        rate_hz, noise_deg: of the traces.
        fixation_f1, saccade_f1, blink_f1: of events.
        fixation_sample_f1: of samples, as they were judged at the time.
        delay_ms: median time from the start of a fixation to its being told; None if none was
            found.
        point_error_deg: root mean square distance of the smoothed point from where the eye is
            pointed, while both are in a fixation; None if that was never.
        fixations: how many there were to find.
    """

    filter: str
    rate_hz: float
    noise_deg: float
    fixation_f1: float
    saccade_f1: float
    blink_f1: float
    fixation_sample_f1: float
    delay_ms: float | None
    point_error_deg: float | None
    fixations: int


def cells(
    traces: TraceConfig, rates_hz: Sequence[float], noises_deg: Sequence[float], seeds: int
) -> Iterator[Cell]:
    """Runs all filters over all traces, a cell at a time.

    Args:
        traces: length, blinks, pursuits and lost samples of the traces.
        rates_hz, noises_deg: to be combined.
        seeds: so many traces for each cell, with the seeds from 0 on.
    """
    settings = asdict(traces)
    for rate_hz in rates_hz:
        for noise_deg in noises_deg:
            made = [
                make_trace(TraceConfig(**{
                    **settings, "rate_hz": rate_hz, "noise_deg": noise_deg, "seed": seed
                }))
                for seed in range(seeds)
            ]  # fmt: skip
            for name, config in FILTERS.items():
                yield _cell(name, config, made)


def count_cells(rates_hz: Sequence[float], noises_deg: Sequence[float]) -> int:
    """How many cells there will be."""
    return len(rates_hz) * len(noises_deg) * len(FILTERS)


def as_text(results: Sequence[Cell]) -> str:
    """A table for each filter: rates down, noise across."""
    lines = [
        "F1 of fixations / F1 of saccades, by events; and the median delay until a fixation is",
        "told. Noise: root mean square distance from the truth.",
    ]
    noises = sorted({cell.noise_deg for cell in results})
    for name in dict.fromkeys(cell.filter for cell in results):
        if name == _SMOOTHERS[1]:  # it finds what I-VT finds
            continue
        own = {(c.rate_hz, c.noise_deg): c for c in results if c.filter == name}
        lines += ["", name, " " * 8 + "".join(f"{f'{noise:g} deg':>22}" for noise in noises)]
        for rate in sorted({rate for rate, _ in own}):
            found = [own[rate, noise] for noise in noises]
            lines.append(f"{rate:5g} Hz" + "".join(f"{_short(cell):>22}" for cell in found))
    lines += ["", "Distance of the smoothed point from the truth in a fixation, degrees"]
    for name in _SMOOTHERS:
        own = {(c.rate_hz, c.noise_deg): c for c in results if c.filter == name}
        lines.append(f"{name}\n" + " " * 8 + "".join(f"{f'{noise:g} deg':>11}" for noise in noises))
        for rate in sorted({rate for rate, _ in own}):
            errors = [own[rate, noise].point_error_deg for noise in noises]
            shown = ["-" if error is None else f"{error:.2f}" for error in errors]
            lines.append(f"{rate:5g} Hz" + "".join(f"{text:>11}" for text in shown))
    return "\n".join(lines)


def _short(cell: Cell) -> str:
    delay = "   -  " if cell.delay_ms is None else f"{cell.delay_ms:3.0f} ms"
    return f"{cell.fixation_f1:.2f} / {cell.saccade_f1:.2f} {delay}"


def _cell(name: str, config: FilterConfig, traces: Sequence[Trace]) -> Cell:
    total, view = Score.empty(), View()
    errors: list[float] = []
    for trace in traces:
        tracker = FixationTracker(config, view)
        sightings = [tracker.push(gaze) for gaze in trace.gazes(view)]
        total.add(score(trace, sightings))
        errors += _point_errors(trace, sightings, view)
    fixations = total.events[EyeState.FIXATION]
    return Cell(
        filter=name,
        rate_hz=traces[0].config.rate_hz,
        noise_deg=traces[0].config.noise_deg,
        fixation_f1=fixations.f1,
        saccade_f1=total.events[EyeState.SACCADE].f1,
        blink_f1=total.events[EyeState.BLINK].f1,
        fixation_sample_f1=total.samples[EyeState.FIXATION].f1,
        delay_ms=statistics.median(total.delays_ms) if total.delays_ms else None,
        point_error_deg=math.sqrt(statistics.fmean(e * e for e in errors)) if errors else None,
        fixations=fixations.hits + fixations.missed,
    )


def _point_errors(trace: Trace, sightings: Sequence[Sighting], view: View) -> list[float]:
    """Distances in degrees of the smoothed point from where the eye is pointed."""
    rests = [LABELS[label] in ("fixation", "pursuit") for label in trace.labels.tolist()]
    return [
        math.dist(view.to_deg(sighting.x, sighting.y), place)
        for rest, sighting, place in zip(rests, sightings, trace.true_deg.tolist(), strict=True)
        if rest and sighting.state is EyeState.FIXATION
    ]


def as_dicts(results: Sequence[Cell]) -> list[dict[str, Any]]:
    """The cells for JSON."""
    return [asdict(cell) for cell in results]
