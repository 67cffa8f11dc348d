"""A folder of photographs as a camera."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import CameraError, Context, load_image
from picosam_sdk.cameras.photos import PhotosCamera, PhotosConfig
from picosam_sdk.images import save_image
from picosam_sdk.samples import sample_photos
from picosam_sdk.testing.contract import CameraContract


class TestPhotosCamera(CameraContract):
    part = PhotosCamera
    length = 4


class TestPhotosOfAFolderInALoop(CameraContract):
    part = PhotosCamera

    @pytest.fixture
    def options(self, folder: Path) -> Any:
        return {"path": str(folder), "loop": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, gray 10, 20 and 30, and files that are none."""
    for value in (30, 10, 20):
        save_image(np.full((8, 12, 3), value, np.uint8), tmp_path / f"{value}.png")
    (tmp_path / "15.txt").write_text("no picture")
    (tmp_path / "17.jpg").write_bytes(b"\xff\xd8\xffhalf a picture")
    (tmp_path / "18.png").mkdir()
    return tmp_path


def _values(camera: PhotosCamera, count: int) -> list[int | None]:
    frames = [camera.read(1) for _ in range(count)]
    return [None if f is None or f.image is None else int(f.image[0, 0, 0]) for f in frames]


def test_photographs_come_in_the_order_of_their_names(folder: Path) -> None:
    camera = PhotosCamera(PhotosConfig(folder, repeat=2), Context())
    camera.open()
    assert _values(camera, 8) == [10, 10, 20, 20, 30, 30, None, None]
    assert camera.stats == {"photos": 4, "unreadable": 1}
    camera.close()


def test_a_loop_begins_again(folder: Path) -> None:
    camera = PhotosCamera(PhotosConfig(folder, loop=True), Context())
    camera.open()
    assert _values(camera, 5) == [10, 20, 30, 10, 20]
    camera.close()


def test_the_sdks_own_photographs_are_the_default() -> None:
    camera = PhotosCamera(PhotosConfig(), Context())
    camera.open()
    for photo in sample_photos():
        frame = camera.read(1)
        assert frame is not None
        assert np.array_equal(frame.image, load_image(photo.path))  # type: ignore[arg-type]
    camera.close()


def test_one_file_is_a_camera_too(folder: Path) -> None:
    camera = PhotosCamera(PhotosConfig(folder / "20.png", repeat=2), Context())
    camera.open()
    assert _values(camera, 3) == [20, 20, None]
    camera.close()


@pytest.mark.parametrize("loop", [True, False])
def test_a_folder_of_broken_pictures_is_an_error(folder: Path, loop: bool) -> None:
    for path in folder.glob("?0.png"):
        path.write_bytes(path.read_bytes()[:40])
    camera = PhotosCamera(PhotosConfig(folder, loop=loop), Context())
    camera.open()
    with pytest.raises(CameraError, match="none of 4"):
        camera.read(1)
    camera.close()


def test_a_folder_that_is_not_there_or_has_none_is_an_error(tmp_path: Path) -> None:
    for path, why in [(tmp_path / "no", "No such file"), (tmp_path, "got none")]:
        camera = PhotosCamera(PhotosConfig(path), Context())
        with pytest.raises(CameraError, match=why):
            camera.open()


def test_a_photograph_that_vanishes_is_left_out(folder: Path) -> None:
    camera = PhotosCamera(PhotosConfig(folder, loop=True), Context())
    camera.open()
    assert _values(camera, 1) == [10]
    (folder / "20.png").unlink()
    assert _values(camera, 2) == [30, 10]
    shutil.rmtree(folder)
    with pytest.raises(CameraError):
        _values(camera, 2)
    camera.close()
