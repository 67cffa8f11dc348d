"""A closed backend is gone at once: what opens the camera again and again must not grow.

The emulated sensor holds a view of 9 MB and a network. Held in a cycle, several of them waited
for a collection, which comes seldom where few objects are made.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from picosam_sdk import Roi
from picosam_sdk.backends.imx500.emulated import EmulatedImx500Backend
from picosam_sdk.errors import BackendError, BackendTimeoutError
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
from tests.imx500.conftest import FAST, QUICK, red_scene

ROI = Roi(0.3, 0.3, 0.4, 0.4)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def opened(model: Path, faults: Faults) -> tuple[EmulatedImx500Backend, EmulatedImx500]:
    device = EmulatedImx500(red_scene()[0], faults=faults, **FAST)
    return EmulatedImx500Backend(model, device=device, **QUICK, restarts=1), device


def read_on(backend: EmulatedImx500Backend) -> None:
    while True:
        backend.read(10)


@pytest.mark.usefixtures("no_collection")
def test_one_that_worked(model: Path) -> None:
    backend, device = opened(model, Faults())
    backend.aim(ROI)
    assert backend.read(10).mask is not None
    backend.close()
    alive = weakref.ref(backend), weakref.ref(device)
    del backend, device
    assert [reference() for reference in alive] == [None, None]


@pytest.mark.usefixtures("no_collection")
def test_one_whose_camera_was_opened_again(model: Path) -> None:
    backend, device = opened(model, Faults(starts=1, network_lost_after=5))
    backend.aim(ROI)
    assert backend.read(10).mask is not None
    while not backend.stats["restarts"]:
        backend.read(10)
    backend.close()
    alive = weakref.ref(backend), weakref.ref(device)
    del backend, device
    assert [reference() for reference in alive] == [None, None]


@pytest.mark.usefixtures("no_collection")
def test_one_that_failed_for_good(model: Path) -> None:
    backend, device = opened(model, Faults(network_lost_after=5))
    backend.aim(ROI)
    with pytest.raises(BackendTimeoutError, match="does not keep running"):
        read_on(backend)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.read(1)
    alive = weakref.ref(backend), weakref.ref(device)
    del backend, device
    assert [reference() for reference in alive] == [None, None]
