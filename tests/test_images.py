"""load_image and save_image: what is taken, what is converted, what is refused."""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from picosam_sdk import images
from picosam_sdk.errors import InputError
from picosam_sdk.images import load_image, save_image


def gradient(height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    """Red grows to the right, green downwards, blue is 40."""
    picture = np.full((height, width, 3), 40, dtype=np.uint8)
    picture[:, :, 0] = np.linspace(0, 250, width)[None, :]
    picture[:, :, 1] = np.linspace(0, 250, height)[:, None]
    return picture


def encoded(suffix: str, *options: int) -> bytes:
    picture = gradient()[:, :, ::-1]
    return bytes(cv2.imencode(suffix, picture, list(options))[1].tobytes())


def with_exif(jpeg: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """Puts an EXIF segment (an orientation, at times a thumbnail) after the JPEG's start."""
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + tag + struct.pack(">I", 0) + thumbnail
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def refused(source: Any, message: str) -> InputError:
    with pytest.raises(InputError, match=message) as caught:
        load_image(source)
    assert "expected" in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_an_rgb_array_is_returned_as_it_is() -> None:
    picture = gradient()
    assert load_image(picture) is picture
    view = picture[::2, ::-1]
    assert load_image(view) is view


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1)])
def test_gray_is_repeated(shape: tuple[int, ...]) -> None:
    gray = np.arange(48 * 64, dtype=np.uint32).astype(np.uint8).reshape(shape)
    picture = load_image(gray)
    assert picture.shape == (48, 64, 3)
    for channel in range(3):
        np.testing.assert_array_equal(picture[:, :, channel], gray.reshape(48, 64))


def test_alpha_is_dropped_alike_for_array_file_and_pil(tmp_path: Path) -> None:
    rgba = np.dstack([gradient(), np.tile(np.arange(64, dtype=np.uint8), (48, 1))])
    path = tmp_path / "rgba.png"
    Image.fromarray(rgba).save(path)
    for source in (rgba, path, Image.fromarray(rgba)):
        np.testing.assert_array_equal(load_image(source), gradient())


@pytest.mark.parametrize("name", ["photo.png", "Größe 写真.PNG", "no_suffix"])
def test_files_come_in_rgb_whatever_their_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(".png"))
    for source in (path, str(path)):
        picture = load_image(source)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, gradient())


@pytest.mark.parametrize(
    "data",
    [
        encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 98),
        encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 95),
        with_exif(encoded(".jpg"), 1, thumbnail=encoded(".jpg")),
        encoded(".jpg") + b"what a phone puts behind the end",
    ],
    ids=["baseline", "progressive", "restarts", "webp", "thumbnail", "trailer"],
)
def test_lossy_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "photo"
    path.write_bytes(data)
    difference = load_image(path).astype(int) - gradient()
    assert abs(difference).mean() < 4
    path.write_bytes(data[: len(data) * 2 // 3])
    refused(path, "truncated or damaged")


def test_gray_and_16_bit_files(tmp_path: Path) -> None:
    gray = gradient()[:, :, 0]
    path = tmp_path / "gray.png"
    cv2.imwrite(str(path), gray)
    np.testing.assert_array_equal(load_image(path), np.dstack([gray] * 3))
    cv2.imwrite(str(path), gray.astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_image(path), np.dstack([gray] * 3))


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, gradient()),
        (2, gradient()[:, ::-1]),
        (3, gradient()[::-1, ::-1]),
        (6, np.rot90(gradient(), -1)),
        (8, np.rot90(gradient(), 1)),
    ],
)
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, turned: np.ndarray[Any, Any]
) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(with_exif(encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 98), orientation))
    picture = load_image(path)
    assert picture.shape == turned.shape
    assert abs(picture.astype(int) - turned).mean() < 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
def test_pil_images(mode: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    np.testing.assert_array_equal(load_image(picture), np.asarray(picture.convert("RGB")))


def test_the_sample_photographs(photos: Path) -> None:
    paths = sorted(photos.glob("*.jpg"))
    assert paths
    for path in paths:
        data = path.read_bytes()
        assert load_image(path).shape[2] == 3
        assert images._header(data, path) != (0, 0)


@pytest.mark.parametrize("source", [None, 7, [[1, 2], [3, 4]], b"\xff\xd8\xff", object()])
def test_what_is_no_picture(source: Any) -> None:
    refused(source, type(source).__name__)


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        (np.float32, r"\* 255"),
        (np.float64, r"\* 255"),
        (np.uint16, "256"),
        (np.bool_, r"\* 255"),
        (np.int64, r"astype\(np.uint8\)"),
    ],
)
def test_other_dtypes_are_refused_with_the_way_to_convert(dtype: type, hint: str) -> None:
    error = refused(np.zeros((4, 5, 3), dtype), np.dtype(dtype).name)
    assert re.search(hint, error.hint)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 2), "shape"),
        ((4, 5, 7), "shape"),
        ((5,), "shape"),
        ((), "shape"),
        ((1, 4, 5, 3), "shape"),
        ((0, 5, 3), "1 x 1"),
        ((4, 0), "1 x 1"),
        ((0,), "shape"),
    ],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    refused(np.zeros(shape, np.uint8), message)


def test_channels_first_are_told_to_move() -> None:
    assert "transpose(1, 2, 0)" in refused(np.zeros((3, 40, 50), np.uint8), "shape").hint


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_every_cut_is_detected(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix)
    path = tmp_path / "cut"
    for length in (*range(12, len(data) - 1, 61), len(data) - 1):
        path.write_bytes(data[:length])
        refused(path, "truncated or damaged")


def test_a_cut_in_a_jpeg_with_a_complete_thumbnail_is_detected(tmp_path: Path) -> None:
    data = with_exif(encoded(".jpg"), 1, thumbnail=encoded(".jpg"))
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[:-40])
    refused(path, "truncated or damaged")


def test_a_changed_byte_in_a_png_is_detected(tmp_path: Path) -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 0x10
    path = tmp_path / "damaged.png"
    path.write_bytes(data)
    refused(path, "truncated or damaged")


def test_a_complete_png_without_pixels_is_refused(tmp_path: Path) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    path = tmp_path / "hollow.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IEND", b""))
    refused(path, "truncated or damaged")


@pytest.mark.parametrize(
    "data",
    [b"hello, this is no picture", b"\0" * 500, b"GIF89a" + b"\0" * 50, b"II*\0" + b"\0" * 50],
    ids=["text", "zeros", "gif", "tiff"],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    refused(path, "JPEG, PNG or WebP")


def test_huge_pictures_are_refused_from_their_header(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IEND", b""))
    refused(path, "100000 x 100000")
    jpeg = bytearray(encoded(".jpg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 65_000)
    path.write_bytes(jpeg)
    refused(path, "65000 x 60000")


def test_huge_arrays_and_pil_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    refused(gradient(), "at most 1000 pixels")
    refused(Image.fromarray(gradient()), "at most 1000 pixels")


def test_unreadable_paths(tmp_path: Path) -> None:
    refused(tmp_path / "missing.jpg", "does not exist")
    refused(tmp_path / "missing" / "photo.jpg", "does not exist")
    refused(tmp_path, "directory")
    refused("", "directory")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty")
    refused(tmp_path / "empty.jpg" / "photo.jpg", "Not a directory")
    refused("a\0b", "null")
    refused(tmp_path / ("x" * 300), "too long")
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "not a regular file")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(".png"))

    def deny(self: Path, mode: str) -> bytes:  # chmod does not hold back root, who often runs tests
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", deny)
    refused(path, "permission denied")


def test_a_pil_image_whose_file_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encoded(".png")[:-60])
    with Image.open(path) as picture:
        refused(picture, "truncated")


@pytest.mark.parametrize("channels", [None, 3, 4])
def test_save_and_load(tmp_path: Path, channels: int | None) -> None:
    rgba = np.dstack([gradient(), np.tile(np.arange(64, dtype=np.uint8), (48, 1))])
    picture = rgba[:, :, 0] if channels is None else np.ascontiguousarray(rgba[:, :, :channels])
    path = tmp_path / "sävëd.png"
    save_image(picture, path)
    with Image.open(path) as back:
        np.testing.assert_array_equal(np.asarray(back), picture)


def test_save_as_jpeg(tmp_path: Path) -> None:
    save_image(gradient(), str(tmp_path / "photo.JPG"))
    assert abs(load_image(tmp_path / "photo.JPG").astype(int) - gradient()).mean() < 4


def test_save_refuses(tmp_path: Path) -> None:
    for name in ("photo.gif", "photo", ""):
        with pytest.raises(InputError, match=r"\.png or \.jpg"):
            save_image(gradient(), name)
    with pytest.raises(InputError, match="No such file") as caught:
        save_image(gradient(), tmp_path / "missing" / "photo.png")
    assert "folder" in caught.value.hint
