"""Small parts that tests can steer and look into; a pipeline of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from picosam_sdk import Frame, Publisher, Result
from picosam_sdk.interfaces import Context, NoConfig

WAIT_S = 20.0


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
        self.sizes: list[int | None] = []
        self.released: list[int] = []

    def admit(self, result: Result, now_ns: int) -> Result | None:
        return None if result.frame.index in self.withheld else result

    def release(self, result: Result) -> Result:
        self.released.append(result.frame.index)
        return result

    def sent(self, n_bytes: int | None) -> None:
        self.sizes.append(n_bytes)


class Capture(Publisher):
    """Keeps what it gets; can be blocked, and told to fail."""

    name = "capture"

    def __init__(self, config: Any = None, context: Context | None = None) -> None:
        super().__init__(config or NoConfig(), context or Context())
        self.results: list[Result] = []
        self.events: list[str] = []
        self.passing = threading.Event()
        self.passing.set()
        self.entered = threading.Semaphore(0)
        self.fail_open = self.fail_publish = self.fail_close = 0
        self.threads: set[str] = set()

    def open(self) -> None:
        self.events.append("open")
        self.threads.add(threading.current_thread().name)
        if self.fail_open:
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
