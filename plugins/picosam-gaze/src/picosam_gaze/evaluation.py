"""How well the fixation filters do on traces whose truth is known, at several rates and noises."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from picosam_gaze.filters import EyeState, FilterConfig, FixationTracker, View
from picosam_gaze.scoring import Score, score
from picosam_gaze.traces import Trace, TraceConfig, make_trace

__all__ = ["FILTERS", "Cell", "as_dicts", "as_text", "cells", "count_cells"]

FILTERS: dict[str, FilterConfig] = {
    "I-VT": FilterConfig(kind="ivt"),
    "I-DT": FilterConfig(kind="idt"),
    "I-VT, window of 20 ms as published": FilterConfig(kind="ivt", window_ms=20),
    "I-DT, no averaging as published": FilterConfig(kind="idt", average_ms=0),
}
"""What is evaluated, by name: the defaults, and the two without what was added against noise."""


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
        own = {(c.rate_hz, c.noise_deg): c for c in results if c.filter == name}
        lines += ["", name, " " * 8 + "".join(f"{f'{noise:g} deg':>22}" for noise in noises)]
        for rate in sorted({rate for rate, _ in own}):
            found = [own[rate, noise] for noise in noises]
            lines.append(f"{rate:5g} Hz" + "".join(f"{_short(cell):>22}" for cell in found))
    return "\n".join(lines)


def _short(cell: Cell) -> str:
    delay = "   -  " if cell.delay_ms is None else f"{cell.delay_ms:3.0f} ms"
    return f"{cell.fixation_f1:.2f} / {cell.saccade_f1:.2f} {delay}"


def _cell(name: str, config: FilterConfig, traces: Sequence[Trace]) -> Cell:
    total, view = Score.empty(), View()
    for trace in traces:
        tracker = FixationTracker(config, view)
        total.add(score(trace, [tracker.push(gaze) for gaze in trace.gazes(view)]))
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
        fixations=fixations.hits + fixations.missed,
    )


def as_dicts(results: Sequence[Cell]) -> list[dict[str, Any]]:
    """The cells for JSON."""
    return [asdict(cell) for cell in results]
