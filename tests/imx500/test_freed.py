"""A closed backend is gone at once: what opens the camera again and again must not grow.

The emulated sensor holds a view of 9 MB and a network. Held in a cycle, several of them waited
for a collection, which comes seldom where few objects are made.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from picosam_sdk import Roi
from picosam_sdk.backends.imx500.emulated import EmulatedImx500Backend
from picosam_sdk.errors import BackendError, BackendTimeoutError
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
from tests.imx500.conftest import FAST, QUICK, red_scene

ROI = Roi(0.3, 0.3, 0.4, 0.4)


def opened(model: Path, faults: Faults) -> tuple[EmulatedImx500Backend, EmulatedImx500]:
    device = EmulatedImx500(red_scene()[0], faults=faults, **FAST)
    return EmulatedImx500Backend(model, device=device, **QUICK, restarts=1), device


def read_on(backend: EmulatedImx500Backend) -> None:
    while True:
        backend.read(10)


Left = tuple["weakref.ref[EmulatedImx500Backend]", "weakref.ref[EmulatedImx500]"]
"""What a use leaves behind once it has returned: ways to see whether they are still there."""


def worked(model: Path) -> Left:
    backend, device = opened(model, Faults())
    backend.aim(ROI)
    assert backend.read(10).mask is not None
    backend.close()
    return weakref.ref(backend), weakref.ref(device)


def opened_again(model: Path) -> Left:
    backend, device = opened(model, Faults(starts=1, network_lost_after=5))
    backend.aim(ROI)
    assert backend.read(10).mask is not None
    while not backend.stats["restarts"]:
        backend.read(10)
    backend.close()
    return weakref.ref(backend), weakref.ref(device)


def failed_for_good(model: Path) -> Left:
    backend, device = opened(model, Faults(network_lost_after=5))
    backend.aim(ROI)
    with pytest.raises(BackendTimeoutError, match="does not keep running"):
        read_on(backend)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.read(1)
    return weakref.ref(backend), weakref.ref(device)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("use", [worked, opened_again, failed_for_good])
def test_a_closed_one_is_gone(use: Callable[[Path], Left], model: Path) -> None:
    assert [reference() for reference in use(model)] == [None, None]
