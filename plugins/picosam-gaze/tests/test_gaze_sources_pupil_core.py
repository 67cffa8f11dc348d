"""The source "pupil-core", against an emulated Pupil Capture on real ZeroMQ sockets."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from picosam_gaze.source import GazeSource, make_source
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.capture import EmulatedPupilCapture
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

msgpack = pytest.importorskip("msgpack")
pytest.importorskip("zmq")


def make(capture: EmulatedPupilCapture, **keys: Any) -> GazeSource:
    table = {"kind": "pupil-core", "port": capture.port, "sync_s": 0.1, "answer_s": 0.4}
    return make_source({**table, "retry_s": 0.05, "retry_max_s": 0.2, **keys}, Context())


class TestPupilCore(GazeSourceContract):
    """Pupil's clock is two hours ahead and runs 0.1 % fast."""

    tells_worn = False

    @pytest.fixture(autouse=True)
    def capture(self) -> Iterator[None]:
        with EmulatedPupilCapture(offset_s=7200, drift=1e-3) as self.peer:
            yield

    def make(self, **keys: Any) -> GazeSource:
        return make(self.peer, **keys)

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.peer.send(gaze.x, 1 - gaze.y, gaze.confidence, gaze.timestamp_ns)

    def lose(self, source: GazeSource) -> None:
        self.peer.stop()

    def restore(self, source: GazeSource) -> None:
        self.peer.start()


@pytest.fixture
def capture() -> Iterator[EmulatedPupilCapture]:
    with EmulatedPupilCapture(offset_s=-100_000) as capture:
        yield capture


@pytest.fixture
def source(capture: EmulatedPupilCapture) -> Iterator[GazeSource]:
    source = make(capture)
    source.open()
    try:
        yield source
    finally:
        source.close()


def establish(capture: EmulatedPupilCapture, source: GazeSource) -> None:
    def arrives() -> bool:
        capture.send(0.5, 0.5, 1.0, time.monotonic_ns())
        time.sleep(0.02)
        return bool(source.samples())

    poll(arrives, f"a sample; stats: {source.stats}")


def test_y_points_up_in_pupil_and_down_here(
    capture: EmulatedPupilCapture, source: GazeSource
) -> None:
    establish(capture, source)
    capture.send(0.25, 0.9, 1.0, time.monotonic_ns())
    gaze = poll(lambda: next((g for g in source.samples() if g.x == 0.25), None), "it")
    assert gaze.y == pytest.approx(0.1)


def test_an_eye_of_low_confidence_counts_as_lost(
    capture: EmulatedPupilCapture, source: GazeSource
) -> None:
    establish(capture, source)
    for confidence in (0.59, 0.6):
        capture.send(0.25, 0.25, confidence, time.monotonic_ns())
    samples: list[Gaze] = []
    poll(lambda: samples.extend(source.samples()) or len(samples) >= 2, "both")
    by_confidence = {round(gaze.confidence, 2): gaze for gaze in samples}
    assert not by_confidence[0.59].valid
    assert by_confidence[0.6].valid


def test_garbage_on_the_bus_is_counted(capture: EmulatedPupilCapture, source: GazeSource) -> None:
    establish(capture, source)
    before = source.stats["malformed"]
    good = {"norm_pos": (0.5, 0.5), "confidence": 1.0, "timestamp": 1.0}
    bad: list[Any] = [
        {**good, "norm_pos": (0.5,)},
        {**good, "norm_pos": None},
        {**good, "confidence": math.nan},
        {**good, "confidence": 7},
        {**good, "timestamp": math.inf},
        {key: good[key] for key in ("norm_pos", "confidence")},
        [1, 2, 3],
        "text",
    ]
    packed = [msgpack.packb(one) for one in bad] + [b"", b"\xc1", b"\xd9\x05\xff\xff\xff\xff\xff"]
    for payload in packed:
        capture.send_frames([b"gaze.3d.01.", payload])
    capture.send_frames([b"gaze.3d.01."])
    capture.send_frames([b"pupil.0.3d", b"not subscribed to"])
    poll(lambda: source.stats["malformed"] == before + len(packed) + 1, "all to be counted")
    assert source.stats["reconnects"] == 0
    establish(capture, source)


def test_nan_places_are_lost_eyes(capture: EmulatedPupilCapture, source: GazeSource) -> None:
    establish(capture, source)
    for x in (math.nan, math.inf, 1e6):
        capture.send(x, 0.5, 1.0, time.monotonic_ns())
    samples: list[Gaze] = []
    poll(lambda: samples.extend(source.samples()) or len(samples) >= 3, "all three")
    assert not any(gaze.valid for gaze in samples[-3:])


def test_order_is_restored_and_repetitions_are_dropped(
    capture: EmulatedPupilCapture, source: GazeSource
) -> None:
    establish(capture, source)
    before = source.stats["received"]
    now_ns = time.monotonic_ns()
    for step in (3, 1, 2, 2):
        capture.send(step / 10, 0.5, 1.0, now_ns + step * 100_000)
    poll(lambda: source.stats["received"] == before + 4, "all")
    assert [round(gaze.x, 1) for gaze in source.samples()] == [0.1, 0.2, 0.3]
    capture.send(0.7, 0.5, 1.0, now_ns - 10_000_000)
    poll(lambda: source.stats["late"] == 1, "the late one")
    assert source.samples() == []


def test_a_clock_that_is_set_is_followed(capture: EmulatedPupilCapture, source: GazeSource) -> None:
    establish(capture, source)
    for offset_s in (50_000.0, -3.0):  # 'T' of Pupil Remote, or the LSL plugin, sets its clock
        capture.offset_s = offset_s
        establish(capture, source)

        def known() -> bool:  # after a question that was not held up on its way
            sent_ns = time.monotonic_ns()
            capture.send(0.125, 0.5, 1.0, sent_ns)
            gaze = poll(lambda: next((g for g in source.samples() if g.x == 0.125), None), "it")
            return abs(gaze.timestamp_ns - sent_ns) < 20_000_000

        poll(known, "its time")
        assert abs(source.stats["clock_offset_ns"] + offset_s * 1e9) < 20_000_000


def test_a_frozen_capture_is_lost_and_found_again(
    capture: EmulatedPupilCapture, source: GazeSource
) -> None:
    establish(capture, source)
    capture.silent = True
    poll(lambda: "does not answer" in str(source.stats["last_error"]), "the loss")
    poll(lambda: not source.connected, "the loss")
    capture.stop()  # a question that was read in the meantime stays without an answer
    capture.silent = False
    capture.start()
    establish(capture, source)
    assert source.stats["reconnects"] >= 1


def test_something_else_on_the_port_is_no_crash(capture: EmulatedPupilCapture) -> None:
    capture.time_s = lambda host_ns: math.nan  # type: ignore[method-assign]
    source = make(capture)
    source.open()
    try:
        poll(lambda: "Pupil's time" in str(source.stats["last_error"]), "the error")
        assert not source.connected
    finally:
        source.close()


@pytest.mark.parametrize(
    ("keys", "key"), [({"port": 0}, "port"), ({"topic": "pupil"}, "topic"),
                      ({"min_confidence": 2.0}, "min_confidence")],
)  # fmt: skip
def test_a_wrong_key_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        make_source({"kind": "pupil-core", **keys}, Context())
