"""The prompts of a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import Context, Gaze, InputError, Prompt, Roi
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.rois.replay import ReplaySource, ReplaySourceConfig
from picosam_sdk.testing.contract import RoiSourceContract
from picosam_sdk.testing.results import a_mask, a_result

MS = 1_000_000
ROIS = [Roi(0.1 * n, 0.2, 0.3, 0.4) for n in range(4)]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four prompts, and a result without one; the first came of a gaze, 30 ms before its frame."""
    publisher = RecordPublisher(RecordConfig(tmp_path / "r"), Context())
    publisher.open()
    for index, roi in enumerate(ROIS):
        result = a_result(index, mask=replace(a_mask(), prompt=roi), timestamp_ns=1000 * MS,
                          region=f"region {index}", ages_ns={"frame": 20 * MS})  # fmt: skip
        if index == 0:
            gaze = Gaze(0.2, 0.3, 970 * MS, 0.8)
            result = replace(result, gaze=gaze, ages_ns={"frame": 20 * MS, "roi": 50 * MS})
        publisher.publish(result)
    publisher.publish(replace(a_result(4), mask=None, roi=None))
    publisher.close()
    return tmp_path / "r"


class TestReplaySource(RoiSourceContract):
    part = ReplaySource

    @pytest.fixture
    def options(self, recording: Path) -> Any:
        return {"path": str(recording)}


def _open(path: Path, **options: Any) -> ReplaySource:
    source = ReplaySource(ReplaySourceConfig(path, **options), Context())
    source.open()
    return source


def test_prompts_are_as_old_as_they_were_with_gaze_and_region(recording: Path) -> None:
    source, now_ns = _open(recording), 5000 * MS
    gaze = Gaze(0.2, 0.3, now_ns - 30 * MS, 0.8)
    expected = Prompt(roi=ROIS[0], timestamp_ns=now_ns - 30 * MS, region="region 0", gaze=gaze)
    assert source.latest(now_ns) == expected


def test_it_goes_on_with_the_results_and_not_with_the_questions(recording: Path) -> None:
    source = _open(recording)
    for index in range(6):
        prompts = [source.latest(0) for _ in range(3)]
        rois = [prompt.roi if isinstance(prompt, Prompt) else None for prompt in prompts]
        assert rois == [ROIS[index] if index < 4 else None] * 3
        source.observe(a_result(index))


def test_a_frame_that_was_left_out_is_left_out_here(recording: Path) -> None:
    source = _open(recording)
    source.observe(a_result(1))
    prompt = source.latest(0)
    assert isinstance(prompt, Prompt)
    assert prompt.roi == ROIS[2]


def test_in_a_loop_it_begins_again(recording: Path) -> None:
    source = _open(recording, loop=True)
    source.observe(a_result(4))
    prompt = source.latest(10**12)
    assert isinstance(prompt, Prompt)
    assert prompt.roi == ROIS[0]


def test_without_a_recording_it_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a recording"):
        _open(tmp_path)
