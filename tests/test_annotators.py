"""Annotators: what is outside, what is inside, what is changed, to the pixel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picosam_sdk import InputError, Mask, Roi
from picosam_sdk.annotators import (
    ANNOTATORS,
    Annotator,
    BlurOutside,
    CutOut,
    Halo,
    Outline,
    Overlay,
    PixelateOutside,
)
from picosam_sdk.types import ImageArray

EVERY = [cls() for cls in ANNOTATORS.values()]
AROUND = [BlurOutside(), PixelateOutside(), CutOut((1, 2, 3))]
"""Those that leave the object as it is and change what is outside."""

each = pytest.mark.parametrize("annotator", EVERY, ids=list(ANNOTATORS))


def picture(width_px: int = 120, height_px: int = 80) -> ImageArray:
    """Noise, so that no two places are alike."""
    return np.random.default_rng(3).integers(0, 256, (height_px, width_px, 3), np.uint8)


def disc(size_px: tuple[int, int] = (120, 80)) -> Mask:
    rows, columns = np.mgrid[-1:1:48j, -1:1:48j].astype(np.float32)
    logits = ((0.8 - np.hypot(rows, columns)) * 20).astype(np.float32)
    return Mask(logits, Roi(0.2, 0.2, 0.4, 0.6), 0.9, size_px)


def nothing(size_px: tuple[int, int] = (120, 80)) -> Mask:
    return Mask.from_bits(np.zeros((8, 8), bool), Roi(0.2, 0.2, 0.4, 0.6), 0.1, size_px)


def everything(size_px: tuple[int, int] = (120, 80)) -> Mask:
    return Mask.from_bits(np.ones((8, 8), bool), size_px=size_px)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Masks of any shape whose ROI lies anywhere, over the frame's borders, too."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    bits = np.array(draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns)))
    place, length = st.floats(-0.5, 0.9), st.floats(0.02, 1.4)
    roi = draw(st.builds(Roi, place, place, length, length).filter(lambda roi: roi.overlaps_view()))
    size_px = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    return Mask.from_bits(bits.reshape(rows, columns), roi, size_px=size_px)


@each
@settings(max_examples=60)
@given(mask=masks())
def test_any_mask_on_any_picture(annotator: Annotator, mask: Mask) -> None:
    image = picture(*mask.size_px)
    before = image.copy()
    out = annotator.annotate(image, mask)
    assert out.dtype == np.uint8
    assert out.shape == image.shape
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert np.array_equal(image, before)
    assert not np.shares_memory(image, out)
    inside = mask.paste()
    if isinstance(annotator, (Overlay, Outline)):
        assert np.array_equal(out[~inside], image[~inside])
    else:
        assert np.array_equal(out[inside], image[inside])
    assert np.array_equal(annotator.annotate(image, mask), out)


@each
def test_without_an_object_nothing_is_shown(annotator: Annotator) -> None:
    image = picture()
    out = annotator.annotate(image, nothing())
    if isinstance(annotator, (BlurOutside, PixelateOutside, CutOut)):
        assert np.mean(np.any(out != image, axis=2)) > 0.95  # no pixel of it is an object
    else:
        assert np.array_equal(out, image)


@pytest.mark.parametrize("annotator", [Halo(), *AROUND], ids=lambda annotator: annotator.name)
def test_where_all_is_object_nothing_is_outside(annotator: Annotator) -> None:
    assert np.array_equal(annotator.annotate(picture(), everything()), picture())


def test_overlay_is_the_masks_own() -> None:
    color, alpha = (10, 200, 30), 0.3
    out = Overlay(color, alpha).annotate(picture(), disc())
    assert np.array_equal(out, disc().overlay(picture(), color, alpha))
    inside = disc().paste()
    mixed = np.rint(picture() * 0.7 + 0.3 * np.array(color))
    edge = inside & ~eroded(inside, 1)
    assert np.array_equal(out[edge], np.broadcast_to(color, out[edge].shape))
    assert np.abs(out[inside & ~edge] - mixed[inside & ~edge]).max() <= 1


def eroded(bits: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    """What is left when all that is within ``by_px`` of the outside is taken away."""
    padded = np.pad(bits, by_px)
    height, width = bits.shape
    out = bits.copy()
    for y in range(2 * by_px + 1):
        for x in range(2 * by_px + 1):
            out &= padded[y : y + height, x : x + width]
    return out


@pytest.mark.parametrize("line_px", [1, 3])
def test_outline_takes_the_edge_and_nothing_else(line_px: int) -> None:
    color = (9, 8, 7)
    out = Outline(color, line_px).annotate(picture(), disc())
    inside = disc().paste()
    edge = inside & ~eroded(inside, line_px)
    assert edge.any()
    assert not edge[inside].all()
    assert np.array_equal(out[edge], np.broadcast_to(color, out[edge].shape))
    assert np.array_equal(out[~edge], picture()[~edge])


def test_outline_runs_along_the_border_of_the_frame() -> None:
    out = Outline((0, 0, 0), 2).annotate(np.full((80, 120, 3), 255, np.uint8), everything())
    frame = np.ones((80, 120), bool)
    frame[2:-2, 2:-2] = False
    assert np.array_equal(out[..., 0] == 0, frame)


def distances(bits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From each pixel to the nearest of the object, by trying all of them."""
    rows, columns = np.nonzero(bits)
    y, x = np.indices(bits.shape)
    every = np.hypot(y[..., None] - rows, x[..., None] - columns)
    return np.asarray(every.min(axis=2))


@pytest.mark.parametrize("roi", [Roi(0.3, 0.3, 0.3, 0.3), Roi(-0.2, 0.7, 0.5, 0.5)])
def test_halo_fades_with_the_distance(roi: Roi) -> None:
    radius_px, alpha = 8.0, 0.8
    mask = Mask.from_bits(np.eye(5, dtype=bool), roi, size_px=(60, 40))
    image = np.full((40, 60, 3), 50, np.uint8)
    out = Halo((250, 250, 250), radius_px, alpha).annotate(image, mask)
    away = distances(mask.paste())
    share = alpha * np.clip(1 - away / (radius_px + 1), 0, 1) ** 2
    share[away == 0] = 0
    expected = 50 + 200 * share
    assert np.abs(out[..., 0] - expected).max() < 12  # OpenCV's distances are within some percent
    assert np.array_equal(out[away == 0], image[away == 0])
    assert np.array_equal(out[away > radius_px + 2], image[away > radius_px + 2])
    assert (out[(away > 0) & (away < 3)] > 100).all()


def test_blur_leaves_a_plain_wall_as_it_is() -> None:
    image = np.full((80, 120, 3), (200, 120, 40), np.uint8)
    out = BlurOutside(6).annotate(image, disc())
    assert np.abs(out.astype(int) - image).max() <= 2


def test_the_objects_colours_do_not_run_into_the_blur() -> None:
    image = np.full((80, 120, 3), 90, np.uint8)
    inside = disc().paste()
    image[inside] = (255, 0, 0)
    out = BlurOutside(8).annotate(image, disc())
    assert np.abs(out[~inside].astype(int) - 90).max() <= 4
    assert (out[inside] == (255, 0, 0)).all()


@pytest.mark.parametrize("sigma_px", [1, 3, 12])
def test_blur_spreads_as_far_as_it_says(sigma_px: float) -> None:
    image = np.zeros((90, 240, 3), np.uint8)
    image[:, 120:] = 200
    row = BlurOutside(sigma_px).annotate(image, nothing((240, 90)))[45, :, 0].astype(float) / 200
    share = np.diff(row)
    centre = (np.arange(119.5, 119.5 + 240)[: len(share)] - 119.5) @ share  # mean of the step
    spread = np.sqrt(((np.arange(len(share)) - centre) ** 2) @ share)
    assert abs(centre - 119) < 1.5
    assert 0.8 * sigma_px < spread < 1.3 * sigma_px + 0.5


def test_squares_are_the_means_of_what_is_outside() -> None:
    block_px, image = 7, picture(60, 40)  # neither side is a multiple
    outside = ~disc((60, 40)).paste()
    out = PixelateOutside(block_px).annotate(image, disc((60, 40)))

    def sums(values: NDArray[Any]) -> NDArray[np.float64]:
        padded = np.pad(values.astype(np.float64), ((0, 2), (0, 3), (0, 0)), mode="edge")
        return np.asarray(padded.reshape(6, block_px, 9, block_px, -1).sum(axis=(1, 3)))

    count = sums(outside[..., None])
    means = sums(image * outside[..., None]) / np.maximum(count, 1)
    assert ((count > 0) & (count < block_px**2)).any()
    expected = means.repeat(block_px, axis=0).repeat(block_px, axis=1)[:40, :60]
    assert np.abs(out[outside] - expected[outside]).max() <= 0.5
    whole = PixelateOutside(10_000).annotate(image, nothing((60, 40)))
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) == 1


def test_cut_out_is_the_object_on_a_colour() -> None:
    inside = disc().paste()
    out = CutOut((1, 2, 3)).annotate(picture(), disc())
    assert np.array_equal(out[inside], picture()[inside])
    assert (out[~inside] == (1, 2, 3)).all()
    rgba = disc().cutout(picture())
    assert np.array_equal(rgba[..., :3], CutOut().annotate(picture(), disc()))
    assert np.array_equal(rgba[..., 3], inside * np.uint8(255))


@each
def test_takes_what_a_segmenter_takes(annotator: Annotator) -> None:
    image = picture()
    expected = annotator.annotate(image, disc())
    mirrored = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    frozen = image.copy()
    frozen.flags.writeable = False
    opaque = np.dstack([image, np.full(image.shape[:2], 9, np.uint8)])
    for same in (mirrored, np.asfortranarray(image), frozen, opaque):
        assert np.array_equal(annotator.annotate(same, disc()), expected)


@each
def test_another_pictures_mask_is_refused(annotator: Annotator) -> None:
    with pytest.raises(InputError, match="120 x 80 pixels, got 121 x 80"):
        annotator.annotate(picture(121), disc())
    with pytest.raises(InputError):
        annotator.annotate(None, disc())


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (Overlay, {"color": (0, 0, 256)}),
        (Overlay, {"alpha": 1.5}),
        (Outline, {"line_px": 0}),
        (Outline, {"color": (0, 0)}),
        (Halo, {"radius_px": float("nan")}),
        (Halo, {"alpha": -0.1}),
        (BlurOutside, {"sigma_px": 0.5}),
        (PixelateOutside, {"block_px": -3}),
        (CutOut, {"background": (-1, 0, 0)}),
    ],
)
def test_settings_out_of_range_are_refused(cls: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        cls(**settings)


def test_sizes_follow_the_frame() -> None:
    small, large = Outline((0, 0, 0)), picture(1280, 720)
    wide = small.annotate(large, disc((1280, 720)))
    inside = disc((1280, 720)).paste()
    assert np.array_equal((wide != large).any(axis=2), inside & ~eroded(inside, 4))


def test_importing_it_loads_no_opencv() -> None:
    code = "import sys, picosam_sdk.annotators; print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_benchmark_measures_all_of_them(root: Path) -> None:
    script = root / "benchmarks" / "annotators.py"
    done = subprocess.run(
        [sys.executable, script, "--runs", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)
    assert list(rows) == list(ANNOTATORS)
    for row in rows.values():
        assert set(row) == {"third", "view"}
        assert all(cell["ms"] > 0 and cell["fps"] > 0 for cell in row.values())
