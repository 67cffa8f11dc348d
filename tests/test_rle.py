"""COCO RLE against pycocotools, round trips, and malformed input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from picosam_sdk import rle
from picosam_sdk.errors import InputError

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


def check_both_ways(mask: np.ndarray[Any, Any]) -> None:
    mine = rle.encode(mask)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert mine == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    for form in (mine, theirs, json.loads(json.dumps(mine))):
        decoded = rle.decode(form)
        assert decoded.dtype == np.bool_
        assert decoded.flags.c_contiguous
        np.testing.assert_array_equal(decoded, mask)


def single(height: int, width: int, row: int, column: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[row, column] = True
    return mask


@settings(max_examples=120)
@given(mask=masks)
def test_random_masks(mask: np.ndarray[Any, Any]) -> None:
    check_both_ways(mask)


@settings(max_examples=40)
@given(mask=masks, rows=st.integers(1, 90), columns=st.integers(1, 90))
def test_random_blocks_have_long_runs(mask: np.ndarray[Any, Any], rows: int, columns: int) -> None:
    check_both_ways(mask.repeat(rows, axis=0).repeat(columns, axis=1))


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((1, 1), np.bool_),
        np.ones((1, 1), np.bool_),
        np.zeros((480, 640), np.bool_),
        np.ones((480, 640), np.bool_),
        np.zeros((1, 77), np.bool_),
        np.ones((77, 1), np.bool_),
        np.arange(33)[None, :] % 2 == 0,
        np.arange(33)[:, None] % 2 == 1,
        np.indices((31, 17)).sum(axis=0) % 2 == 0,
        single(50, 70, 0, 0),
        single(50, 70, 49, 69),
        single(50, 70, 0, 69),
        single(3000, 4000, 1234, 3210),
        np.asfortranarray(single(5, 7, 2, 3)),
        np.tri(40, 60, dtype=np.bool_)[::-1, ::2],
    ],
    ids=lambda mask: f"{mask.shape}-{mask.sum()}",
)
def test_degenerate_masks(mask: np.ndarray[Any, Any]) -> None:
    check_both_ways(mask)


def test_integers_count_as_bits() -> None:
    assert rle.encode(np.array([[0, 255], [7, 0]], np.uint8)) == rle.encode(
        np.array([[False, True], [True, False]])
    )


def test_columns_come_first() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)  # column by column: 00 10 11
    assert rle.encode(mask) == {"size": [2, 3], "counts": "2111"}
    np.testing.assert_array_equal(rle.decode({"size": [2, 3], "counts": [2, 1, 1, 2]}), mask > 0)


@settings(max_examples=60)
@given(mask=masks)
def test_uncompressed_counts(mask: np.ndarray[Any, Any]) -> None:
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0))
    counts = np.diff(edges, prepend=0, append=flat.size)
    for form in (counts.tolist(), tuple(counts.tolist()), counts):
        np.testing.assert_array_equal(rle.decode({"size": mask.shape, "counts": form}), mask)


def test_zero_runs_are_legal() -> None:
    counts = [0, 2, 0, 1, 3, 0]
    expected = np.array([1, 1, 1, 0, 0, 0], np.bool_).reshape(3, 2).T
    np.testing.assert_array_equal(rle.decode({"size": [2, 3], "counts": counts}), expected)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (None, "size"),
        ({}, "size"),
        ([], "size"),
        ({"counts": "4"}, "size"),
        ({"size": [2], "counts": "4"}, "size"),
        ({"size": 4, "counts": "4"}, "size"),
        ({"size": "22", "counts": "4"}, "size"),
        ({"size": [2.0, 2.0], "counts": "4"}, "size"),
        ({"size": [0, 2], "counts": "0"}, "0 x 2"),
        ({"size": [-2, -2], "counts": "4"}, "-2 x -2"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "limit"),
        ({"size": [2, 2]}, "NoneType"),
        ({"size": [2, 2], "counts": 4}, "int"),
        ({"size": [2, 2], "counts": {"a": 1}}, "dict"),
        ({"size": [2, 2], "counts": ""}, "cover 0"),
        ({"size": [2, 2], "counts": []}, "cover 0"),
        ({"size": [2, 2], "counts": "3"}, "cover 3"),
        ({"size": [2, 2], "counts": "41"}, "cover 5"),
        ({"size": [2, 2], "counts": [1, 2]}, "cover 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "negative"),
        ({"size": [2, 2], "counts": "5O"}, "negative"),
        ({"size": [2, 2], "counts": [2**62, 2**62]}, "longer"),
        ({"size": [2, 2], "counts": [2**70]}, "whole number"),
        ({"size": [2, 2], "counts": [2.0, 2.0]}, "whole number"),
        ({"size": [2, 2], "counts": ["2", "2"]}, "whole number"),
        ({"size": [2, 2], "counts": "4 "}, "characters"),
        ({"size": [2, 2], "counts": "4p"}, "characters"),
        ({"size": [2, 2], "counts": b"\xff"}, "characters"),
        ({"size": [2, 2], "counts": "4é"}, "ASCII"),
        ({"size": [2, 2], "counts": "4`"}, "middle"),
        ({"size": [2, 2], "counts": "oooooooooooo0"}, "35 bits"),
    ],
)
def test_malformed(form: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rle.decode(form)
    assert caught.value.hint


@settings(max_examples=150)
@given(
    counts=st.one_of(
        st.text(alphabet=st.characters(min_codepoint=40, max_codepoint=120), max_size=12),
        st.binary(max_size=12),
        st.lists(st.integers(-3, 20), max_size=6),
    ),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_any_input_is_decoded_or_refused(counts: Any, size: tuple[int, int]) -> None:
    try:
        mask = rle.decode({"size": size, "counts": counts})
    except InputError:
        return
    assert mask.shape == size


@pytest.mark.parametrize(
    "mask",
    [None, [[True]], np.zeros((2, 2)), np.zeros(4, np.bool_), np.zeros((2, 2, 1), np.bool_)],
)
def test_encode_refuses_what_is_no_mask(mask: Any) -> None:
    with pytest.raises(InputError, match="bool"):
        rle.encode(mask)


def test_encode_refuses_no_pixels() -> None:
    with pytest.raises(InputError, match="1 x 1"):
        rle.encode(np.zeros((0, 5), np.bool_))
