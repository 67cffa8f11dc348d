"""The sources "replay" and "pointer", and reading recordings."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picosam_gaze.source import GazeSource, GazeSourceError, make_source
from picosam_gaze.sources.recordings import load_gaze
from picosam_gaze.sources.replay import ReplaySource
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.interfaces import Context
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.recording import FORMAT, LINES, META, VERSION, line_of
from picosam_sdk.types import Frame, Gaze

BASE_NS = 1_712_345_678_901_234_567
HEADER = [
    "section id", "recording id", "timestamp [ns]", "gaze x [px]", "gaze y [px]", "worn",
    "fixation id", "blink id", "azimuth [deg]", "elevation [deg]",
]  # fmt: skip


def export(
    folder: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, **info: Any
) -> Path:
    """An export as Pupil Cloud makes it; a row is time, x, y, worn, blink id."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "gaze.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for time_ns, x, y, worn, blink in rows:
            writer.writerow(["s", "r", time_ns, x, y, worn, "", blink, "0.0", "0.0"])
    (folder / "info.json").write_text(json.dumps(info or {"module_serial_number": "841684"}))
    return folder


def row(step_ms: float, x: float = 800, y: float = 600, worn: Any = "1.0", blink: Any = "") -> Any:
    return [BASE_NS + int(step_ms * 1e6), x, y, worn, blink]


class TestReplay(GazeSourceContract):
    """Each sample is a recording of its own, which begins when it is opened."""

    tells_confidence = False
    tells_time = False
    queues = False
    loses = False

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = export(tmp_path / "recording", [row(0), row(60_000)])

    def make(self, **keys: Any) -> GazeSource:
        return make_source({"kind": "replay", "path": str(self.path), **keys}, Context())

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        place = ("", "") if math.isnan(gaze.x) else (gaze.x * 1600, gaze.y * 1200)
        export(self.path, [row(0, *place, worn=gaze.worn), row(60_000)])
        source.open()


class TestPointer(GazeSourceContract):
    queues = False
    loses = False

    @pytest.fixture(autouse=True)
    def context(self) -> None:
        self.shared = Context()

    def make(self, **keys: Any) -> GazeSource:
        return make_source({"kind": "pointer", **keys}, self.shared)

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.shared.pointer.put(gaze)


def test_a_pointer_that_rests_gives_its_place_once() -> None:
    context = Context()
    source = make_source({"kind": "pointer", "timeout_s": 0.05}, context)
    assert source.samples() == []
    source.open()
    assert source.samples() == []
    context.pointer.put(Gaze(0.5, 0.5, time.monotonic_ns()))
    assert len(source.samples()) == 1
    assert source.samples() == []
    context.pointer.put(Gaze(0.6, 0.5, time.monotonic_ns() - 10**9))
    assert source.samples() == []
    assert source.stats["late"] == 1
    context.pointer.put(Gaze(0.6, 0.5, time.monotonic_ns() + 10**12))
    assert source.samples() == []
    context.pointer.put(None)
    assert source.samples() == []
    assert not source.connected


def test_an_export_is_read(tmp_path: Path) -> None:
    path = export(
        tmp_path / "neon",
        [
            row(10, 400, 900),
            row(0, 800, 600),
            row(5, 800, 600, worn="0.0"),
            row(5, 1, 1),  # the same time again
            row(15, 800, 600, blink="3"),
            row(20, "", ""),
            row(25, "nan", 600),
            row(30, 1e9, 600),
            row(35, "many", 600),
            ["soon", 800, 600, "1.0", ""],
            row(40, 800, 600, worn="False"),
            row(45, 800, 600, worn=""),
        ],
    )
    recording = load_gaze(path)
    samples = recording.samples()
    assert [(gaze.timestamp_ns - BASE_NS) / 1e6 for gaze in samples] == [
        0, 5, 10, 15, 20, 25, 30, 40, 45,
    ]  # fmt: skip
    assert [gaze.valid for gaze in samples] == [
        True, False, True, False, False, False, False, False, True,
    ]  # fmt: skip
    assert (samples[2].x, samples[2].y) == (0.25, 0.75)
    assert not samples[1].worn
    assert recording.malformed == 2
    assert recording.view_px == (1600, 1200)
    assert load_gaze(path, keep_blinks=True).samples()[3].valid
    assert len(load_gaze(path / "gaze.csv")) == 9


def test_the_glasses_in_the_export_tell_the_size(tmp_path: Path) -> None:
    rows = [row(0, 544, 270)]
    path = export(tmp_path / "invisible", rows, glasses_serial_number="abc")
    (gaze,) = load_gaze(path).samples()
    assert (gaze.x, gaze.y) == (0.5, 0.25)
    path = export(tmp_path / "unknown", rows, something="else")
    with pytest.raises(GazeSourceError, match=r"info\.json") as caught:
        load_gaze(path)
    assert "1600" in caught.value.hint
    (gaze,) = load_gaze(path, (1000, 1000)).samples()
    assert gaze.x == 0.544


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(GazeSourceError, match="found none"):
        load_gaze(tmp_path)
    path = export(tmp_path / "empty", [])
    with pytest.raises(GazeSourceError, match="found none"):
        load_gaze(path)
    path = export(tmp_path / "other", [row(0)], ["a", "b", "timestamp [ns]", *"cdefghi"])
    with pytest.raises(GazeSourceError, match="gaze x"):
        load_gaze(path)
    (path / "gaze.csv").write_bytes(b"timestamp [ns],gaze x [px],gaze y [px]\n\xff\xfe,1,1\n")
    with pytest.raises(GazeSourceError, match="got"):
        load_gaze(path)


def recorded(path: Path, ages_ms: Sequence[float]) -> list[Gaze]:
    """Messages as our publishers write them, every second frame prompted by the gaze before."""
    base_ns = time.monotonic_ns() - 10**9
    gazes, lines = [], []
    for step, age_ms in enumerate(ages_ms):
        frame = Frame(None, base_ns + step * 33_000_000, step)
        ready_ns = frame.timestamp_ns + 12_000_000
        if step % 2 == 0:
            gazes.append(Gaze(step / 64, 0.75, ready_ns - int(age_ms * 1e6)))
        ages_ns = {"frame": 12_000_000, "gaze": ready_ns - gazes[-1].timestamp_ns}
        result = Result(frame, None, None, ages_ns=ages_ns, gaze=gazes[-1])
        lines.append(json.dumps(encode_result(result, device="d", session="s", seq=step)))
    without = Result(frame, None, None)
    lines.append(json.dumps(encode_result(without, device="d", session="s", seq=99)))
    lines += ["", "{", "[]", '{"gaze": [1]}', '{"gaze": [0, 0], "ages_ms": {"gaze": 1e400}}']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return gazes


def test_our_own_recording_is_read(tmp_path: Path) -> None:
    """Gaze older than the first frame is there, but not replayed: the camera starts with that."""
    began_ns = 10**12
    lines, gazes = [], []
    for step in range(6):
        frame = Frame(None, began_ns + step * 33_000_000, step)
        if step % 2 == 0:
            gaze_ns = frame.timestamp_ns - 20_000_000
            gazes.append(Gaze(step / 64, 0.75, gaze_ns, confidence=0.75, worn=step != 4))
        result = Result(frame, None, None, ages_ns={"frame": 10**7}, gaze=gazes[-1])
        message = encode_result(result, device="d", session="s", seq=step)
        lines.append(json.dumps(line_of(result, message, began_ns=began_ns)))
    (tmp_path / META).write_text(json.dumps({"format": FORMAT, "v": VERSION}))
    (tmp_path / LINES).write_text("\n".join([*lines, "{"]) + "\n")
    recording = load_gaze(tmp_path)
    samples = recording.samples()
    assert samples == [replace(g, timestamp_ns=g.timestamp_ns - began_ns) for g in gazes]
    assert recording.malformed == 1
    assert recording.start_ns == 0
    source = replay(tmp_path, pacing="step", step_s=1.0)
    assert [gaze.x for gaze in source.samples()] == [gaze.x for gaze in gazes[1:]]
    assert source.in_view
    assert source.clock_ns == source.now_ns
    source.close()
    (tmp_path / META).write_text(json.dumps({"format": FORMAT, "v": 99}))
    with pytest.raises(InputError, match="99"):
        load_gaze(tmp_path)


def test_messages_of_our_publishers_are_read(tmp_path: Path) -> None:
    gazes = recorded(tmp_path / "run" / "results.jsonl", [20, 0, 25.5, 0, 18, 0, 30, 0])
    recording = load_gaze(tmp_path / "run" / "results.jsonl")
    samples = recording.samples()
    assert [gaze.x for gaze in samples] == [gaze.x for gaze in gazes]
    spacing = np.diff([gaze.timestamp_ns for gaze in samples])
    assert np.allclose(spacing, np.diff([gaze.timestamp_ns for gaze in gazes]), atol=300_000)
    unix_ns = time.time_ns() - time.monotonic_ns()
    assert abs(samples[0].timestamp_ns - gazes[0].timestamp_ns - unix_ns) < 5_000_000
    assert recording.malformed == 5
    assert recording.view_px is None
    source = replay(tmp_path / "run" / "results.jsonl", pacing="step", step_s=1.0)
    assert len(source.samples()) == 4
    source.close()


def replay(path: Path, **keys: Any) -> ReplaySource:
    source = make_source({"kind": "replay", "path": str(path), **keys}, Context())
    assert isinstance(source, ReplaySource)
    source.open()
    return source


def test_steps_keep_the_recordings_spacing(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(5 * step, 8 * step) for step in range(100)])
    source = replay(path, pacing="step", step_s=0.02)
    batches = []
    while not source.ended:
        batches.append(source.samples())
        assert all(gaze.timestamp_ns <= source.now_ns for gaze in batches[-1])
    assert [len(batch) for batch in batches] == [5, *[4] * 23, 3]
    samples = [gaze for batch in batches for gaze in batch]
    times = np.array([gaze.timestamp_ns for gaze in samples])
    assert set(np.diff(times)) == {5_000_000}
    assert np.allclose([gaze.x for gaze in samples], np.arange(100) / 200)
    assert not source.connected
    assert source.samples() == []
    source.close()


def test_a_loop_goes_on_and_time_with_it(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(10 * step, 16 * step) for step in range(10)])
    source = replay(path, pacing="step", step_s=0.05, loop=True)
    samples = [gaze for _ in range(10) for gaze in source.samples()]
    assert len(samples) == 51
    times = np.array([gaze.timestamp_ns for gaze in samples])
    assert set(np.diff(times)) == {10_000_000}
    assert samples[0].x == samples[10].x == samples[50].x
    assert source.stats["laps"] == 5
    assert source.connected
    source.close()


def test_a_loop_over_one_sample_ends(tmp_path: Path) -> None:
    source = replay(export(tmp_path / "r", [row(0)]), loop=True, pacing="step", step_s=0.1)
    assert len(source.samples()) == 21
    source.close()


def test_gaze_starts_with_the_scene_video(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(5 * step, 8 * step) for step in range(10)])
    (path / "world_timestamps.csv").write_text(
        f"section id,recording id,timestamp [ns]\ns,r,{BASE_NS + 22_000_000}\ns,r,{BASE_NS}\n"
    )
    source = replay(path, pacing="step", step_s=0.01)
    first = source.samples()
    assert [gaze.x for gaze in first] == [0.025, 0.03]
    assert source.now_ns - first[0].timestamp_ns == 7_000_000
    source.close()


def test_real_time_passes_at_the_speed_asked_for(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(50 * step, 160 * step) for step in range(10)])
    source = replay(path, speed=5.0)
    opened_ns = time.monotonic_ns()
    samples: list[Gaze] = []
    poll(lambda: samples.extend(source.samples()) or source.ended, "the end")
    times = np.array([gaze.timestamp_ns for gaze in samples])
    assert len(samples) == 10
    assert not source.in_view
    assert source.clock_ns is None
    assert set(np.diff(times)) == {10_000_000}
    assert abs(times[0] - opened_ns) < 100_000_000
    assert time.monotonic_ns() >= times[-1]
    source.close()
    assert source.samples() == []


def test_what_is_not_read_is_dropped(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(step, 1.6 * step) for step in range(100)])
    source = replay(path, buffer=10, pacing="step", step_s=1.0)
    assert [round(gaze.x * 1000) for gaze in source.samples()] == list(range(90, 100))
    assert source.stats["dropped"] == 90
    assert source.stats["received"] == 100
    source.close()


def test_a_gap_in_the_recording_is_seen(tmp_path: Path) -> None:
    path = export(tmp_path / "r", [row(0), row(5), row(3000)])
    source = replay(path, pacing="step", step_s=0.5, timeout_s=0.6)
    states = []
    for _ in range(6):
        source.samples()
        states.append(source.connected)
    assert states == [True, False, False, False, False, False]
    source.close()


@pytest.mark.parametrize(
    ("keys", "key"),
    [({}, "path"), ({"path": "a", "speed": 0}, "speed"), ({"path": "a", "step_s": -1}, "step_s"),
     ({"path": "a", "pacing": "slow"}, "pacing")],
)  # fmt: skip
def test_a_wrong_key_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        make_source({"kind": "replay", **keys}, Context())


def test_a_missing_recording_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    source = make_source({"kind": "replay", "path": str(tmp_path / "none")}, Context())
    assert source.samples() == []
    assert source.view_px is None
    assert not source.in_view
    with pytest.raises(GazeSourceError, match="none"):
        source.open()
    source.close()
