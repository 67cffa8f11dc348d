"""Mask filters that are each wrong in one way, and the test of the contract that must notice it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from picosam_sdk import Mask, MaskFilter, Roi
from picosam_sdk.testing.contract import MaskFilterContract


class GoodFilter(MaskFilter):
    """Gives the union with the mask before."""

    name = "good"
    last: Any = None

    def apply(self, mask: Mask, now_ns: int) -> Mask | None:
        last, self.last = self.last, mask.logits
        if last is None or last.shape != mask.logits.shape:
            return mask
        return replace(mask, logits=np.maximum(last, mask.logits))

    def reset(self) -> None:
        self.last = None

    def close(self) -> None:
        self.last = None


class FilterCase(MaskFilterContract):
    part = GoodFilter


class BrokenPlace(FilterCase):
    fails = "test_a_mask_keeps_its_place"

    class part(GoodFilter):  # noqa: N801
        def apply(self, mask: Mask, now_ns: int) -> Mask | None:
            return replace(mask, roi=Roi(0, 0, 1, 1))


class BrokenInput(FilterCase):
    fails = "test_changes_nothing_in_its_input"

    class part(GoodFilter):  # noqa: N801
        def apply(self, mask: Mask, now_ns: int) -> Mask | None:
            object.__setattr__(mask, "logits", mask.logits - 1)
            return mask


class BrokenDream(FilterCase):
    fails = "test_an_empty_mask_alone_stays_empty"

    class part(GoodFilter):  # noqa: N801
        def apply(self, mask: Mask, now_ns: int) -> Mask | None:
            return replace(mask, logits=mask.logits + 20)


class BrokenReset(FilterCase):
    fails = "test_after_a_reset_nothing_of_before_is_left"

    class part(GoodFilter):  # noqa: N801
        def reset(self) -> None:
            pass


class BrokenFilterMemory(FilterCase):
    fails = "test_opened_again_it_does_not_remember"

    class part(GoodFilter):  # noqa: N801
        def close(self) -> None:
            pass


class BrokenByEmpty(FilterCase):
    fails = "test_bears_masks_of_a_bad_day"

    class part(GoodFilter):  # noqa: N801
        def apply(self, mask: Mask, now_ns: int) -> Mask | None:
            assert mask.bbox() is not None
            return super().apply(mask, now_ns)


class BrokenByShape(FilterCase):
    fails = "test_bears_another_camera_and_another_network"

    class part(GoodFilter):  # noqa: N801
        def apply(self, mask: Mask, now_ns: int) -> Mask | None:
            last, self.last = self.last, mask.logits
            return mask if last is None else replace(mask, logits=np.maximum(last, mask.logits))
