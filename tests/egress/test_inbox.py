"""Who puts a pointer or a prompt in the shared context, and who can read it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import Gaze, Prompt, Roi
from picosam_sdk.egress import for_recipient, shared_context
from picosam_sdk.interfaces import Context
from tests.egress.scenes import GAZE, ROI, reachable


def test_a_recipient_can_put_and_reads_nothing_of_others() -> None:
    inside = shared_context("desk", "abc")
    page, wall = for_recipient(inside), for_recipient(inside)
    assert (page.device, page.session) == ("desk", "abc")
    prompt = Prompt(roi=ROI, gaze=GAZE)
    page.pointer.put(GAZE)
    inside.prompt.put(prompt)
    assert inside.pointer.get() is GAZE
    assert page.pointer.get() is GAZE  # its own
    assert (wall.pointer.get(), wall.prompt.get(), page.prompt.get()) == (None, None, None)
    assert not [thing for thing in reachable(wall) if isinstance(thing, Gaze | Prompt | Roi)]
    assert [thing for thing in reachable(inside) if isinstance(thing, Prompt)] == [prompt]


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.floats(0, 1))))
def test_the_newest_counts_whoever_put_it(puts: list[tuple[int, float | None]]) -> None:
    inside = shared_context("desk", "abc")
    places = [inside, *(for_recipient(inside) for _ in range(3))]
    newest = None
    for who, x in puts:
        newest = None if x is None else Gaze(x, 0.5, 1)
        places[who].pointer.put(newest)
    assert inside.pointer.get() is newest


def test_a_context_that_is_not_shared_gives_a_place_of_its_own() -> None:
    plain = Context("desk", "abc")
    for_recipient(plain).pointer.put(GAZE)
    assert plain.pointer.get() is None
