"""The configurations in the repository can be read, and name networks that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from picosam_sdk.config import load_toml
from picosam_sdk.training.net import NETWORKS
from picosam_sdk.training.settings import TrainConfig


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_configurations_load(root: Path, name: str) -> None:
    config = load_toml(root / "configs" / f"{name}.toml", TrainConfig)
    assert config.network.name == name
    assert config.network.name in NETWORKS
    assert config.crop.square is (name == "paper")
