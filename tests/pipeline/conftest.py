"""Small parts that tests can steer and look into; a pipeline of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picosam_sdk import (
    BackendError,
    Camera,
    Frame,
    Mask,
    MaskFilter,
    Plugins,
    Prompt,
    Publisher,
    Result,
    Roi,
    RoiSource,
    app,
    hookimpl,
)
from picosam_sdk.app import Application, Parts
from picosam_sdk.config import from_mapping
from picosam_sdk.interfaces import Backend, Context
from picosam_sdk.settings import AppConfig
from picosam_sdk.types import ImageArray
from tests.fakes import RedBackend, red_scene

WAIT_S = 20.0
OBJECT = Roi.from_pixels(100, 60, 80, 80, (320, 200))
"""The box of the red object of :func:`tests.fakes.red_scene`."""


def until(condition: Callable[[], Any], what: str = "") -> None:
    """Waits until it is true; an error after a long time."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what or condition}"
        time.sleep(0.002)


def result(index: int) -> Result:
    return Result(Frame(None, time.monotonic_ns(), index), None, None)


class OpenGate:
    """A gate that lets everything through; some it withholds."""

    def __init__(self) -> None:
        self.withheld: set[int] = set()
        self.expired: set[int] = set()
        self.sizes: list[int | None] = []
        self.released: list[int] = []

    def admit(self, result: Result, now_ns: int) -> Result | None:
        return None if result.frame.index in self.withheld else result

    def release(self, result: Result) -> Result | None:
        self.released.append(result.frame.index)
        return None if result.frame.index in self.expired else result

    def sent(self, n_bytes: int | None) -> None:
        self.sizes.append(n_bytes)


@dataclass(frozen=True)
class CaptureConfig:
    """``needs``: what it says that it needs; ``broken``: how opening it fails."""

    needs: tuple[str, ...] = ()
    broken: str = ""


class Capture(Publisher):
    """Keeps what it gets; can be blocked, and told to fail."""

    name = "capture"
    Config = CaptureConfig

    def __init__(self, config: Any = None, context: Context | None = None) -> None:
        super().__init__(config or CaptureConfig(), context or Context())
        self.results: list[Result] = []
        self.events: list[str] = []
        self.passing = threading.Event()
        self.passing.set()
        self.entered = threading.Semaphore(0)
        self.fail_open = self.fail_publish = self.fail_close = 0
        self.threads: set[str] = set()

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.config.needs)

    def open(self) -> None:
        self.events.append("open")
        self.threads.add(threading.current_thread().name)
        if self.config.broken == "package":
            raise ModuleNotFoundError("No module named 'acme'")
        if self.fail_open or self.config.broken:
            self.fail_open -= 1
            raise ConnectionError("no broker")

    def publish(self, result: Result) -> int | None:
        self.entered.release()
        self.threads.add(threading.current_thread().name)
        self.passing.wait(WAIT_S)
        if self.fail_publish:
            self.fail_publish -= 1
            self.events.append("failed")
            raise ConnectionError("broker gone")
        self.results.append(result)
        return 100

    def flush(self, timeout_s: float) -> bool:
        self.events.append("flush")
        return True

    def close(self) -> None:
        self.events.append("close")
        if self.fail_close:
            raise ConnectionError("cannot even close")

    @property
    def indices(self) -> list[int]:
        return [result.frame.index for result in self.results]


@dataclass(frozen=True)
class FilmConfig:
    """``frames``: how many, 0 for no end."""

    frames: int = 0


class Film(Camera):
    """Shows the red scene; before each frame it does what the test wants."""

    name = "film"
    Config = FilmConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.picture = red_scene()[0]
        self.before: Callable[[int], Any] = lambda index: None
        self.fail_open = 0
        self.opened = self.closed = self.index = 0

    def open(self) -> None:
        self.opened += 1
        if self.fail_open:
            self.fail_open -= 1
            raise OSError("device is not there")

    def read(self, timeout_s: float) -> Frame | None:
        if self.config.frames and self.index >= self.config.frames:
            return None
        self.before(self.index)
        frame = Frame(self.picture, time.monotonic_ns(), self.index)
        self.index += 1
        return frame

    def close(self) -> None:
        self.closed += 1


class Reel(Film):
    """The same, but nothing is lost when nobody looks."""

    name = "reel"
    live = False


class Ask(RoiSource):
    """Asks for the object, or for what the test wants; keeps what it is shown."""

    name = "ask"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.answer: Callable[[int], Any] = lambda now_ns: OBJECT
        self.fail_open = 0
        self.opened = self.closed = 0
        self.seen: list[Result] = []

    def open(self) -> None:
        self.opened += 1
        if self.fail_open:
            self.fail_open -= 1
            raise ConnectionError("no tracker")

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        asked: Prompt | Roi | None = self.answer(now_ns)
        return asked

    def observe(self, result: Result) -> None:
        self.seen.append(result)

    def close(self) -> None:
        self.closed += 1


@dataclass(frozen=True)
class MarkConfig:
    """``add``: to the score; ``fault``: "raise", "withhold" or "type", from the fourth mask on."""

    add: float = 0.0
    fault: str = ""


class Mark(MaskFilter):
    """Scores each mask by how many it has seen since it was reset."""

    name = "mark"
    Config = MarkConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.count = 0
        self.log: list[str] = []

    def apply(self, mask: Mask, now_ns: int) -> Mask | None:
        self.count += 1
        self.log.append("apply")
        fault = self.config.fault if self.count > 3 else ""
        if fault == "raise":
            raise ZeroDivisionError("in a filter")
        if fault == "withhold":
            return None
        if fault == "type":
            return "mask"  # type: ignore[return-value]
        return Mask(mask.logits, mask.roi, self.count + self.config.add, mask.size_px, mask.prompt)

    def reset(self) -> None:
        self.count = 0
        self.log.append("reset")


class FlakyBackend(RedBackend):
    """Fails as often as it is told to."""

    name = "flaky"
    faults: int = 0

    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if type(self).faults:
            type(self).faults -= 1
            raise BackendError("out of memory")
        return super().infer(crops)


class TestPlugin:
    """Offers all of these."""

    __test__ = False

    @staticmethod
    @hookimpl
    def picosam_backends() -> list[type[Backend]]:
        return [RedBackend, FlakyBackend]

    @staticmethod
    @hookimpl
    def picosam_cameras() -> list[type[Camera]]:
        return [Film, Reel]

    @staticmethod
    @hookimpl
    def picosam_roi_sources() -> list[type[RoiSource]]:
        return [Ask]

    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [Capture]

    @staticmethod
    @hookimpl
    def picosam_mask_filters() -> list[type[MaskFilter]]:
        return [Mark]


class Bench:
    """Builds applications of these parts, and ends them after the test."""

    def __init__(self) -> None:
        self.plugins = Plugins(discover=False)
        self.plugins.register(TestPlugin(), "test")
        self._stack = ExitStack()
        self._threads: list[threading.Thread] = []

    def build(self, raw: dict[str, Any]) -> tuple[Application, Parts]:
        """Made, not open."""
        config = from_mapping(raw, AppConfig)
        parts = app.make_parts(config, self.plugins)
        return Application(config, parts, self.plugins), parts

    def open(self, application: Application) -> Application:
        return self._stack.enter_context(application)

    def start(self, application: Application) -> threading.Thread:
        """Opens it and runs it in a thread."""
        self.open(application)
        thread = threading.Thread(target=application.run)
        self._stack.callback(thread.join)
        self._stack.callback(application.stop)
        thread.start()
        return thread

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def raw(frames: int = 0, publishers: int = 1, **tables: Any) -> dict[str, Any]:
    """A configuration: film, red backend, one source, publishers that keep everything."""
    options: dict[str, Any] = {
        "camera": {"kind": "film", "frames": frames},
        "segmenter": {"backend": "red"},
        "roi": [{"kind": "ask"}],
        "publish": [{"kind": "capture", "queue": 1000, "retry_s": 0.005}] * publishers,
    }
    return options | tables


def run(bench: Bench, config: dict[str, Any], prepare: Callable[[Parts], None] | None = None) -> (
    tuple[Application, Parts, list[Result]]
):  # fmt: skip
    """Runs to the end; gives what the first publisher got."""
    application, parts = bench.build(config)
    if prepare is not None:
        prepare(parts)
    with application:
        application.run()
    return application, parts, captured(parts).results


def captured(parts: Parts, index: int = 0) -> Capture:
    publisher = parts.publishers[index].part
    assert isinstance(publisher, Capture)
    return publisher


def source(parts: Parts, index: int = 0) -> Ask:
    part = parts.rois[index].part
    assert isinstance(part, Ask)
    return part


def film(parts: Parts) -> Film:
    assert parts.camera is not None
    assert isinstance(parts.camera.part, Film)
    return parts.camera.part
