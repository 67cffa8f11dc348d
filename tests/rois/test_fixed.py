"""Boxes that do not move."""

from __future__ import annotations

from typing import Any

import pytest

from picosam_sdk import ConfigError, Context, Prompt, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.rois.fixed import FixedConfig, FixedSource
from picosam_sdk.testing.contract import RoiSourceContract


class TestFixedSource(RoiSourceContract):
    part = FixedSource

    @pytest.fixture
    def options(self) -> Any:
        return {"box": [0.1, 0.2, 0.3, 0.4], "region": "door"}


def _prompts(count: int, **options: Any) -> list[Any]:
    source = FixedSource(from_mapping(options, FixedConfig), Context())
    source.open()
    return [source.latest(0) for _ in range(count)]


def test_one_box_is_given_over_and_over() -> None:
    expected = Prompt(roi=Roi(0.1, 0.2, 0.3, 0.4), region="door")
    assert _prompts(3, box=[0.1, 0.2, 0.3, 0.4], region="door") == [expected] * 3


def test_several_boxes_take_turns() -> None:
    boxes = [{"box": [0, 0, 0.5, 0.5], "region": "a"}, {"box": [0.5, 0, 0.5, 0.5], "region": "b"}]
    assert [prompt.region for prompt in _prompts(5, boxes=boxes)] == ["a", "b", "a", "b", "a"]
    turns = [prompt.region for prompt in _prompts(6, boxes=boxes, frames_each=2)]
    assert turns == ["a", "a", "b", "b", "a", "a"]


def test_units() -> None:
    expected = Roi(0.25, 0.5, 0.5, 0.25)
    for options in (
        {"box": [0.25, 0.5, 0.5, 0.25]},
        {"box": [25, 50, 50, 25], "unit": "percent"},
        {"box": [160, 240, 320, 120], "unit": "px", "size_px": [640, 480]},
    ):
        assert _prompts(1, **options)[0].roi == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "box: expected either"),
        ({"box": [0, 0, 1, 1], "boxes": [{"box": [0, 0, 1, 1]}]}, "box: expected either"),
        ({"box": [0, 0, 0, 1]}, "box: expected .*area"),
        ({"box": [0.2, 0.2, float("nan"), 1]}, "box: expected"),
        ({"box": [20, 30, 40, 40]}, "box: expected a box that lies in the view"),
        ({"box": [0, 0, 1]}, "box: expected 4 values"),
        ({"box": [0, 0, 9, 9], "unit": "px"}, "size_px: "),
        ({"box": [0, 0, 9, 9], "unit": "px", "size_px": [0, 9]}, "size_px: "),
        ({"box": [0, 0, 1, 1], "size_px": [10, 10]}, "size_px: "),
        ({"boxes": [{"box": [0, 0, 1, 1]}, {"box": [2, 0, 1, 1]}]}, r"boxes\[1\]\.box: "),
        ({"boxes": [{"box": [0, 0, 1, 1], "region": "a"}] * 2}, "boxes: .*different names"),
        ({"box": [0, 0, 1, 1], "frames_each": 0}, "frames_each: "),
    ],
)
def test_what_makes_no_box_is_refused_by_its_key(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(options, FixedConfig)
