"""Recordings: what is written, and what of it survives."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import (
    ConfigError,
    Context,
    Gaze,
    InputError,
    Mask,
    PublishError,
    Roi,
)
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.recording import LINES, META, Recording
from picosam_sdk.testing.results import SIZE_PX, a_mask, a_result, odd_results
from tests.recordings import record, same

CONTEXT = Context(device="desk", session="s1")


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = [
        a_result(0, region="shelf 2", settling=True, grants=["gaze"]),
        replace(a_result(1), mask=replace(a_mask(x=0.4), threshold=0.3)),
        replace(a_result(2), mask=None, roi=None),
    ]
    recording = record(tmp_path / "r", results)
    assert len(recording.entries) == 3
    for entry, result in zip(recording.entries, results, strict=True):
        back = recording.result(entry, result.frame.timestamp_ns)
        assert same(back.mask, result.mask)
        assert (back.roi, back.region, back.settling) == (
            result.roi,
            result.region,
            result.settling,
        )
        assert (back.gaze, back.ages_ns) == (result.gaze, result.ages_ns)
        assert back.frame.image is None
    distance_ns = recording.entries[1].t_ns - recording.entries[0].t_ns
    assert distance_ns == results[1].frame.timestamp_ns - results[0].frame.timestamp_ns


shares = st.floats(-0.5, 1.2)
sizes = st.floats(0.001, 2.0)


@given(
    x=shares, y=shares, width=sizes, height=sizes, score=st.floats(0, 1),
    threshold=st.floats(-3, 3), seed=st.integers(0, 99),
    gaze=st.none() | st.builds(Gaze, st.floats(), st.floats(), st.integers(0, 10**15),
                               st.floats(0, 1), st.booleans()),
)  # fmt: skip
def test_any_result_comes_back(
    tmp_path_factory: pytest.TempPathFactory, x: float, y: float, width: float, height: float,
    score: float, threshold: float, seed: int, gaze: Gaze | None,
) -> None:  # fmt: skip
    roi = Roi(x, y, width, height)
    if not roi.overlaps_view():
        return
    logits = np.random.default_rng(seed).normal(0, 3, (7, 9)).astype(np.float32)
    mask = Mask(logits, roi, score, SIZE_PX, roi, threshold)
    result = replace(a_result(0, mask=mask), gaze=gaze)
    recording = record(tmp_path_factory.mktemp("any") / "r", [result])
    back = recording.result(recording.entries[0], result.frame.timestamp_ns)
    assert same(back.mask, mask)
    if gaze is None:
        assert back.gaze is None
    else:
        assert back.gaze is not None
        for key in ("x", "y", "timestamp_ns", "confidence", "worn"):
            was, now = getattr(gaze, key), getattr(back.gaze, key)
            assert now == was or (math.isnan(now) and not math.isfinite(was))


@pytest.mark.parametrize("odd", list(odd_results()))
def test_results_of_a_bad_day_come_back(tmp_path: Path, odd: str) -> None:
    result = odd_results()[odd]
    recording = record(tmp_path / "r", [result])
    back = recording.result(recording.entries[0], result.frame.timestamp_ns)
    assert same(back.mask, result.mask)


def test_without_logits_masks_are_hard_and_short(tmp_path: Path) -> None:
    mask = replace(a_mask(), threshold=0.4)
    recording = record(tmp_path / "r", [a_result(0, mask=mask)], logits=False)
    back = recording.result(recording.entries[0], 0).mask
    assert back is not None
    assert np.array_equal(back.logits > back.threshold, mask.logits > mask.threshold)
    assert (tmp_path / "r" / LINES).stat().st_size < 1500


def test_a_place_where_a_point_found_nothing_is_no_box_to_try_again(tmp_path: Path) -> None:
    nothing = Mask(np.full((8, 8), -1, np.float32), Roi(0.2, 0.2, 0.5, 0.5), 0.0, SIZE_PX,
                   Roi(0.3, 0.3, 0.3, 0.3))  # fmt: skip
    recording = record(tmp_path / "r", [a_result(0, mask=nothing)])
    assert recording.entries[0].prompt is None


def test_a_prompt_that_was_withheld_is_replayed_as_the_roi_in_force(tmp_path: Path) -> None:
    mask = replace(a_mask(), prompt=None)
    recording = record(tmp_path / "r", [replace(a_result(0, mask=mask), roi=None)])
    assert recording.entries[0].prompt == mask.roi


# What a recording is not.


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    record(tmp_path / "a" / "r", [a_result(0, grants=["pixels"])], frames=True)
    for path in (tmp_path / "a" / "r").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == 0o700 if path.is_dir() else path.parent.name == "frames" or mode == 0o600
    assert stat.S_IMODE((tmp_path / "a" / "r").stat().st_mode) == 0o700


def test_pictures_only_with_the_grant_and_the_wish(tmp_path: Path) -> None:
    granted, withheld = a_result(0, grants=["pixels"]), a_result(1, grants=["cutout"])
    with_frames = record(tmp_path / "a", [granted, withheld, a_result(2)], frames=True)
    assert [entry.image is not None for entry in with_frames.entries] == [True, False, False]
    without = record(tmp_path / "b", [granted])
    assert without.entries[0].image is None
    assert not (tmp_path / "b" / "frames").exists()
    assert RecordPublisher(RecordConfig(tmp_path, frames=True), CONTEXT).needs == {"pixels"}
    assert RecordPublisher(RecordConfig(tmp_path), CONTEXT).needs == frozenset()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "r", [a_result(0)])
    publisher = RecordPublisher(RecordConfig(tmp_path / "r"), CONTEXT)
    with pytest.raises(ConfigError, match=r"^path: expected an empty folder"):
        publisher.open()
    assert len(Recording(tmp_path / "r").entries) == 1


def test_each_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    for session in ("aaaa1", "bbbb1"):
        config = RecordConfig(tmp_path, each_run=True)
        publisher = RecordPublisher(config, Context(session=session))
        publisher.open()
        publisher.publish(a_result(0))
        publisher.close()
    folders = sorted(tmp_path.iterdir())
    assert [len(Recording(folder).entries) for folder in folders] == [1, 1]


def test_it_stops_when_it_is_full_and_says_so(tmp_path: Path) -> None:
    publisher = RecordPublisher(RecordConfig(tmp_path / "r", max_bytes=20_000), CONTEXT)
    publisher.open()
    sent = [publisher.publish(a_result(index)) for index in range(40)]
    publisher.close()
    assert sent[0] is not None
    assert sent[-1] is None
    assert publisher.stats["full"] is True
    assert 20_000 <= (tmp_path / "r" / LINES).stat().st_size < 35_000


def test_after_a_failure_it_goes_on_behind_the_torn_line(tmp_path: Path) -> None:
    publisher = RecordPublisher(RecordConfig(tmp_path / "r"), CONTEXT)
    publisher.open()
    publisher.publish(a_result(0))
    publisher.close()
    with (tmp_path / "r" / LINES).open("a") as file:
        file.write('{"t_ns": 12')
    publisher.open()
    publisher.publish(a_result(1))
    publisher.close()
    recording = Recording(tmp_path / "r")
    assert [entry.number for entry in recording.entries] == [0, 1]
    assert recording.damaged == 1


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    publisher = RecordPublisher(RecordConfig(tmp_path / "file" / "r"), CONTEXT)
    with pytest.raises(PublishError, match="Not a directory"):
        publisher.open()


# What of it survives.

WRITER = """
import sys, time
from pathlib import Path
from picosam_sdk import Context
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.testing.results import a_result
publisher = RecordPublisher(RecordConfig(Path(sys.argv[1]), frames=True), Context())
publisher.open()
for index in range(100000):
    publisher.publish(a_result(index, grants=["pixels"]))
    print(index, flush=True)
"""


def test_a_killed_program_loses_nothing_that_was_published(tmp_path: Path, root: Path) -> None:
    program = [sys.executable, "-c", WRITER, str(tmp_path / "r")]
    with subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = -1
        for line in writer.stdout:
            last = int(line)
            if last == 5:
                os.kill(writer.pid, signal.SIGKILL)
    recording = Recording(tmp_path / "r")
    assert len(recording.entries) >= last + 1
    for entry in recording.entries:
        assert entry.image is not None
        assert entry.image.read_bytes().endswith(b"IEND\xaeB`\x82")
        assert recording.result(entry, 0).mask is not None


@pytest.mark.parametrize("cut", [1, 20, 3000, 7000])
def test_a_torn_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    record(tmp_path / "r", [a_result(index) for index in range(3)])
    path = tmp_path / "r" / LINES
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    recording = Recording(tmp_path / "r")
    lines = data[:-cut].count(b"\n")
    assert len(recording.entries) == lines
    assert recording.damaged == 0


def _changed(folder: Path, change: Any) -> Recording:
    path = folder / LINES
    record = json.loads(path.read_text().splitlines()[0])
    change(record)
    path.write_text(json.dumps(record) + "\n")
    return Recording(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("t_ns", "x"), ("roi", [1, 2]), ("roi", [0, 0, math.nan, 1]), ("gaze", 5), ("ages_ns", None),
     ("message", None)],
)  # fmt: skip
def test_a_line_that_was_changed_is_left_out_and_counted(
    tmp_path: Path, key: str, value: Any
) -> None:
    record(tmp_path / "r", [a_result(0)])
    recording = _changed(tmp_path / "r", lambda record: record.update({key: value}))
    assert (len(recording.entries), recording.damaged) == (0, 1)


@pytest.mark.parametrize(
    "logits",
    [{"size": [10**9, 10**9], "zf32": ""}, {"size": [96, 96], "zf32": "!"}, {"size": [0, 9]},
     {"size": [96, 96], "zf32": "eJwDAAAAAAE="}, 3],
)  # fmt: skip
def test_logits_that_were_changed_are_an_error(tmp_path: Path, logits: Any) -> None:
    record(tmp_path / "r", [a_result(0)])
    recording = _changed(tmp_path / "r", lambda record: record["mask"].update(logits=logits))
    with pytest.raises(InputError, match="line 1 of"):
        recording.result(recording.entries[0], 0)


def test_a_picture_is_looked_for_inside_the_recording_alone(tmp_path: Path) -> None:
    record(tmp_path / "r", [a_result(0)])
    recording = _changed(tmp_path / "r", lambda record: record.update(image="../../etc/x.png"))
    assert recording.entries[0].image == tmp_path / "r" / "frames" / "x.png"


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", '{"format": "picosam-recording", "v": 2}',
                                  "no json", "[]"])  # fmt: skip
def test_what_is_no_recording_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="No such file"):
        Recording(tmp_path)
    (tmp_path / META).write_text(text)
    with pytest.raises(InputError, match=r"expected a (picosam-)?recording"):
        Recording(tmp_path)
