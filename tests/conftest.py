"""What all tests share: the sample photographs, the data folder and hypothesis' settings."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No deadline: a busy machine is no failure. In CI a change alone decides whether a run fails: it
# gets the same examples each time, and everybody's own 'make test' finds new ones.
hypothesis.settings.register_profile(
    "picosam",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("PICOSAM_CI")),
)
hypothesis.settings.load_profile("picosam")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hardware", metavar="RPK", help="network file: also test a real AI Camera with it"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a data folder or a camera where there is none."""
    needs = {"data": os.environ.get("PICOSAM_DATA"), "hardware": config.getoption("--hardware")}
    missing = [marker for marker, given in needs.items() if not given]
    left_out = [item for item in items if any(map(item.get_closest_marker, missing))]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of the sample photographs."""
    return ROOT / "picosam_sdk" / "assets" / "photos"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that PICOSAM_DATA names; only for tests marked ``data``."""
    folder = Path(os.environ["PICOSAM_DATA"])
    assert folder.is_dir(), f"PICOSAM_DATA names no folder: {folder}"
    return folder


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without Python's cyclic collector: what is not freed by then is held in a cycle."""
    gc.collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda: 0)
    yield
    gc.enable()
