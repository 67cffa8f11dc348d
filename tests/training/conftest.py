"""The teacher on a tiny stand-in for SAM, and an album for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from picosam_sdk.training.teacher import Teacher
from tests.training.fake_sam import write_decoder, write_encoder
from tests.training.teaching import png, scene


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sam")
    return write_encoder(folder / "encoder.onnx"), write_decoder(folder / "decoder.onnx")


@pytest.fixture(scope="module")
def teacher(sam: tuple[Path, Path]) -> Teacher:
    return Teacher(*sam)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Five photographs in a folder: the discs on five shades of grey."""
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    for index in range(5):
        name = f"inner/{index}.png" if index == 4 else f"{index}.png"
        (folder / name).write_bytes(png(scene(grey=100 + 5 * index)))
    return folder
