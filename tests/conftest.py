"""What all tests share: the sample photographs, the data folder and hypothesis' settings."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("picosam", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("picosam")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests marked ``data`` where PICOSAM_DATA does not name a folder."""
    if os.environ.get("PICOSAM_DATA"):
        return
    left_out = [item for item in items if item.get_closest_marker("data")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("data")]
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
