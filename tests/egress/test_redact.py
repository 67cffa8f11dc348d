"""What is taken out stays out: measured on pictures of noise and of text."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picosam_sdk import Mask, Roi
from picosam_sdk.egress import redact
from picosam_sdk.types import ImageArray
from tests.egress.scenes import ROI, SIZE_PX, disc, noise

_CELL_PX = 40
_SIDE_PX = redact.BLUR_CELLS * _CELL_PX


def _text(words: str) -> ImageArray:
    """Rows of white text on grey, 240 x 240 px, in letters of 17 px."""
    image = np.full((_SIDE_PX, _SIDE_PX, 3), 90, np.uint8)
    for y in range(24, _SIDE_PX, 26):
        cv2.putText(image, words, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,) * 3, 2)
    return image


def _corner() -> NDArray[np.bool_]:
    bits = np.zeros((_SIDE_PX, _SIDE_PX), bool)
    bits[10:70, 20:90] = True
    return bits


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]))


def test_blurred_picture_depends_on_nothing_but_the_means_of_its_cells() -> None:
    image, bits = noise(_SIDE_PX, _SIDE_PX), _corner()
    rng, shuffled = np.random.default_rng(1), image.copy()
    for y in range(0, _SIDE_PX, _CELL_PX):
        for x in range(0, _SIDE_PX, _CELL_PX):
            cell = np.s_[y : y + _CELL_PX, x : x + _CELL_PX]
            outside = ~bits[cell]
            shuffled[cell][outside] = rng.permutation(shuffled[cell][outside])
    assert (shuffled != image).any(axis=2).mean() > 0.8
    np.testing.assert_array_equal(
        redact.blur_outside(image, bits), redact.blur_outside(shuffled, bits)
    )


@pytest.mark.parametrize("recover", ["stretch", "sharpen", "edges", "deconvolve"])
def test_text_outside_the_mask_is_not_recovered_by_simple_means(recover: str) -> None:
    image = _text("SECRET 4711 SE")
    letters = image[..., 0].astype(np.float32)
    letters -= cv2.blur(letters, (_CELL_PX, _CELL_PX))  # without how bright each place is
    lightly = cv2.blur(image, (4, 4))
    assert _correlation(_recover(lightly, recover, 4), letters) > 0.6  # the means are able to
    hidden = redact.blur_outside(image, np.zeros((_SIDE_PX, _SIDE_PX), bool))
    assert _correlation(_recover(hidden, recover, _CELL_PX), letters) < 0.1


def _recover(image: ImageArray, how: str, blurred_px: int) -> NDArray[Any]:
    """The picture with its contrast stretched, its edges raised, or its blur undone."""
    values = image[..., 0].astype(np.float32)
    if how == "stretch":
        return (values - values.min()) / max(float(np.ptp(values)), 1.0)
    if how in ("sharpen", "edges"):
        edges = values - cv2.GaussianBlur(values, (0, 0), 6)
        return edges if how == "edges" else values + 20 * edges
    kernel = np.zeros_like(values)
    kernel[:blurred_px, :blurred_px] = 1 / blurred_px**2
    response = np.fft.rfft2(np.roll(kernel, (-(blurred_px // 2), -(blurred_px // 2)), (0, 1)))
    wiener = np.conj(response) / (np.abs(response) ** 2 + 0.01)
    return np.fft.irfft2(np.fft.rfft2(values - values.mean()) * wiener, values.shape)


def test_many_masks_over_a_still_scene_show_no_more_than_one() -> None:
    image, nothing = noise(_SIDE_PX, _SIDE_PX), np.zeros((_SIDE_PX, _SIDE_PX), bool)
    hidden = redact.blur_outside(image, nothing)
    for x in range(0, 200, 7):
        bits = np.zeros_like(nothing)
        bits[50:90, x : x + 40] = True
        np.testing.assert_array_equal(redact.blur_outside(image, bits)[~bits], hidden[~bits])


def test_every_pixel_inside_is_exact_and_none_outside() -> None:
    image, bits = noise(), disc().paste()
    cut, blurred = redact.cutout(image, bits), redact.blur_outside(image, bits)
    np.testing.assert_array_equal(cut[bits], image[bits])
    np.testing.assert_array_equal(blurred[bits], image[bits])
    assert not cut[~bits].any()
    assert (blurred[~bits] == image[~bits]).mean() < 0.02  # by chance
    assert not np.shares_memory(cut, image)
    assert not np.shares_memory(blurred, image)


@given(st.integers(1, 40), st.floats(0.05, 0.6), st.floats(0, 1), st.floats(0, 1))
def test_a_coarse_cell_counts_when_half_of_it_is_covered(
    cells: int, radius: float, x: float, y: float
) -> None:
    fine = disc(radius, Roi(0.13, 0.2, 0.61, 0.7), (x, y))
    coarse = redact.coarsen(fine, cells)
    assert coarse.logits.shape == (cells, cells)
    assert (coarse.roi, coarse.prompt, coarse.size_px) == (Roi(0, 0, 1, 1), None, SIZE_PX)
    full = fine.paste()
    rows, columns = (np.rint(np.linspace(0, px, cells + 1)).astype(int) for px in full.shape)
    for row in range(cells):
        for column in range(cells):
            cell = full[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            assert (coarse.logits[row, column] > 0) == (cell.mean() >= 0.5)


def test_two_shapes_that_cover_the_same_cells_look_the_same() -> None:
    cells = np.zeros((120, 160), bool)
    cells[30:60, 40:80] = True
    frayed = cells.copy()
    frayed[30:60:3, 40:80:2] = False
    roi = Roi(0, 0, 1, 1)
    a = redact.coarsen(Mask.from_bits(cells, roi), 4)
    b = redact.coarsen(Mask.from_bits(frayed, Roi(0, 0, 1, 1), prompt=ROI), 4)
    np.testing.assert_array_equal(a.logits, b.logits)
    assert (a.bbox(), a.area_px, a.rle()) == (b.bbox(), b.area_px, b.rle())


def test_more_cells_than_pixels_are_one_a_pixel() -> None:
    mask = Mask.from_bits(np.eye(6, dtype=bool))
    np.testing.assert_array_equal(redact.coarsen(mask, 50).logits > 0, np.eye(6, dtype=bool))


@given(st.floats(0.05, 0.7), st.floats(-0.2, 1.2), st.floats(-0.2, 1.2))
def test_a_trimmed_mask_is_the_same_object_on_its_own_box(
    radius: float, x: float, y: float
) -> None:
    mask = disc(radius, Roi(0.1, 0.15, 0.71, 0.6), (x, y))
    trimmed = redact.trim(mask)
    whole, kept = mask.paste(), trimmed.paste()
    union = (whole | kept).sum()
    assert union == 0 or (whole & kept).sum() / union > 0.85 or (whole ^ kept).sum() < 40
    assert trimmed.prompt is None


def test_a_trimmed_mask_does_not_show_where_its_roi_was() -> None:
    """The same object seen under two ROIs of the same scale, each with the gaze at its centre."""
    boxes = []
    for shift in (0, 20):  # in logits
        roi = Roi(0.2 + 0.5 * shift / 96, 0.3, 0.5, 0.5)
        mask = disc(0.1, roi, (0.5 - shift / 96, 0.4))
        boxes.append(redact.trim(mask).roi)
    assert boxes[0].iou(boxes[1]) > 0.999
    empty = redact.trim(disc(-1.0, Roi(0.4, 0.4, 0.1, 0.1)))
    assert empty.bbox() is None
    assert empty.roi == Roi(0, 0, 1, 1)


@given(
    st.floats(-0.2, 1), st.floats(-0.2, 1), st.floats(0.02, 1), st.floats(0.02, 1),
    st.floats(0.2, 1.0),
)  # fmt: skip
def test_no_mask_and_no_pixel_reaches_into_a_privacy_mask(
    x: float, y: float, width: float, height: float, radius: float
) -> None:
    zone = Roi(x, y, width, height)
    mask, image = redact.clear_zones(disc(radius), [zone]), np.full((120, 160, 3), 200, np.uint8)
    redact.blank_zones(image, [zone])
    if not zone.overlaps_view():
        return
    box = zone.to_pixels(*SIZE_PX)
    assert not image[box.y0 : box.y1, box.x0 : box.x1].any()
    assert not mask.paste()[box.y0 : box.y1, box.x0 : box.x1].any()


def test_a_privacy_mask_elsewhere_changes_nothing() -> None:
    mask = disc()
    cleared = redact.clear_zones(mask, [Roi(0.0, 0.0, 0.1, 1.0)])
    np.testing.assert_array_equal(cleared.logits, mask.logits)
    assert not np.shares_memory(cleared.logits, mask.logits)
