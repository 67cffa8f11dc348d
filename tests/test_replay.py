"""Runs that are recorded and replayed: the same masks, with no change in code."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import (
    BackendTimeoutError,
    Result,
    Roi,
    Segmenter,
    UnavailableError,
    app,
)
from picosam_sdk.backends.replay import ReplayBackend
from picosam_sdk.config import from_mapping
from picosam_sdk.recording import Recording
from picosam_sdk.settings import AppConfig
from picosam_sdk.testing.results import a_result
from tests.recordings import record, same


def _config(camera: Any, rois: Any, folder: Path, **changes: Any) -> AppConfig:
    frames = changes.pop("frames", False)
    grants = ["gaze", "pixels"] if frames else ["gaze"]
    table = {"kind": "record", "path": str(folder), "frames": frames, "queue": 1000,
             "egress": {"grants": grants}}  # fmt: skip
    raw = {"camera": camera, "roi": rois, "publish": [table], "run": {"shutdown_s": 20.0}}
    raw = {key: value for key, value in {**raw, **changes}.items() if value is not None}
    return from_mapping(raw, AppConfig)


def _run(config: AppConfig, folder: Path) -> Recording:
    with app.build(config) as application:
        application.run()
    return Recording(folder)


def _results(recording: Recording) -> list[Result]:
    return [recording.result(entry, 0) for entry in recording.entries]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a moving object: sought in a grid, then followed."""
    folder = tmp_path_factory.mktemp("recorded") / "r"
    camera = {"kind": "synthetic", "size_px": [160, 120], "frames": 25, "fps": 50.0, "speed": 0.5}
    rois = [{"kind": "follow", "max_age_s": 30.0}, {"kind": "grid", "columns": 2, "rows": 2}]
    filters = [{"kind": "hysteresis", "max_gap_s": 30.0}]
    recording = _run(_config(camera, rois, folder, frames=True, filter=filters), folder)
    assert len(recording.entries) == 25
    assert sum(entry.region == "" for entry in recording.entries) < 20, "regions are recorded"
    return folder


def test_a_replay_of_pictures_gives_the_same_masks(recorded: Path, tmp_path: Path) -> None:
    """Only ``kind`` and ``path`` differ from the run that was recorded."""
    camera = {"kind": "replay", "path": str(recorded), "realtime": False}
    rois = [{"kind": "replay", "path": str(recorded)}]
    filters = [{"kind": "hysteresis", "max_gap_s": 30.0}]
    again = _results(_run(_config(camera, rois, tmp_path / "r", filter=filters), tmp_path / "r"))
    first = _results(Recording(recorded))
    assert len(again) == len(first)
    for one, other in zip(first, again, strict=True):
        assert same(one.mask, other.mask)
        assert (one.roi, one.region) == (other.roi, other.region)
    assert sum(one.mask is not None and one.mask.area_px > 0 for one in first) > 15


def test_a_replay_without_pictures_gives_the_same_masks(recorded: Path, tmp_path: Path) -> None:
    rois = [{"kind": "replay", "path": str(recorded)}]
    segmenter = {"backend": "replay", "path": str(recorded), "realtime": False}
    config = _config(None, rois, tmp_path / "r", segmenter=segmenter)
    again = _results(_run(config, tmp_path / "r"))
    first = _results(Recording(recorded))
    assert len(again) == len(first)
    for one, other in zip(first, again, strict=True):
        assert same(one.mask, other.mask)
        assert (one.roi, one.region) == (other.roi, other.region)


def test_a_sensors_run_is_replayed_without_it(tmp_path: Path) -> None:
    """Its masks come some frames after the ROI was written, and say which one it was."""
    boxes = [{"box": [0.1, 0.2, 0.3, 0.4], "region": "a"}, {"box": [0.5, 0.4, 0.4, 0.5]}]
    rois = [{"kind": "fixed", "boxes": boxes, "frames_each": 6}]
    sensor = {"backend": "imx500-emulated", "fps": 60.0, "upload_s": 0.0, "settle_frames": 2}
    run = {"max_frames": 30, "shutdown_s": 20.0}
    config = _config(None, rois, tmp_path / "a", segmenter=sensor, run=run)
    first = _results(_run(config, tmp_path / "a"))
    replay = {"backend": "replay", "path": str(tmp_path / "a"), "realtime": False}
    rois = [{"kind": "replay", "path": str(tmp_path / "a")}]
    config = _config(None, rois, tmp_path / "b", segmenter=replay)
    again = _results(_run(config, tmp_path / "b"))
    assert len({one.region for one in first}) == 2
    assert len(again) == len(first) == 30
    for one, other in zip(first, again, strict=True):
        assert same(one.mask, other.mask)
        assert (one.roi, one.region, one.settling) == (other.roi, other.region, other.settling)


def test_a_point_is_replayed_by_the_box_that_was_found(tmp_path: Path) -> None:
    camera = {"kind": "synthetic", "size_px": [160, 120], "frames": 8, "fps": 20.0, "speed": 2.0}
    rois = [{"kind": "point", "point": [0.3, 0.7], "region": "here"}]
    config = _config(camera, rois, tmp_path / "a", frames=True)
    first = _results(_run(config, tmp_path / "a"))
    camera = {"kind": "replay", "path": str(tmp_path / "a"), "realtime": False}
    rois = [{"kind": "replay", "path": str(tmp_path / "a")}]
    again = _results(_run(_config(camera, rois, tmp_path / "b"), tmp_path / "b"))
    found = [one.mask is not None and one.mask.bbox() is not None for one in first]
    assert True in found
    for one, other, any_there in zip(first, again, found, strict=True):
        if any_there:
            assert same(one.mask, other.mask)
        else:
            assert other.mask is None or other.mask.bbox() is None


def test_a_replay_in_real_time_keeps_the_distances(recorded: Path) -> None:
    backend = ReplayBackend(recorded)
    began = time.monotonic()
    results = [backend.read(5) for _ in range(10)]
    entries = Recording(recorded).entries
    assert time.monotonic() - began >= (entries[9].t_ns - entries[0].t_ns) / 1e9 * 0.95
    assert [result.frame.index for result in results] == list(range(10))
    backend.close()


def test_the_backend_ends_times_out_and_loops(recorded: Path, tmp_path: Path) -> None:
    backend = ReplayBackend(recorded, realtime=False)
    for _ in range(25):
        backend.read(1)
    with pytest.raises(EOFError):
        backend.read(1)
    backend.close()
    looping = ReplayBackend(recorded, realtime=False, loop=True)
    assert [looping.read(1).frame.index for _ in range(51)] == list(range(51))
    slow = record(tmp_path / "slow", [a_result(0, timestamp_ns=0),
                                       a_result(1, timestamp_ns=10**11)])  # fmt: skip
    waiting = ReplayBackend(slow.folder)
    waiting.read(1)
    with pytest.raises(BackendTimeoutError):
        waiting.read(0.01)


def test_the_backend_needs_a_recording(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="expected a recording"):
        Segmenter("replay", path=tmp_path)
    record(tmp_path / "empty", [])
    with pytest.raises(UnavailableError, match="got none"):
        Segmenter("replay", path=tmp_path / "empty")


def test_a_stream_of_a_recording_ends(recorded: Path) -> None:
    with Segmenter("replay", path=recorded, realtime=False) as segmenter:
        results = list(segmenter.stream(Roi(0.2, 0.2, 0.5, 0.5)))
    assert len(results) == 25
    with pytest.raises(Exception, match="closed"):
        segmenter.backend.aim(None)
