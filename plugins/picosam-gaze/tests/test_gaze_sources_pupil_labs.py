"""The source "pupil-labs": the real client package against an emulated phone on loopback."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from picosam_gaze.source import GazeSource, make_source
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.companion import EmulatedCompanion
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

pytest.importorskip("pupil_labs.realtime_api")


def make(phone: EmulatedCompanion, **keys: Any) -> GazeSource:
    table = {"kind": "pupil-labs", "host": "127.0.0.1", "port": phone.port, "answer_s": 1.0}
    more = {"sync_s": 0.2, "silent_s": 1.0, "retry_s": 0.05, "retry_max_s": 0.2}
    return make_source({**table, **more, **keys}, Context())


class TestPupilLabs(GazeSourceContract):
    """The phone's clock is three hours ahead and runs 0.1 % fast."""

    tells_confidence = False

    @pytest.fixture(autouse=True)
    def phone(self) -> Iterator[None]:
        with EmulatedCompanion(offset_s=3 * 3600, drift=1e-3) as self.peer:
            yield

    def make(self, **keys: Any) -> GazeSource:
        return make(self.peer, **keys)

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        self.peer.send(gaze.x * 1600, gaze.y * 1200, gaze.timestamp_ns, gaze.worn)

    def lose(self, source: GazeSource) -> None:
        self.peer.stop()

    def restore(self, source: GazeSource) -> None:
        self.peer.start()


@pytest.fixture
def phone() -> Iterator[EmulatedCompanion]:
    with EmulatedCompanion(offset_s=-50_000) as phone:
        yield phone


@pytest.fixture
def source(phone: EmulatedCompanion) -> Iterator[GazeSource]:
    source = make(phone)
    source.open()
    try:
        yield source
    finally:
        source.close()


def establish(phone: EmulatedCompanion, source: GazeSource) -> None:
    def arrives() -> bool:
        phone.send(800, 600, time.monotonic_ns())
        time.sleep(0.02)
        return bool(source.samples())

    poll(arrives, f"a sample; stats: {source.stats}")


def receive(source: GazeSource, x: float) -> Gaze:
    def find() -> Gaze | None:
        return next((gaze for gaze in source.samples() if abs(gaze.x - x) < 1e-4), None)

    gaze: Gaze = poll(find, f"a gaze at {x}; stats: {source.stats}")
    return gaze


def test_the_glasses_tell_the_size_of_their_camera(
    phone: EmulatedCompanion, source: GazeSource
) -> None:
    establish(phone, source)
    assert source.view_px == (1600, 1200)
    assert source.stats["clock_by"] == "echo"
    assert source.stats["clock_error_ns"] < 20_000_000


def test_pupil_invisible_has_another_camera() -> None:
    with EmulatedCompanion(version="1") as phone:
        source = make(phone)
        source.open()
        try:
            establish(phone, source)
            assert source.view_px == (1088, 1080)
            phone.send(272, 810, time.monotonic_ns())
            assert receive(source, 0.25).y == pytest.approx(0.75)
        finally:
            source.close()


def test_glasses_of_unknown_size_are_not_guessed_at() -> None:
    with EmulatedCompanion(version="9") as phone:
        source = make(phone)
        source.open()
        try:
            poll(lambda: "view_px" in str(source.stats["last_error"]), "the complaint")
            assert not source.connected
        finally:
            source.close()
        source = make(phone, view_px=[100, 100])
        source.open()
        try:
            phone_sees = poll(lambda: phone.playing, "the stream to be asked for")
            assert phone_sees
            establish(phone, source)
        finally:
            source.close()


def test_every_format_of_gaze_is_read(phone: EmulatedCompanion, source: GazeSource) -> None:
    establish(phone, source)
    for number, more in enumerate((0, 16, 56, 80, 96), 1):
        phone.send_raw(struct.pack("!ffB", 160 * number, 300, 255) + bytes(more),
                       time.monotonic_ns())  # fmt: skip
        gaze = receive(source, number / 10)
        assert (gaze.y, gaze.worn) == (0.25, True)
    two_eyes = struct.pack("!ffBff", 100, 500, 255, 220, 700)
    phone.send_raw(two_eyes, time.monotonic_ns())
    assert receive(source, 0.1).y == pytest.approx(0.5)


def test_garbage_is_counted_and_the_stream_goes_on(
    phone: EmulatedCompanion, source: GazeSource
) -> None:
    establish(phone, source)
    before = source.stats["malformed"]
    for payload in (b"", b"\0" * 8, b"\0" * 10, b"\xff" * 500):
        phone.send_raw(payload, time.monotonic_ns())
    poll(lambda: source.stats["malformed"] >= before + 3, "the garbage")
    for x in (math.nan, math.inf, 1e30):
        phone.send(x, 600, time.monotonic_ns())
    phone.send(160, 600, time.monotonic_ns())
    samples: list[Gaze] = []
    poll(lambda: samples.extend(source.samples()) or (samples[-1:] and samples[-1].valid), "all")
    assert [gaze.valid for gaze in samples[-4:]] == [False, False, False, True]
    assert source.stats["reconnects"] == 0


def test_order_is_restored_and_repetitions_are_dropped(
    phone: EmulatedCompanion, source: GazeSource
) -> None:
    establish(phone, source)
    before = source.stats["received"]
    now_ns = time.monotonic_ns()
    for step in (3, 1, 2):
        phone.send(step * 160, 600, now_ns + step * 1_000_000)
    poll(lambda: source.stats["received"] == before + 3, "all")
    assert [round(gaze.x, 1) for gaze in source.samples()] == [0.1, 0.2, 0.3]
    phone.send(800, 600, now_ns - 40_000_000)
    poll(lambda: source.stats["late"] == 1, "the late one")


def test_a_phone_whose_clock_is_set_is_followed(
    phone: EmulatedCompanion, source: GazeSource
) -> None:
    establish(phone, source)
    for offset_s in (90_000.0, -4.0):
        phone.offset_s = offset_s
        establish(phone, source)
        sent_ns = time.monotonic_ns()
        phone.send(160, 600, sent_ns)
        assert abs(receive(source, 0.1).timestamp_ns - sent_ns) < 20_000_000


def test_a_phone_without_time_echo_is_timed_by_arrival() -> None:
    with EmulatedCompanion(offset_s=9000, echo=False) as phone:
        source = make(phone)
        source.open()
        try:
            establish(phone, source)
            assert source.stats["clock_by"] == "arrival"
            sent_ns = time.monotonic_ns()
            phone.send(160, 600, sent_ns)
            assert abs(receive(source, 0.1).timestamp_ns - sent_ns) < 500_000_000
        finally:
            source.close()


def test_glasses_that_are_pulled_off_the_phone_are_lost(
    phone: EmulatedCompanion, source: GazeSource
) -> None:
    establish(phone, source)
    phone.plugged_in = False  # the phone goes on answering; no gaze comes
    poll(lambda: "plugged in" in str(source.stats["last_error"]), "the loss")
    assert not source.connected
    phone.plugged_in = True
    establish(phone, source)


def test_closing_does_not_wait_for_a_phone_that_hangs(
    phone: EmulatedCompanion, source: GazeSource, caplog: pytest.LogCaptureFixture
) -> None:
    establish(phone, source)
    phone.hang()
    source.close()
    assert "does not end" not in caplog.text


def test_a_phone_is_found_by_its_name(phone: EmulatedCompanion) -> None:
    source = make(phone, host="localhost")
    source.open()
    try:
        establish(phone, source)
    finally:
        source.close()


def test_a_phone_that_is_not_there_is_no_error() -> None:
    phone = EmulatedCompanion()
    phone.start()
    phone.stop()
    source = make(phone)
    source.open()
    try:
        poll(lambda: source.stats["last_error"], "the refusal")
        assert not source.connected
        assert source.samples() == []
    finally:
        source.close()


@pytest.mark.parametrize(
    ("keys", "key"),
    [({}, "host"), ({"host": ""}, "host"), ({"host": "a", "port": 0}, "port"),
     ({"host": "a", "silent_s": 0.0}, "silent_s")],
)  # fmt: skip
def test_a_wrong_key_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        make_source({"kind": "pupil-labs", **keys}, Context())
