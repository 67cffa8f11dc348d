"""From gaze to prompts: the state machine, without a clock and without a thread."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picosam_gaze.filters import EyeState
from picosam_gaze.prompting import Look, PromptConfig, Prompter

from picosam_sdk.config import from_mapping
from picosam_sdk.errors import ConfigError
from picosam_sdk.mask import Mask, Result
from picosam_sdk.testing.results import a_mask, a_result, odd_results
from picosam_sdk.types import Gaze, Prompt, Roi

MS = 1_000_000
FIXATION, SACCADE, BLINK, LOST = (
    EyeState.FIXATION, EyeState.SACCADE, EyeState.BLINK, EyeState.LOST
)  # fmt: skip


class Scene:
    """A prompter, an eye and a network that a test moves."""

    def __init__(self, **changes: Any) -> None:
        self.prompter = Prompter(PromptConfig(**changes))
        self.now_ns = 10_000_000_000
        self.dwell_ms = 0.0

    def look(
        self, x: float = 0.5, y: float = 0.5, ms: float = 10, state: EyeState = FIXATION,
        dwell_ms: float | None = None,
    ) -> None:  # fmt: skip
        """Looks there for so long, at 100 Hz."""
        for _ in range(max(1, round(ms / 10))):
            self.now_ns += 10 * MS
            self.dwell_ms = self.dwell_ms + 10 if dwell_ms is None else dwell_ms
            gaze = Gaze(x, y, self.now_ns)
            dwell_ns = round(self.dwell_ms * MS) if state is FIXATION else 0
            self.prompter.see(Look(state, gaze, dwell_ns))

    def fly(self, x: float, y: float, ms: float = 40) -> None:
        self.look(x, y, ms, SACCADE, 0)

    def shut(self, ms: float, state: EyeState = BLINK) -> None:
        self.look(math.nan, math.nan, ms, state, 0)

    def find(self, mask: Mask | None = None, *, granted: bool = False, **changes: Any) -> None:
        """Shows it the answer to its prompt, as a gate without grants lets it through."""
        mask = mask or a_mask(score=0.9)
        prompt = self.prompt
        roi = None
        if granted and prompt is not None:
            roi = prompt.roi if prompt.point is None else mask.prompt
        fields = {"roi": roi, "ages_ns": {"frame": 5, "gaze": 20}, **changes}
        self.prompter.observe(replace(a_result(mask=replace(mask, prompt=None)), **fields))

    @property
    def prompt(self) -> Prompt | None:
        return self.prompter.prompt(self.now_ns)

    def on_object(self) -> Scene:
        self.look(ms=700)
        self.find()
        assert self.prompter.state == "object"
        return self


BOX = Roi(0.4, 0.4, 0.2, 0.2)  # of a_mask()


def place(prompt: Prompt | None) -> tuple[float, float]:
    assert prompt is not None
    assert prompt.point is not None
    return prompt.point


def aim(prompt: Prompt | None) -> Roi:
    assert prompt is not None
    assert prompt.roi is not None
    return prompt.roi


def test_before_the_dwell_there_is_no_prompt_after_it_a_point() -> None:
    scene = Scene(dwell_ms=600)
    scene.look(0.3, 0.7, ms=590)
    assert scene.prompt is None
    scene.look(0.3, 0.7)
    prompt = scene.prompt
    assert place(prompt) == (0.3, 0.7)
    assert prompt is not None
    assert prompt.gaze == Gaze(0.3, 0.7, scene.now_ns)
    assert prompt.timestamp_ns == scene.now_ns


def test_no_new_prompt_while_the_eye_is_in_flight() -> None:
    scene = Scene(dwell_ms=0)
    for step in range(50):
        scene.fly(0.1 + step * 0.015, 0.5, 10)
        assert scene.prompt is None


def test_jitter_does_not_move_the_point_and_keeps_it_young() -> None:
    scene = Scene()
    scene.look(0.3, 0.7, ms=600)
    scene.look(0.32, 0.69, ms=200)
    prompt = scene.prompt
    assert place(prompt) == (0.3, 0.7)
    assert prompt is not None
    assert prompt.timestamp_ns == scene.now_ns
    assert prompt.gaze is not None
    assert (prompt.gaze.x, prompt.gaze.y) == (0.32, 0.69)


def test_a_place_further_off_is_another_point() -> None:
    scene = Scene()
    scene.look(0.3, 0.7, ms=600)
    scene.look(0.42, 0.7, ms=10)  # within one fixation: a slow pursuit
    assert place(scene.prompt) == (0.42, 0.7)


def test_the_object_found_there_is_prompted_with_its_own_box() -> None:
    scene = Scene(grow=0.1)
    scene.look(ms=600)
    scene.find()
    assert aim(scene.prompt).iou(BOX.grow(0.1)) > 0.9
    assert scene.prompter.counts["objects"] == 1


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (a_mask(x=0.7, y=0.7, side=0.1, roi=Roi(0.5, 0.5, 0.4, 0.4)), "the point is not on it"),
        (a_mask(score=0.1), "the network does not believe it"),
        (odd_results()["empty mask"].mask, "it is empty"),
        (Mask.from_bits(np.ones((96, 96), bool)), "it is the whole view"),
    ],
)
def test_what_is_no_object_is_not_taken_for_one(mask: Mask, why: str) -> None:
    scene = Scene()
    scene.look(ms=600)
    scene.find(mask)
    assert scene.prompter.state == "point", why


def test_results_of_others_and_of_no_prompt_are_passed_over() -> None:
    scene = Scene()
    scene.look(ms=600)
    scene.find(ages_ns={"frame": 5})  # nobody's gaze
    scene.find(settling=True)
    for odd in odd_results().values():
        if odd.gaze is None:
            scene.prompter.observe(odd)
    assert scene.prompter.state == "point"


def test_looking_about_on_the_object_does_not_re_aim() -> None:
    scene = Scene().on_object()
    before = scene.prompt
    assert before is not None
    for x, y in [(0.42, 0.42), (0.58, 0.55), (0.63, 0.5), (0.5, 0.36)]:
        scene.fly(x, y, 30)
        assert aim(scene.prompt) == before.roi
        scene.look(x, y, 700, dwell_ms=700)
        scene.find()
        assert aim(scene.prompt) == before.roi
    assert scene.prompter.counts["points"] == 1
    assert scene.prompter.counts["reaims"] == 0


def test_small_changes_of_the_box_do_not_re_aim_and_large_ones_do() -> None:
    scene = Scene(reaim_iou=0.75).on_object()
    first = aim(scene.prompt)
    scene.look()
    scene.find(a_mask(x=0.51, y=0.49))
    assert aim(scene.prompt) == first
    scene.look()
    scene.find(a_mask(x=0.55, y=0.5))
    moved = aim(scene.prompt)
    assert moved != first
    assert moved.center == pytest.approx((0.55, 0.5), abs=0.01)
    assert scene.prompter.counts["reaims"] == 1


def test_where_the_gaze_counts_follows_the_object_even_without_re_aiming() -> None:
    scene = Scene(reaim_iou=0.0, leave_ms=300, near=0.0).on_object()
    for step in range(10):
        scene.look(0.5 + step * 0.015, 0.5, 10, dwell_ms=0)
        scene.find(a_mask(x=0.5 + step * 0.015))
    scene.look(0.72, 0.5, 400, dwell_ms=0)
    assert scene.prompt is not None, "its border is at 0.735 by now"


def test_the_object_stays_until_the_gaze_has_been_away_for_long_enough() -> None:
    scene = Scene(leave_ms=500).on_object()
    scene.fly(0.9, 0.9, 490)
    assert scene.prompt is not None
    scene.look(0.5, 0.5, 10, dwell_ms=10)  # back in time
    scene.fly(0.9, 0.9, 490)
    assert scene.prompt is not None
    scene.fly(0.9, 0.9, 20)
    assert scene.prompt is None
    assert scene.prompter.state == "nothing"
    scene.look(0.5, 0.5, 100, dwell_ms=100)
    assert scene.prompt is None, "it takes a dwell again"


def test_a_dwell_elsewhere_takes_over_at_once() -> None:
    scene = Scene(dwell_ms=200, leave_ms=5000).on_object()
    scene.look(0.9, 0.2, 190, dwell_ms=190)
    assert scene.prompter.state == "object"
    scene.look(0.9, 0.2, 10, dwell_ms=200)
    assert place(scene.prompt) == (0.9, 0.2)


def test_the_prompt_is_as_old_as_the_last_gaze_on_the_object() -> None:
    scene = Scene(leave_ms=500).on_object()
    since_ns = scene.now_ns
    scene.fly(0.9, 0.9, 300)
    prompt = scene.prompt
    assert prompt is not None
    assert prompt.timestamp_ns == since_ns
    assert prompt.gaze is not None
    assert prompt.gaze.timestamp_ns == since_ns
    assert prompt.gaze.inside


def test_a_blink_does_not_interrupt_a_loss_does() -> None:
    scene = Scene().on_object()
    scene.shut(200)
    assert scene.prompt is not None
    scene.look(dwell_ms=1000)
    scene.shut(200)
    scene.shut(10, LOST)
    assert scene.prompt is None
    assert scene.prompter.state == "nothing"


def test_stale_gaze_gives_no_prompt_but_the_object_is_not_forgotten_at_once() -> None:
    scene = Scene(max_age_ms=300, leave_ms=500).on_object()
    prompter, last_ns = scene.prompter, scene.now_ns
    assert prompter.prompt(last_ns + 300 * MS) is not None
    assert prompter.prompt(last_ns + 301 * MS) is None
    scene.now_ns = last_ns + 400 * MS
    scene.look(dwell_ms=0)
    assert aim(scene.prompt) == BOX.grow(0.1) or aim(scene.prompt).iou(BOX.grow(0.1)) > 0.9
    assert prompter.prompt(scene.now_ns + 501 * MS) is None
    assert prompter.state == "nothing"


@pytest.mark.parametrize("at", [(1.0, 0.5), (-0.01, 0.5), (0.5, 1.7), (math.nan, math.nan)])
@pytest.mark.parametrize("state", [FIXATION, SACCADE])
def test_off_the_view_gives_no_prompt(at: tuple[float, float], state: EyeState) -> None:
    scene = Scene().on_object()
    scene.look(*at, state=state, dwell_ms=2000)
    assert scene.prompt is None
    scene.look(dwell_ms=0)
    assert scene.prompt is not None, "it was only a moment"
    fresh = Scene()
    fresh.look(*at, ms=1000, state=state, dwell_ms=2000)
    assert fresh.prompt is None


def test_an_object_that_is_lost_under_the_gaze_is_looked_for_again() -> None:
    scene = Scene(misses=3).on_object()
    empty = odd_results()["empty mask"].mask
    for _ in range(2):
        scene.look(dwell_ms=900)
        scene.find(empty)
    scene.find()
    for _ in range(2):
        scene.find(empty)
    assert scene.prompter.state == "object", "not three in a row"
    scene.find(a_mask(x=0.3, y=0.3, side=0.05))
    assert scene.prompter.state == "point"
    assert place(scene.prompt) == (0.5, 0.5)
    assert scene.prompter.counts["objects_lost"] == 1


def test_an_object_that_is_lost_while_the_eye_is_elsewhere_is_gone() -> None:
    scene = Scene(misses=1).on_object()
    scene.fly(0.9, 0.9, 20)
    scene.prompter.observe(Result(a_result().frame, None, None, ages_ns={"gaze": 1}))
    assert scene.prompter.state == "nothing"
    assert scene.prompt is None


def test_where_its_roi_is_granted_a_late_answer_is_told_by_it() -> None:
    scene = Scene(misses=1).on_object()
    other = a_result(mask=odd_results()["empty mask"].mask, ages_ns={"gaze": 1})
    scene.prompter.observe(replace(other, roi=Roi(0.1, 0.1, 0.2, 0.2)))
    assert scene.prompter.state == "object"
    scene.find(odd_results()["empty mask"].mask, granted=True)
    assert scene.prompter.state == "point"


def test_reset_forgets() -> None:
    scene = Scene().on_object()
    scene.prompter.reset()
    assert scene.prompt is None
    scene.prompter.observe(a_result(ages_ns={"gaze": 1}))
    assert scene.prompter.state == "nothing"


@pytest.mark.parametrize(
    ("key", "value"),
    [("dwell_ms", -1), ("leave_ms", 1e9), ("max_age_ms", 0), ("near", -0.1), ("reaim_iou", 1.5),
     ("max_area", 0), ("misses", 0), ("min_score", math.nan)],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_key(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"roi\[0\]\.prompt\.{key}: expected"):
        from_mapping({key: value}, PromptConfig, "roi[0].prompt.")


EVENT = st.one_of(
    st.tuples(
        st.sampled_from(list(EyeState)),
        st.one_of(st.floats(-0.2, 1.2), st.just(math.nan)),
        st.floats(-0.2, 1.2),
        st.integers(1, 400),
        st.integers(0, 1500),
    ),
    st.sampled_from(["find", "empty", "whole", "none", "wait"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT, max_size=60))
def test_whatever_happens_a_prompt_stands_for_a_gaze_of_late(events: list[Any]) -> None:
    scene = Scene(dwell_ms=200, leave_ms=400, max_age_ms=300)
    config = PromptConfig(dwell_ms=200, leave_ms=400, max_age_ms=300)
    masks = {"find": a_mask(), "empty": odd_results()["empty mask"].mask,
             "whole": Mask.from_bits(np.ones((9, 9), bool))}  # fmt: skip
    last: Look | None = None
    for event in events:
        if event == "wait":
            scene.now_ns += 250 * MS
        elif event == "none":
            scene.prompter.observe(Result(a_result().frame, None, None, ages_ns={"gaze": 1}))
        elif isinstance(event, str):
            scene.find(masks[event])
        else:
            state, x, y, step_ms, dwell_ms = event
            scene.now_ns += step_ms * MS
            seen = state in (FIXATION, SACCADE)
            gaze = Gaze(x if seen else math.nan, y, scene.now_ns)
            last = Look(state, gaze, dwell_ms * MS if state is FIXATION else 0)
            scene.prompter.see(last)
        prompt = scene.prompt
        if prompt is None:
            continue
        assert last is not None
        assert last.state is not LOST
        assert scene.now_ns - last.gaze.timestamp_ns <= config.max_age_ms * MS
        assert last.state is BLINK or last.gaze.inside
        assert prompt.gaze is not None
        assert prompt.gaze.inside
        assert prompt.timestamp_ns == prompt.gaze.timestamp_ns
        assert 0 <= scene.now_ns - prompt.timestamp_ns <= config.leave_ms * MS
        assert prompt.roi is None or prompt.roi.overlaps_view()
