"""What comes in is checked."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_web.inputs import RateLimit, read_object, to_gaze, to_prompt

from picosam_sdk import InputError, Prompt, Roi

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def test_a_box_and_a_point() -> None:
    box = to_prompt({"roi": [0.1, 0.2, 0.3, 0.4]}, 5)
    assert box == Prompt(roi=Roi(0.1, 0.2, 0.3, 0.4), timestamp_ns=5)
    assert to_prompt({"point": [0, 0.5], "roi": None}, 6) == Prompt(point=(0, 0.5), timestamp_ns=6)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"roi": [0, 0, 1, 1], "point": [0.5, 0.5]},
        {"roi": [0, 0, 1]},
        {"roi": [0, 0, 0, 1]},
        {"roi": [0, 0, -1, 1]},
        {"roi": [2, 2, 1, 1]},
        {"roi": "0011"},
        {"roi": [0, 0, True, 1]},
        {"roi": [0, 0, 1e300, 1]},
        {"roi": {"x": 0}},
        {"point": [1, 0.5]},
        {"point": [-0.1, 0.5]},
        {"point": ["0.5", 0.5]},
        {"point": [0.5, None]},
    ],
)
def test_what_is_no_prompt_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        to_prompt(raw, 0)
    assert caught.value.hint


@given(st.dictionaries(st.sampled_from(["roi", "point", "type"]), JSON))
def test_any_json_gives_a_prompt_or_an_error(raw: dict[str, Any]) -> None:
    try:
        prompt = to_prompt(raw, 1)
    except InputError:
        return
    assert prompt.point is not None or (prompt.roi is not None and prompt.roi.overlaps_view())


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_any_text_gives_an_object_or_an_error(text: str | bytes) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(read_object(text), dict)


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": -Infinity}', "[1]", "", "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_object(text)


def test_a_pointer_that_left_is_a_lost_gaze() -> None:
    assert to_gaze([0.2, 1.4], 3).valid
    assert not to_gaze([0.2, 1.4], 3).inside
    lost = to_gaze(None, 4)
    assert (lost.valid, lost.timestamp_ns) == (False, 4)
    with pytest.raises(InputError):
        to_gaze([0.2], 5)


def test_a_flood_is_noticed() -> None:
    limit = RateLimit(rate_hz=0.001, burst=3)
    assert [limit.exceeded() for _ in range(5)] == [False] * 3 + [True] * 2
