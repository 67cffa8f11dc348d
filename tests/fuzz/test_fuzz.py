"""Replays the corpus through every target, then a few mutations of it; scripts/fuzz.py does more.

Limits of time are far above what a call takes: only a call that does not end may fail there.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # scripts/fuzz.py finds them the same way
from mutations import mutated
from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
LONGEST_S = 20
MOST_KB = 1_500_000
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@contextmanager
def ending() -> Iterator[None]:
    """Fails if what is inside it does not end."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it took more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fuzz")
    (made / "photos").mkdir()
    shutil.copy(CORPUS / "image" / "small.png", made / "photos")
    return made


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus_is_taken_or_refused(path: Path, folder: Path) -> None:
    before = peak_kb()
    with ending():
        TARGETS[path.parent.name](path.read_bytes(), folder)
    assert peak_kb() - before < MOST_KB


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutations_are_taken_or_refused(name: str, folder: Path) -> None:
    seeds = [path.read_bytes() for path in FILES if path.parent.name == name]
    check = _checked(name, seeds, folder)
    before = peak_kb()
    with ending():
        check()
    assert peak_kb() - before < MOST_KB


def _checked(name: str, seeds: list[bytes], folder: Path) -> Callable[[], None]:
    @settings(
        max_examples=20 if name in ("onnx", "config") else 50,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, len(seeds) - 1), st.integers(0, 2**32 - 1))
    def check(which: int, number: int) -> None:
        TARGETS[name](mutated(seeds[which], seeds, random.Random(number)), folder)

    return check
