"""How well a filter finds what the eye does: F1 of samples and of events.

An event that was found counts as right if it overlaps a true event of its kind by at least half
of the two's union (intersection over union; Startsev and Zemblys: "Evaluating Eye Movement Event
Detection: A Review of the State of the Art", Behavior Research Methods 2023). Each event is used
once. F1 is ``2 TP / (2 TP + FP + FN)``.

A smooth pursuit counts as a fixation: the eye is on its target, and a ROI should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from picosam_gaze.filters.tracker import EyeState, Sighting
from picosam_gaze.traces import LABELS, Trace

__all__ = ["Counts", "Event", "Score", "events_of", "match", "score", "true_events"]

_STATES = {
    "fixation": EyeState.FIXATION,
    "pursuit": EyeState.FIXATION,
    "saccade": EyeState.SACCADE,
    "blink": EyeState.BLINK,
}


class Event(NamedTuple):
    """Something that the eye did."""

    state: EyeState
    start_ns: int
    end_ns: int

    def iou(self, other: Event) -> float:
        """Intersection over union of the two spans of time."""
        shared = min(self.end_ns, other.end_ns) - max(self.start_ns, other.start_ns)
        union = max(self.end_ns, other.end_ns) - min(self.start_ns, other.start_ns)
        return max(0.0, shared / union) if union > 0 else 0.0


@dataclass(slots=True)
class Counts:
    """Hits and errors; may be added up over traces."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), 0 to 1; 1 where there was nothing to find or to say."""
        total = 2 * self.hits + self.false + self.missed
        return 2 * self.hits / total if total else 1.0

    def add(self, other: Counts) -> None:
        self.hits += other.hits
        self.false += other.false
        self.missed += other.missed


@dataclass(slots=True)
class Score:
    """Counts of one filter, by state; ``delays_ms``: from a fixation's start to its being told."""

    samples: dict[EyeState, Counts]
    events: dict[EyeState, Counts]
    delays_ms: list[float]

    @classmethod
    def empty(cls) -> Score:
        return cls({s: Counts() for s in _JUDGED}, {s: Counts() for s in _JUDGED}, [])

    def add(self, other: Score) -> None:
        for state in _JUDGED:
            self.samples[state].add(other.samples[state])
            self.events[state].add(other.events[state])
        self.delays_ms += other.delays_ms


_JUDGED = (EyeState.FIXATION, EyeState.SACCADE, EyeState.BLINK)


def events_of(sightings: Iterable[Sighting]) -> list[Event]:
    """The events that a filter reported, in order, without overlap.

    A sighting that dates its state back shortens the events before it, or removes them.
    """
    events: list[Event] = []
    for sighting in sightings:
        start_ns, now_ns = sighting.since_ns, sighting.gaze.timestamp_ns
        if events and events[-1].state is sighting.state and events[-1].start_ns == start_ns:
            events[-1] = events[-1]._replace(end_ns=now_ns)
            continue
        while events and events[-1].start_ns >= start_ns:
            events.pop()
        if events:  # until it began, what was before went on
            events[-1] = events[-1]._replace(end_ns=start_ns)
        events.append(Event(sighting.state, start_ns, now_ns))
    return events


def true_events(trace: Trace) -> list[Event]:
    """The events of a trace's script; neighbours of one kind are one event."""
    events: list[Event] = []
    end_ns = int(trace.times_ns[-1])
    for segment in trace.segments:
        state = _STATES[segment.label]
        if segment.start_ns >= end_ns:
            break
        event = Event(state, segment.start_ns, min(segment.end_ns, end_ns))
        if events and events[-1].state is state:
            event = event._replace(start_ns=events.pop().start_ns)
        events.append(event)
    return events


def match(
    truth: Sequence[Event], found: Sequence[Event], iou: float = 0.5
) -> list[tuple[Event, Event]]:
    """Pairs of a true and a found event of one state that overlap enough; each is used once."""
    pairs = []
    first = 0
    free = list(found)
    for event in truth:
        while first < len(free) and free[first].end_ns <= event.start_ns:
            first += 1
        best, place = 0.0, -1
        for index in range(first, len(free)):
            if free[index].start_ns >= event.end_ns:
                break
            if event.iou(free[index]) > best:
                best, place = event.iou(free[index]), index
        if best >= iou:
            pairs.append((event, free.pop(place)))
    return pairs


def score(trace: Trace, sightings: Sequence[Sighting]) -> Score:
    """Holds what a filter said against the truth.

    Args:
        trace: what it was fed.
        sightings: its answers, one a sample. For the samples' score they count as they were
            given at the time; for the events' score as they were dated in the end.
    """
    result = Score.empty()
    truth = [_STATES[LABELS[label]] for label in trace.labels.tolist()]
    for true, sighting in zip(truth, sightings, strict=True):
        said = sighting.state
        for state in _JUDGED:
            counts = result.samples[state]
            counts.hits += true is state and said is state
            counts.missed += true is state and said is not state
            counts.false += true is not state and said is state
    all_true, all_found = true_events(trace), events_of(sightings)
    for state in _JUDGED:
        wanted = [event for event in all_true if event.state is state]
        found = [event for event in all_found if event.state is state]
        pairs = match(wanted, found)
        hits = len(pairs)
        result.events[state] = Counts(hits, len(found) - hits, len(wanted) - hits)
        if state is EyeState.FIXATION:
            result.delays_ms = _delays(pairs, sightings)
    return result


def _delays(pairs: Sequence[tuple[Event, Event]], sightings: Sequence[Sighting]) -> list[float]:
    """Milliseconds from the true start of each fixation that was found to its first sighting."""
    told: dict[int, int] = {}
    for sighting in sightings:
        if sighting.state is EyeState.FIXATION:
            told.setdefault(sighting.since_ns, sighting.gaze.timestamp_ns)
    return [(told[found.start_ns] - true.start_ns) / 1e6 for true, found in pairs]
