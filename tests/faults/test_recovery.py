"""What failed is gone before the next one is opened: never two networks, two cameras in memory."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picosam_sdk import Frame, Prompt, Roi
from picosam_sdk.pipeline.host import HostEye
from picosam_sdk.pipeline.look import Watch
from picosam_sdk.pipeline.sensor import SensorEye
from picosam_sdk.stats import Stats


class Failing:
    """A segmenter and its backend in one, which raise when they are used."""

    name = "failing"

    def __init__(self) -> None:
        self.stats: dict[str, Any] = {}

    @property
    def backend(self) -> Failing:
        return self

    def aim(self, roi: Roi | None) -> None:
        pass

    def read(self, timeout_s: float) -> None:
        raise RuntimeError("scripted: it broke")

    def segment(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("scripted: it broke")

    def close(self) -> None:
        pass


class Knotted(Failing):
    """One that holds itself, as cameras do."""

    def __init__(self) -> None:
        super().__init__()
        self.knot = self


class Maker:
    """Opens them, and looks whether those before are still there."""

    def __init__(self, kind: type[Failing] = Failing) -> None:
        self.kind = kind
        self.made: list[weakref.ref[Failing]] = []
        self.alive: list[int] = []

    def __call__(self) -> Any:
        self.alive.append(sum(reference() is not None for reference in self.made))
        segmenter = self.kind()
        self.made.append(weakref.ref(segmenter))
        return segmenter


def ask() -> Prompt:
    return Prompt(roi=Roi(0.1, 0.1, 0.5, 0.5))


WATCH = Watch(lambda timeout_s: False, lambda within_s: None)


@pytest.mark.usefixtures("no_collection")
def test_of_a_sensor() -> None:
    maker = Maker()
    eye = SensorEye(maker, Stats(), WATCH, "failing")
    eye.open()
    for _ in range(3):
        assert eye.look(ask) is None
    assert maker.alive == [0, 0, 0, 0]


def test_of_a_sensor_that_holds_itself() -> None:
    maker = Maker(Knotted)
    eye = SensorEye(maker, Stats(), WATCH, "failing")
    eye.open()
    for _ in range(3):
        assert eye.look(ask) is None
    assert maker.alive == [0, 0, 0, 0]


@pytest.mark.usefixtures("no_collection")
def test_of_a_host() -> None:
    maker = Maker()
    frame = Frame(np.zeros((40, 40, 3), np.uint8), 1, 0)
    camera: Any = SimpleNamespace(
        live=True, stats={}, open=lambda: None, close=lambda: None, read=lambda timeout_s: frame
    )
    eye = HostEye(camera, maker, Stats(), WATCH)
    eye.open()
    for _ in range(3):
        look = eye.look(ask)
        assert look is not None
        assert look.mask is None
    assert maker.alive == [0, 0, 0, 0]
