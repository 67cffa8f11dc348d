"""The crop rule and its inverse, held together."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picosam_sdk import geometry
from picosam_sdk.errors import InputError
from picosam_sdk.types import PAPER_RULE, Box, CropRule, Roi

rules = st.builds(CropRule, st.sampled_from([64, 96, 128]), st.floats(0, 0.5), st.booleans())


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """A filled polygon or ellipse of any shape, size and place, at times over the border."""
    width, height = draw(st.integers(8, 500)), draw(st.integers(8, 500))
    cx, cy = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    a, b = draw(st.integers(1, width)), draw(st.integers(1, height))
    picture = np.zeros((height, width), dtype=np.uint8)
    if draw(st.booleans()):
        cv2.ellipse(picture, (cx, cy), (a, b), draw(st.integers(0, 179)), 0, 360, 1, -1)
    else:
        angles = np.sort(draw(st.lists(st.floats(0, 6.28), min_size=3, max_size=8)))
        corners = np.stack([cx + a * np.cos(angles), cy + b * np.sin(angles)], axis=1)
        cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], 1)
    picture[cy, cx] = 1
    return picture > 0


def roi_of(mask: np.ndarray[Any, Any]) -> Roi:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    size = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    return Roi.from_pixels(columns[0], rows[0], *size, mask)


def there_and_back(mask: np.ndarray[Any, Any], rule: CropRule) -> tuple[np.ndarray[Any, Any], Box]:
    height, width = mask.shape
    box = geometry.crop_box(roi_of(mask), width, height, rule)
    signed = mask.astype(np.float32) * 2 - 1
    logits = geometry.resize(signed[box.y0 : box.y1, box.x0 : box.x1], rule.size_px, rule.size_px)
    return geometry.paste(logits, box, width, height), box


def iou(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


@settings(max_examples=40)
@given(mask=blobs(), rule=rules)
def test_paste_is_the_inverse_of_crop(mask: np.ndarray[Any, Any], rule: CropRule) -> None:
    """A pixel is lost along the outline at most: of the crop or of the picture, the larger one."""
    pasted, box = there_and_back(mask, rule)
    padded = np.pad(mask.view(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    outline_px = np.count_nonzero(mask & ~inner)
    scale = max(1.0, max(box.width, box.height) / rule.size_px)
    assert np.count_nonzero(pasted ^ mask) <= scale * outline_px


@settings(max_examples=25)
@given(
    width=st.integers(10, 600),
    shape=st.floats(0.5, 2),
    square=st.booleans(),
)
def test_an_ellipse_survives(width: int, shape: float, square: bool) -> None:
    """IoU of 0.97 or more up to a box of 1200 px, twelve times the crop."""
    height = round(width * shape)
    mask = np.zeros((height + 50, width + 90), dtype=np.uint8)
    axes = (width // 2, height // 2)
    cv2.ellipse(mask, (width // 2 + 20, height // 2 + 30), axes, 0, 0, 360, 1, -1)
    pasted, _ = there_and_back(mask > 0, CropRule(96, 0.1, square))
    assert iou(pasted, mask > 0) >= 0.97


def test_an_asymmetric_target_is_neither_transposed_nor_mirrored() -> None:
    mask = np.zeros((200, 300), dtype=np.bool_)  # an F, wider than high
    mask[40:160, 50:80] = mask[40:70, 50:250] = mask[90:110, 50:150] = True
    pasted, box = there_and_back(mask, CropRule(96, 0.1, False))
    assert iou(pasted, mask) > 0.95
    assert box == Box(30, 28, 270, 172)
    image = np.zeros((200, 300, 3), dtype=np.uint8)
    image[:, :, 0] = np.arange(200)[:, None]  # red grows downwards
    image[:, :, 1] = (np.arange(300) // 2)[None, :]  # green grows to the right
    crop = geometry.crop(image, box, 96).astype(int)
    assert crop.shape == (96, 96, 3)
    assert (np.diff(crop[:, 48, 0]) > 0).all()
    assert (np.diff(crop[48, :, 1]) >= 0).all()
    assert crop[0, 0, 0] == pytest.approx(28.25, abs=1)
    assert crop[48, 95, 1] == pytest.approx(134, abs=1)


@settings(max_examples=150)
@given(
    roi=st.builds(Roi, st.floats(-2, 2), st.floats(-2, 2), st.floats(1e-6, 3), st.floats(1e-6, 3)),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    rule=rules,
)
def test_the_crop_box_holds_the_roi_and_is_never_empty(
    roi: Roi, width: int, height: int, rule: CropRule
) -> None:
    if not roi.overlaps_view():
        with pytest.raises(InputError, match="overlaps the picture"):
            geometry.crop_box(roi, width, height, rule)
        return
    box = geometry.crop_box(roi, width, height, rule)
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    inner = roi.to_pixels(width, height)
    # but for one pixel, where a ROI of less than a pixel is rounded to another one
    assert box.x0 <= inner.x0 + 1
    assert box.x1 >= inner.x1 - 1
    assert box.y0 <= inner.y0 + 1
    assert box.y1 >= inner.y1 - 1
    assert geometry.region_of(box, width, height).to_pixels(width, height) == box


def test_a_padded_roi_outside_the_picture_is_still_refused() -> None:
    with pytest.raises(InputError, match="overlaps the picture"):
        geometry.crop_box(Roi(-0.2, 0.1, 0.2, 0.2), 100, 100, CropRule(96, 1.0))


def test_the_papers_rule() -> None:
    # 200 x 100 at (300, 200): 10 % on each side is 240 x 120, square 240 x 240, centre (400, 250).
    roi = Roi.from_pixels(300, 200, 200, 100, (640, 480))
    assert geometry.crop_box(roi, 640, 480, PAPER_RULE) == Box(280, 130, 520, 370)
    assert geometry.crop_box(roi, 640, 480, CropRule(96, 0.1, False)) == Box(280, 190, 520, 310)
    corner = Roi.from_pixels(0, 0, 100, 100, (640, 480))  # clipped, so no longer square about it
    assert geometry.crop_box(corner, 640, 480, PAPER_RULE) == Box(0, 0, 110, 110)


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    new=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    value=st.integers(0, 255),
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_resize_keeps_shape_type_and_a_flat_colour_and_writes_where_told(
    size: tuple[int, int], new: tuple[int, int], value: int, dtype: type
) -> None:
    (width, height), (new_width, new_height) = size, new
    array = np.full((height, width, 3), value, dtype)
    out = np.empty((2, new_height, new_width, 3), dtype=dtype)
    returned = geometry.resize(array, new_width, new_height, out[1])
    assert np.shares_memory(returned, out)
    for result in (geometry.resize(array, new_width, new_height), returned, out[1]):
        assert result.shape == (new_height, new_width, 3)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, value, rtol=1e-5)


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(96, 1000), st.integers(96, 1000)),
    seed=st.integers(0, 2**16),
)
def test_shrinking_is_close_to_the_exact_mean_over_areas(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (12, 12, 3)).astype(np.float32)
    array = cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC)
    exact = cv2.resize(array, (96, 96), interpolation=cv2.INTER_AREA)
    error = np.abs(geometry.resize(array, 96, 96) - exact)
    assert (
        error.mean() < 7
    )  # of 256 levels; odd lengths lose a last pixel, and shift by one at most
    assert abs(float(array.mean() - exact.mean())) < 2


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    grow=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_growing_is_bilinear(size: tuple[int, int], grow: tuple[int, int]) -> None:
    array = np.random.default_rng(0).random((size[1], size[0]), np.float32)
    new = (size[0] + grow[0], size[1] + grow[1])
    expected = cv2.resize(array, new, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(geometry.resize(array, *new), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_stripe_pattern_is_averaged_though_the_other_axis_grows(axis: int) -> None:
    stripes = np.indices((960, 960))[axis] % 2 * 200
    part = stripes[:, :40] if axis == 0 else stripes[:40, :]  # 960 -> 96 and 40 -> 96
    result = geometry.resize(part.astype(np.float32), 96, 96)
    np.testing.assert_allclose(result, 100, atol=1e-3)


def test_a_small_patch_keeps_its_place_and_mean_when_scaled_by_eight() -> None:
    image = np.zeros((768, 768, 3), dtype=np.uint8)
    image[80:88, 400:408] = 180  # crop pixel (row 10, column 50)
    crop = geometry.crop(image, Box(0, 0, 768, 768), 96)
    assert crop[10, 50].tolist() == [180, 180, 180]
    assert int(crop.astype(int).sum()) == 3 * 180


def test_crop_takes_views_and_writes_into_a_batch() -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    image.flags.writeable = False
    batch = np.zeros((3, 96, 96, 3), dtype=np.uint8)
    box = Box(5, 7, 155, 110)
    expected = geometry.crop(image, box, 96)
    assert np.shares_memory(geometry.crop(image, box, 96, batch[1]), batch)
    np.testing.assert_array_equal(batch[1], expected)
    assert not batch[0].any()
    assert not batch[2].any()
    swapped = np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1]  # as BGR is often turned round
    np.testing.assert_array_equal(geometry.crop(swapped, box, 96), expected)
    np.testing.assert_array_equal(geometry.crop(np.asfortranarray(image), box, 96), expected)


def test_paste_is_false_outside_its_box_and_honours_the_threshold() -> None:
    box = Box(3, 5, 9, 8)
    pasted = geometry.paste(np.full((4, 4), 2, np.float32), box, 20, 10)
    expected = np.zeros((10, 20), np.bool_)
    expected[5:8, 3:9] = True
    np.testing.assert_array_equal(pasted, expected)
    assert not geometry.paste(np.full((4, 4), 2, np.float32), box, 20, 10, threshold=2).any()


@settings(max_examples=80)
@given(
    x=st.floats(0, 1, exclude_max=True),
    y=st.floats(0, 1, exclude_max=True),
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
)
def test_point_rois_are_squares_around_the_point(
    x: float, y: float, width: int, height: int
) -> None:
    sides = (0.12, 0.5, 1.0)
    rois = geometry.point_rois(x, y, width / height, sides)
    for roi, side in zip(rois, sides, strict=True):
        assert roi.center == pytest.approx((x, y))
        assert roi.width * width == pytest.approx(side * min(width, height))
        assert roi.height * height == pytest.approx(side * min(width, height))
        box = roi.to_pixels(width, height)
        for low, high, at in ((box.x0, box.x1, x * width), (box.y0, box.y1, y * height)):
            assert low - 0.5 <= at <= high + 0.5


@pytest.mark.parametrize(
    "point", [(-0.01, 0.5), (0.5, 1.0), (float("nan"), 0.5), (0.5, float("inf"))]
)
def test_point_rois_refuse_a_point_outside(point: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="inside the picture"):
        geometry.point_rois(*point, 1.5, (0.5,))
