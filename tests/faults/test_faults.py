"""The fault suite in short; scripts/faults.py runs it for as long as one likes."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk.payload import encode_result
from picosam_sdk.testing.imx500 import Faults
from tests.egress.canary import picture
from tests.egress.scenes import result
from tests.faults.checks import Checker
from tests.faults.events import KINDS, run, schedule
from tests.faults.parts import SENSOR_FAULTS
from tests.faults.world import World, bad_network

EVENTS, LIMIT_S = 200, 30.0


def message(seq: int, **changes: Any) -> bytes:
    made = encode_result(result(masked=False), device="host", session="s", seq=seq)
    return json.dumps(made | changes).encode()


def test_what_was_lost_or_reordered_is_seen() -> None:
    for order in ([0, 1, 3], [0, 2, 1], [1]):
        checker = Checker()
        for seq in order:
            checker.message("picosam/host/mask", message(seq))
        assert checker.violations, order
    checker = Checker()
    for seq in (0, 1, 1, 0, 2):  # a message may come twice
        checker.message("picosam/host/mask", message(seq))
    assert not checker.violations
    checker.must_have([("host", "s", 3)])
    assert checker.violations


def test_a_mask_of_another_place_and_a_pixel_are_seen() -> None:
    checker = Checker()
    made = encode_result(result(), device="host", session="s", seq=0)
    checker.message("picosam/host/mask", json.dumps(made).encode())
    assert checker.violations  # its region is none of the suite's
    checker = Checker()
    checker.check_pixels(picture().tobytes())
    assert checker.violations


def test_the_schedule_follows_its_seed() -> None:
    def names(seed: int) -> list[str]:
        return [kind.name for kind, _ in zip_first(seed)]

    def zip_first(seed: int) -> list[Any]:
        events = schedule(seed)
        return [next(events) for _ in range(len(KINDS) + 50)]

    assert names(3) == names(3) != names(4)
    assert set(names(3)) == {kind.name for kind in KINDS}


def test_every_fault_of_the_emulated_sensor_is_injected() -> None:
    injected = {name for change in SENSOR_FAULTS.values() for name in change}
    assert injected | {"starts"} == {field.name for field in dataclasses.fields(Faults)}
    assert {f"sensor {how}" for how in SENSOR_FAULTS} < {kind.name for kind in KINDS}


def test_one_kind_can_be_asked_for() -> None:
    events = schedule(1, only=["clock back"])
    assert {next(events)[0].name for _ in range(20)} == {"clock back"}


def test_nothing_is_broken_by_faults(tmp_path: Path) -> None:
    if bad_network().MOSQUITTO is None:
        pytest.skip("needs mosquitto: apt install mosquitto")
    seed = int(os.environ.get("PICOSAM_FAULTS_SEED", "1"))
    end_s = time.monotonic() + LIMIT_S
    with World(tmp_path / "world", sensor=False) as world:
        report = run(world, seed, lambda n: n >= EVENTS or time.monotonic() > end_s)
    assert not report.violations
    assert report.counts["masks"] > 0
