"""What a recording shows over time: gaze, fixations, dwell, and what was prompted with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_gaze.filters import EyeState, FilterConfig, FixationTracker, View
from picosam_gaze.mapping import IdentityMapping, Mapping
from picosam_gaze.prompting import Look, PromptConfig, Prompter
from picosam_gaze.scoring import Event, events_of
from picosam_gaze.sources.recordings import load_gaze
from picosam_sdk.errors import InputError
from picosam_sdk.recording import META, Recording
from picosam_sdk.types import Gaze, Prompt, Roi

__all__ = ["Asked", "Recorded", "Timeline", "make_timeline", "read_recorded"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was prompted with from one moment on: a box, a point, or neither."""

    time_ns: int
    roi: Roi | None = None
    point: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording's gaze, and its prompts if it has some.

    Args:
        gazes: in order of time, on the recording's clock.
        asked: what was prompted with, in order of time; None if that was not recorded.
        view_px: size of the scene camera, if known.
        mapped: whether the gaze lies in the view that was segmented.
    """

    gazes: list[Gaze]
    asked: list[Asked] | None
    view_px: tuple[int, int] | None
    mapped: bool


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """What there is to draw, in the view that is segmented.

    Args:
        times_s: of the samples, from the first one, float64 (n,).
        raw, smooth: places as shares of the view, float64 (n, 2), NaN where there are none;
            ``smooth`` in fixations only.
        dwell_ms: float64 (n,).
        events: what the eye did.
        asked: what was prompted with; of gaze alone, the points that the prompter asks for.
        simulated: whether ``asked`` is what the prompter would do, and not what was done.
        start_ns: when ``times_s`` begins.
    """

    times_s: NDArray[np.float64]
    raw: NDArray[np.float64]
    smooth: NDArray[np.float64]
    dwell_ms: NDArray[np.float64]
    events: list[Event]
    asked: list[Asked] = field(repr=False)
    simulated: bool
    start_ns: int

    def summary(self) -> dict[str, Any]:
        """Its numbers, for people and for JSON."""
        fixations = [event for event in self.events if event.state is EyeState.FIXATION]
        lengths_ms = [(event.end_ns - event.start_ns) / 1e6 for event in fixations]
        steps_s = np.diff(self.times_s)
        targets = {(one.roi, one.point) for one in self.asked} - {(None, None)}
        return {
            "seconds": round(float(self.times_s[-1]), 3),
            "samples": len(self.times_s),
            "rate_hz": round(1 / float(np.median(steps_s)), 1) if len(steps_s) else None,
            "missing_share": round(float(np.isnan(self.raw[:, 0]).mean()), 4),
            "fixations": len(fixations),
            "median_fixation_ms": round(float(np.median(lengths_ms))) if lengths_ms else None,
            "saccades": sum(event.state is EyeState.SACCADE for event in self.events),
            "blinks": sum(event.state is EyeState.BLINK for event in self.events),
            "points": len({one.point for one in self.asked} - {None}),
            "prompts": len(targets),
            "simulated": self.simulated,
        }


def read_recorded(path: Path, view_px: tuple[int, int] | None = None) -> Recorded:
    """Reads a recording of ours, or one of glasses.

    Args:
        path: folder of a recording of 'picosam record', or what
            :func:`picosam_gaze.sources.recordings.load_gaze` reads.
        view_px: size of the scene camera, where the recording does not say.

    Raises:
        PicoSamError: there is none, or it holds no gaze.
    """
    folder = path if path.is_dir() else path.parent
    ours = (folder / META).is_file() and path.name in ("", folder.name, "recording.jsonl")
    if not ours:
        recording = load_gaze(path, view_px)
        return Recorded(recording.samples(), None, recording.view_px, path.suffix == ".jsonl")
    gazes: list[Gaze] = []
    asked: list[Asked] = []
    for entry in Recording(folder).entries:
        gaze = entry.gaze
        if gaze is not None:
            time_ns = entry.t_ns + gaze.timestamp_ns
            if not gazes or time_ns > gazes[-1].timestamp_ns:
                gazes.append(replace(gaze, timestamp_ns=time_ns))
        asked.append(Asked(entry.t_ns, entry.prompt))
    if not gazes:
        raise InputError(
            f"expected gaze in the recording {folder}, got none",
            hint="Grant it where it is recorded: egress = { grants = ['gaze'] } in the table of "
            "the publisher 'record'.",
        )
    return Recorded(gazes, asked, view_px, True)


def make_timeline(
    recorded: Recorded,
    filter_config: FilterConfig,
    prompt_config: PromptConfig,
    view: View,
    mapping: Mapping | None = None,
) -> Timeline:
    """Runs filter and prompter over a recording, as they would have run live."""
    mapping = mapping or IdentityMapping()
    tracker, prompter = FixationTracker(filter_config, view), Prompter(prompt_config)
    sightings, raw, smooth, asked = [], [], [], []
    for gaze in recorded.gazes:
        sighting = tracker.push(gaze)
        place = mapping.point(sighting.x, sighting.y)
        prompter.see(Look(sighting.state, _at(gaze, place), sighting.dwell_ns))
        asked.append(_asked(prompter.prompt(gaze.timestamp_ns), gaze.timestamp_ns))
        sightings.append(sighting)
        raw.append(mapping.point(gaze.x, gaze.y))
        smooth.append(place if sighting.state is EyeState.FIXATION else (math.nan, math.nan))
    start_ns = recorded.gazes[0].timestamp_ns
    times_ns = np.array([gaze.timestamp_ns for gaze in recorded.gazes], dtype=np.int64)
    return Timeline(
        times_s=(times_ns - start_ns) / 1e9,
        raw=np.array(raw),
        smooth=np.array(smooth),
        dwell_ms=np.array([sighting.dwell_ns / 1e6 for sighting in sightings]),
        events=events_of(sightings),
        asked=asked if recorded.asked is None else recorded.asked,
        simulated=recorded.asked is None,
        start_ns=start_ns,
    )


def _at(gaze: Gaze, place: tuple[float, float]) -> Gaze:
    return replace(gaze, x=place[0], y=place[1])


def _asked(prompt: Prompt | None, time_ns: int) -> Asked:
    if prompt is None:
        return Asked(time_ns)
    return Asked(time_ns, prompt.roi, prompt.point)
