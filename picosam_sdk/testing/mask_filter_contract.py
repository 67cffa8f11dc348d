"""What every mask filter must do; a test class to inherit.

::

    from picosam_sdk.testing.contract import MaskFilterContract

    class TestLargestPart(MaskFilterContract):
        part = LargestPart
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from picosam_sdk.interfaces import MaskFilter
from picosam_sdk.mask import Mask
from picosam_sdk.testing.part_contract import PartContract
from picosam_sdk.testing.results import SIZE_PX, a_mask, odd_results
from picosam_sdk.types import Roi

__all__ = ["MaskFilterContract"]

_FRAME_NS = 33_000_000


class MaskFilterContract(PartContract):
    """Tests of a mask filter."""

    part: ClassVar[type[MaskFilter]]

    def test_a_mask_keeps_its_place(self, opened: MaskFilter) -> None:
        """What was not looked at in this frame cannot become part of its mask."""
        given = 0
        for index, mask in enumerate(_sequence()):
            out = opened.apply(mask, index * _FRAME_NS)
            if out is not None:
                given += 1
                assert (out.roi, out.prompt, out.size_px) == (mask.roi, mask.prompt, mask.size_px)
                assert 0 <= out.score <= 1
        assert given, "it withholds everything"

    def test_changes_nothing_in_its_input(self, opened: MaskFilter) -> None:
        masks = _sequence()
        before = [mask.logits.copy() for mask in masks]
        for index, mask in enumerate(masks):
            opened.apply(mask, index * _FRAME_NS)
        for mask, logits in zip(masks, before, strict=True):
            assert np.array_equal(mask.logits, logits)

    def test_an_empty_mask_alone_stays_empty(self, opened: MaskFilter) -> None:
        out = opened.apply(_empty(), 0)
        assert out is None or out.bbox() is None

    def test_after_a_reset_nothing_of_before_is_left(self, opened: MaskFilter) -> None:
        fresh = self._run(opened)
        opened.reset()
        out = opened.apply(_empty(), len(fresh) * _FRAME_NS)
        assert out is None or out.bbox() is None
        opened.reset()
        assert _same(self._run(opened), fresh)

    def test_opened_again_it_does_not_remember(self, opened: MaskFilter) -> None:
        fresh = self._run(opened)
        opened.close()
        opened.open()
        assert _same(self._run(opened), fresh)

    @pytest.mark.parametrize("odd", [key for key, r in odd_results().items() if r.mask is not None])
    def test_bears_masks_of_a_bad_day(self, opened: MaskFilter, odd: str) -> None:
        mask = odd_results()[odd].mask
        assert mask is not None
        for index, one in enumerate([a_mask(), mask, a_mask(x=0.51)]):
            out = opened.apply(one, index * _FRAME_NS)
            assert out is None or out.size_px == one.size_px

    def test_bears_another_camera_and_another_network(self, opened: MaskFilter) -> None:
        bits = np.zeros((24, 48), bool)
        bits[8:16, 10:30] = True
        other = Mask.from_bits(bits, Roi(0.2, 0.2, 0.6, 0.6), size_px=(64, 64))
        for index, mask in enumerate([a_mask(), other, a_mask(x=0.51)]):
            out = opened.apply(mask, index * _FRAME_NS)
            assert out is None or out.size_px == mask.size_px

    def _run(self, opened: Any) -> list[Mask | None]:
        return [opened.apply(mask, index * _FRAME_NS) for index, mask in enumerate(_sequence())]


def _sequence() -> list[Mask]:
    """Masks of an object that moves a little, and then of one elsewhere."""
    return [
        a_mask(x=0.5, roi=Roi(0.25, 0.25, 0.5, 0.5)),
        a_mask(x=0.51, roi=Roi(0.26, 0.25, 0.5, 0.5)),
        a_mask(x=0.52, roi=Roi(0.27, 0.25, 0.55, 0.5)),
        a_mask(x=0.2, y=0.7, roi=Roi(0.0, 0.5, 0.4, 0.4), score=0.4),
    ]


def _empty() -> Mask:
    roi = Roi(0.25, 0.25, 0.5, 0.5)
    return Mask.from_bits(np.zeros((96, 96), bool), roi, 0.1, SIZE_PX, roi)


def _same(ones: list[Mask | None], others: list[Mask | None]) -> bool:
    return all(
        (one is None and other is None)
        or (one is not None and other is not None and np.array_equal(one.paste(), other.paste()))
        for one, other in zip(ones, others, strict=True)
    )
