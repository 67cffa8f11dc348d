"""The record of ROIs: which of them a frame's mask belongs to."""

from __future__ import annotations

from picosam_sdk import Roi
from picosam_sdk.backends.imx500.ledger import RoiLedger, RoiWrite
from picosam_sdk.types import Box

WRITE = RoiWrite(Roi(0.1, 0.1, 0.5, 0.5), Box(0, 0, 400, 400), written_ns=100, sensor_ns=90)


def test_only_frames_exposed_after_the_write_count() -> None:
    ledger = RoiLedger(settle_frames=2)
    assert not ledger.frame(50, True)  # nothing was written yet
    ledger.record(WRITE)
    assert [ledger.frame(stamp, True) for stamp in (80, 95, 100)] == [False] * 3
    assert [ledger.frame(stamp, True) for stamp in (101, 134, 167, 200)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_frames_without_inference_count_as_time() -> None:
    ledger = RoiLedger(settle_frames=2)
    ledger.record(WRITE)
    assert [ledger.frame(101 + i, False) for i in range(3)] == [False, False, True]


def test_another_roi_waits_until_this_one_gave_a_mask() -> None:
    ledger = RoiLedger(settle_frames=1)
    assert not ledger.busy
    ledger.record(WRITE)
    assert ledger.busy
    ledger.frame(101, True)
    assert ledger.busy
    ledger.frame(102, False)
    assert ledger.busy  # settled, but it has shown nothing yet
    ledger.frame(103, True)
    assert not ledger.busy


def test_a_network_that_shows_nothing_does_not_hold_others_up() -> None:
    ledger = RoiLedger(settle_frames=1)
    ledger.record(WRITE)
    for index in range(40):
        ledger.frame(101 + index, False)
    assert not ledger.busy


def test_no_settling_means_the_first_frame_after() -> None:
    ledger = RoiLedger(settle_frames=0)
    ledger.record(WRITE)
    assert not ledger.frame(100, True)
    assert ledger.frame(101, True)


def test_a_new_prompt_for_the_same_box_keeps_its_age() -> None:
    ledger = RoiLedger(settle_frames=0)
    ledger.record(WRITE)
    ledger.reprompt(Roi(0.11, 0.1, 0.5, 0.5))
    assert ledger.current is not None
    assert ledger.current.prompt.x == 0.11
    assert ledger.current.written_ns == WRITE.written_ns
    ledger.clear()
    assert not ledger.frame(500, True)
    assert list(ledger.writes) == [WRITE]
