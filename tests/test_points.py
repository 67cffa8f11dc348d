"""The rule that chooses among the masks of a point's ladder."""

from __future__ import annotations

import numpy as np
import pytest

from picosam_sdk import Mask, Roi
from picosam_sdk.points import bbox_roi, best, holds


def mask(
    roi: tuple[float, float, float, float], box: tuple[int, int, int, int], score: float = 0.9
) -> Mask:
    """Logits 10 x 10 over ``roi``, positive in columns and rows x0, y0 to x1, y1."""
    logits = np.full((10, 10), -1, np.float32)
    x0, y0, x1, y1 = box
    logits[y0:y1, x0:x1] = 1
    return Mask(logits, Roi(*roi), score, (100, 100))


def test_holds_a_point_inside_and_none_outside_of_mask_or_crop() -> None:
    m = mask((0.2, 0.4, 0.5, 0.5), (2, 0, 6, 3))
    assert holds(m, 0.31, 0.41)
    assert not holds(m, 0.29, 0.41)
    assert not holds(m, 0.31, 0.56)
    assert not holds(m, 0.1, 0.1)
    assert not holds(m, 0.9, 0.95)


def test_the_box_is_in_shares_of_the_view() -> None:
    roi = bbox_roi(mask((0.2, 0.4, 0.5, 0.5), (2, 0, 6, 3)))
    assert (roi.x, roi.y, roi.width, roi.height) == pytest.approx((0.3, 0.4, 0.2, 0.15))


def test_the_surer_the_more_stable_and_the_uncut_one_wins() -> None:
    good = mask((0.3, 0.3, 0.4, 0.4), (1, 1, 9, 9))
    answer = mask((0.34, 0.34, 0.32, 0.32), (0, 0, 10, 10))
    doubtful = mask((0.34, 0.34, 0.32, 0.32), (0, 0, 10, 10), score=0.5)
    assert best([good, good], [doubtful, answer], 0.5, 0.5) is answer
    moved = mask((0.3, 0.3, 0.6, 0.6), (0, 0, 10, 10))  # the second box is not the first one
    assert best([good, good], [moved, answer], 0.5, 0.5) is answer
    cut = mask((0.34, 0.34, 0.32, 0.32), (0, 0, 10, 10))  # runs into all sides of its crop
    assert best([cut, good], [answer, moved], 0.5, 0.5) is moved


def test_the_pictures_own_border_cuts_nothing() -> None:
    whole = mask((0.0, 0.0, 1.0, 1.0), (0, 0, 10, 10))
    assert best([whole], [whole], 0.5, 0.5) is whole


def test_none_holds_the_point() -> None:
    m = mask((0.3, 0.3, 0.4, 0.4), (1, 1, 3, 3))
    assert best([m], [m], 0.6, 0.6) is None
    assert best([], [], 0.5, 0.5) is None
