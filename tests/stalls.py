"""Pauses threads at random, as a busy machine does: ``pytest -p tests.stalls --stalls threads``.

A test that asserts before another thread has acted passes on a quiet machine; here it fails. So
does code that reads what another thread is just replacing. A run is not repeatable: the threads
take turns as they like. See ``make stalls``.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

_CALLS_PER_PAUSE = 300
_LONGEST_S = 0.15


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stalls",
        choices=("threads", "main", "all"),
        default="threads",
        help="whom to pause: all threads but the main one, that one alone, or both",
    )


def pytest_configure(config: pytest.Config) -> None:
    whom = config.getoption("stalls")
    if whom != "main":
        threading.setprofile(stalling())
    if whom != "threads":
        sys.setprofile(stalling())


def pytest_unconfigure() -> None:
    threading.setprofile(None)
    sys.setprofile(None)


def stalling() -> Callable[[FrameType, str, Any], None]:
    """A profile function that pauses its thread now and then.

    A thread may be paused for 0.3 s, and for 0.3 of its life: else long loops would not end.
    """
    # Names of its own: it still runs while the interpreter ends. A generator of its own: hypothesis
    # minds the module's being used in its strategies.
    chance = random.Random().random
    sleep, clock, mine = time.sleep, time.monotonic, threading.local()

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_call") or chance() * _CALLS_PER_PAUSE >= 1:
            return
        now_s = clock()
        began_s, paused_s = getattr(mine, "paused", (now_s, 0.0))
        if paused_s < 0.3 + 0.3 * (now_s - began_s):
            pause_s = chance() * _LONGEST_S
            mine.paused = (began_s, paused_s + pause_s)
            sleep(pause_s)

    return profile
