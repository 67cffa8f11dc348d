"""Mask against plain numpy, pycocotools and OpenCV; Result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco

from picosam_sdk import geometry, rle
from picosam_sdk.errors import InputError
from picosam_sdk.mask import Mask, Result
from picosam_sdk.types import Frame, Roi

WHOLE = Roi(0, 0, 1, 1)
Bits = np.ndarray[Any, Any]

bit_arrays = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """A mask of random logits in a random box of a random frame."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    seed, size = draw(st.integers(0, 2**16)), draw(st.integers(1, 24))
    logits = np.random.default_rng(seed).normal(draw(st.floats(-2, 2)), 1, (size, size))
    roi = Roi.from_pixels(x0, y0, x1 - x0, y1 - y0, (width, height))
    threshold = draw(st.sampled_from([0.0, -0.5, 1.25]))
    return Mask(logits.astype(np.float32), roi, 0.8, (width, height), threshold=threshold)


def photo(mask: Mask) -> Bits:
    width, height = mask.size_px
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60)
@given(mask=masks())
def test_all_methods_agree_with_numpy(mask: Mask) -> None:
    width, height = mask.size_px
    box = mask.roi.to_pixels(width, height)
    full = mask.paste()
    np.testing.assert_array_equal(
        full, geometry.paste(mask.logits, box, width, height, mask.threshold)
    )
    assert full.shape == (height, width)
    assert mask.area_px == full.sum()
    assert mask.rle() == rle.encode(full)
    np.testing.assert_array_equal(rle.decode(mask.rle()), full)
    rows, columns = np.nonzero(full)
    if full.any():
        x, y = columns.min(), rows.min()
        assert mask.bbox() == (x, y, columns.max() - x + 1, rows.max() - y + 1)
    else:
        assert mask.bbox() is None
    image = photo(mask)
    cutout = mask.cutout(image)
    np.testing.assert_array_equal(cutout[:, :, 3], np.where(full, 255, 0))
    np.testing.assert_array_equal(cutout[:, :, :3], np.where(full[:, :, None], image, 0))
    overlay = mask.overlay(image)
    np.testing.assert_array_equal(overlay[~full], image[~full])
    assert overlay.shape == image.shape


@settings(max_examples=30)
@given(mask=masks(), width=st.integers(1, 90), height=st.integers(1, 90))
def test_paste_to_another_size(mask: Mask, width: int, height: int) -> None:
    box = mask.roi.to_pixels(width, height)
    expected = geometry.paste(mask.logits, box, width, height, mask.threshold)
    np.testing.assert_array_equal(mask.paste(width, height), expected)


def test_paste_gives_a_fresh_array_each_time() -> None:
    mask = Mask.from_bits(np.ones((4, 6), np.bool_))
    mask.paste()[:] = False
    assert mask.paste().all()
    assert mask.paste(width_px=12).shape == (4, 12)


@settings(max_examples=60)
@given(bits=bit_arrays)
def test_polygons_fill_to_the_mask_without_its_holes(bits: Bits) -> None:
    polygons = Mask.from_bits(bits).polygons()
    filled = bits.astype(np.uint8)
    contours, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, contours, -1, 1, -1)
    assert len(polygons) == len(contours)
    area = 0.0
    for polygon in polygons:
        assert polygon.dtype == np.float64
        assert polygon.shape[0] >= 4
        x, y = polygon.T
        area += abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert area == filled.sum()
    if polygons:
        flat = [polygon.ravel().tolist() for polygon in polygons]
        joined = coco.merge(coco.frPyObjects(flat, *bits.shape))
        np.testing.assert_array_equal(rle.decode(joined), filled > 0)


def test_polygons_are_in_pixels_of_the_frame() -> None:
    bits = np.ones((10, 20), np.bool_)
    mask = Mask.from_bits(bits, Roi.from_pixels(5, 3, 20, 10, (100, 50)), size_px=(100, 50))
    (polygon,) = mask.polygons()
    assert {tuple(corner) for corner in polygon} == {(5, 3), (25, 3), (25, 13), (5, 13)}


def test_an_asymmetric_target_is_neither_transposed_nor_mirrored() -> None:
    bits = np.zeros((60, 100), np.bool_)  # an L in the upper right of a wide frame
    bits[5:35, 70:75] = bits[30:35, 70:95] = True
    small = bits[0:40, 60:100]
    mask = Mask.from_bits(small, Roi.from_pixels(60, 0, 40, 40, bits), size_px=(100, 60))
    np.testing.assert_array_equal(mask.paste(), bits)
    assert mask.bbox() == (70, 5, 25, 30)
    assert mask.area_px == bits.sum() == 250
    assert mask.rle()["size"] == [60, 100]
    corners = {tuple(corner) for corner in mask.polygons()[0]}
    assert corners == {(70, 5), (75, 5), (75, 30), (95, 30), (95, 35), (70, 35)}


def test_from_bits_gives_the_bits_back() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (48, 64)) > 0
    mask = Mask.from_bits(bits)
    np.testing.assert_array_equal(mask.paste(), bits)
    np.testing.assert_array_equal(Mask.from_bits(bits.astype(np.uint8) * 255).paste(), bits)
    assert mask.size_px == (64, 48)
    assert mask.roi == WHOLE
    assert mask.score == 1
    assert mask.prompt is None
    assert Mask.from_bits(bits, score=0.25, prompt=WHOLE).prompt == WHOLE


def test_an_empty_mask_is_legal(tmp_path: Path) -> None:
    mask = Mask(np.full((96, 96), -3, np.float32), Roi(0.2, 0.2, 0.5, 0.5), 0.1, (64, 48))
    image = photo(mask)
    assert not mask.paste().any()
    assert mask.bbox() is None
    assert mask.area_px == 0
    assert mask.polygons() == []
    assert mask.rle() == rle.encode(np.zeros((48, 64), np.bool_))
    np.testing.assert_array_equal(mask.overlay(image), image)
    assert not mask.cutout(image).any()
    mask.save(tmp_path / "empty.png")
    assert cv2.imread(str(tmp_path / "empty.png"), cv2.IMREAD_UNCHANGED).shape == (48, 64)


def test_overlay_tints_inside_and_outlines() -> None:
    bits = np.zeros((40, 50), np.bool_)
    bits[10:30, 5:45] = True
    mask = Mask.from_bits(bits)
    image = np.full((40, 50, 3), 100, np.uint8)
    overlay = mask.overlay(image, color=(200, 0, 50), alpha=0.25)
    assert (image == 100).all()  # the original is left alone
    assert overlay[20, 25].tolist() == [125, 75, 88]
    inside = np.zeros_like(bits)
    inside[11:29, 6:44] = True
    outline = bits & ~inside
    assert (overlay[outline] == [200, 0, 50]).all()
    assert (overlay[inside] == overlay[20, 25]).all()
    assert (overlay[~bits] == 100).all()
    assert (mask.overlay(image, alpha=0)[inside] == 100).all()
    gray = mask.overlay(image[:, :, 0])  # anything load_image takes
    assert gray.shape == image.shape


@pytest.mark.parametrize(
    "values",
    [{"alpha": 1.5}, {"alpha": float("nan")}, {"color": (1, 2)}, {"color": (0, 0, 256)}],
)
def test_overlay_refuses(values: dict[str, Any]) -> None:
    mask = Mask.from_bits(np.ones((4, 4), np.bool_))
    with pytest.raises(InputError, match="color"):
        mask.overlay(np.zeros((4, 4, 3), np.uint8), **values)


@pytest.mark.parametrize("method", ["overlay", "cutout"])
@pytest.mark.parametrize("shape", [(48, 65, 3), (64, 48, 3), (96, 128)])
def test_a_picture_of_another_size_is_refused(method: str, shape: tuple[int, ...]) -> None:
    mask = Mask.from_bits(np.ones((48, 64), np.bool_))
    with pytest.raises(InputError, match="64 x 48") as caught:
        getattr(mask, method)(np.zeros(shape, np.uint8))
    assert caught.value.hint


def test_save_writes_0_and_255(tmp_path: Path) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (30, 44)) > 0
    for name in (tmp_path / "mäsk.PNG", str(tmp_path / "mask.png")):
        Mask.from_bits(bits).save(name)
        with Image.open(name) as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.asarray(picture), np.where(bits, 255, 0))


def test_save_refuses(tmp_path: Path) -> None:
    mask = Mask.from_bits(np.ones((4, 4), np.bool_))
    with pytest.raises(InputError, match=r"\.png"):
        mask.save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match="No such file"):
        mask.save(tmp_path / "missing" / "mask.png")


def test_probabilities() -> None:
    logits = np.array([[0, 2, -2], [200, -200, 1]], np.float32)
    mask = Mask(logits, WHOLE, 0.5, (3, 2))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert mask.probabilities.dtype == np.float32
    np.testing.assert_allclose(mask.probabilities, expected, atol=1e-6)


def test_it_keeps_its_own_read_only_logits() -> None:
    buffer = np.ones((4, 4), np.float32)  # a backend may use its buffer again
    mask = Mask(buffer, WHOLE, 0.5, (4, 4))
    buffer[:] = -1
    assert mask.area_px == 16
    with pytest.raises(ValueError, match="read-only"):
        mask.logits[0, 0] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        mask.score = 1.0  # type: ignore[misc]
    assert "score=0.5" in repr(mask)
    assert "array" not in repr(mask)


GOOD = np.zeros((4, 4), np.float32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"logits": None}, "float32"),
        ({"logits": np.zeros((4, 4))}, "float64"),
        ({"logits": np.zeros((1, 4, 4), np.float32)}, r"\(1, 4, 4\)"),
        ({"logits": np.zeros((0, 4), np.float32)}, "finite"),
        ({"logits": np.full((4, 4), np.nan, np.float32)}, "finite"),
        ({"logits": np.full((4, 4), np.inf, np.float32)}, "finite"),
        ({"score": float("nan")}, "score"),
        ({"threshold": float("inf")}, "threshold"),
        ({"roi": (0, 0, 1, 1)}, "Roi"),
        ({"roi": Roi(2, 2, 1, 1)}, "overlaps"),
        ({"size_px": (0, 5)}, "0 x 5"),
        ({"size_px": (5,)}, "width_px"),
        ({"size_px": None}, "width_px"),
    ],
)
def test_invalid_masks(values: dict[str, Any], message: str) -> None:
    arguments = {"logits": GOOD, "roi": WHOLE, "score": 0.5, "size_px": (8, 6)} | values
    with pytest.raises(InputError, match=message) as caught:
        Mask(**arguments)
    assert caught.value.hint


@pytest.mark.parametrize("bits", [None, np.zeros((4, 4)), np.zeros((4, 4, 1), np.bool_)])
def test_from_bits_refuses(bits: Any) -> None:
    with pytest.raises(InputError, match="bool"):
        Mask.from_bits(bits)


def test_result_is_frozen_and_has_no_mask_where_there_is_none() -> None:
    frame = Frame(None, timestamp_ns=5, index=2)
    result = Result(frame, None, WHOLE, {"network": 4.5}, {"frame": 1_000_000})
    assert result.timings_ms["network"] == 4.5
    assert result.ages_ns["frame"] == 1_000_000
    assert Result(frame, None, WHOLE).timings_ms == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.mask = Mask.from_bits(np.ones((2, 2), np.bool_))  # type: ignore[misc]
