"""What every ROI source must do; a test class to inherit.

::

    from picosam_sdk.testing.contract import RoiSourceContract

    class TestRadar(RoiSourceContract):
        part = RadarTarget
        stale_s = 0.5

        def feed(self, source, now_ns):
            self.radar.send_target(source.config.port)
"""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import pytest

from picosam_sdk.interfaces import RoiSource
from picosam_sdk.testing.part_contract import PartContract, eventually
from picosam_sdk.testing.results import a_result, odd_results
from picosam_sdk.types import Prompt, Roi

__all__ = ["RoiSourceContract"]


class RoiSourceContract(PartContract):
    """Tests of a ROI source.

    Attributes:
        stale_s: how old its input may be; None for one that needs no input, such as a fixed box.
    """

    part: ClassVar[type[RoiSource]]
    stale_s: ClassVar[float | None] = None

    def feed(self, source: Any, now_ns: int) -> None:
        """Gives the source the input that it waits for, measured at ``now_ns``.

        Called again if the input may have grown stale before the source took it.
        """
        if self.stale_s is not None:
            raise NotImplementedError("say how to give the source its input")

    def feed_outside(self, source: Any, now_ns: int) -> None:
        """Gives it a place outside the view; only for a source that can be given one."""
        pytest.skip("this source cannot be given a place outside the view")

    def test_gives_a_prompt_inside_the_view(self, opened: RoiSource) -> None:
        prompt = self._fed(opened)
        assert prompt.roi is None or prompt.roi.overlaps_view()
        assert prompt.timestamp_ns <= time.monotonic_ns()

    def test_without_input_it_gives_none(self, opened: RoiSource) -> None:
        if self.stale_s is None:
            assert opened.latest(time.monotonic_ns()) is not None, "it needs no input"
        else:
            assert opened.latest(time.monotonic_ns()) is None

    def test_stale_input_gives_none(self, opened: RoiSource) -> None:
        now_ns = time.monotonic_ns()
        self._fed(opened)
        later_ns = time.monotonic_ns() + int(1e9 * (self.stale_s or 3600)) + 1
        if self.stale_s is None:
            assert opened.latest(later_ns) is not None, "it is timeless"
        else:
            assert opened.latest(later_ns) is None
            assert later_ns > now_ns

    def test_a_place_outside_the_view_gives_none(self, opened: RoiSource) -> None:
        self._fed(opened)
        self.feed_outside(opened, time.monotonic_ns())
        assert eventually(lambda: opened.latest(time.monotonic_ns()) is None, self.wait_s)

    def test_opened_again_it_does_not_remember(self, opened: RoiSource) -> None:
        first = self._fed(opened)
        opened.close()
        opened.open()
        again = _prompt(opened.latest(time.monotonic_ns()))
        if self.stale_s is not None:
            assert again is None
            return
        assert again is not None
        place = (again.roi, again.point, again.region)
        assert place == (first.roi, first.point, first.region), "it begins anew"

    def test_never_blocks(self, opened: RoiSource) -> None:
        began = time.monotonic()
        for index in range(50):
            opened.latest(time.monotonic_ns())
            opened.observe(a_result(index))
        assert time.monotonic() - began < 2

    @pytest.mark.parametrize("odd", list(odd_results()))
    def test_bears_results_of_a_bad_day(self, opened: RoiSource, odd: str) -> None:
        opened.observe(odd_results()[odd])
        prompt = _prompt(opened.latest(time.monotonic_ns()))
        if prompt is not None and prompt.roi is not None:
            assert prompt.roi.overlaps_view()

    def test_is_not_led_by_its_own_absence(self, opened: RoiSource) -> None:
        """Results without a mask, over and over, never bring a prompt about."""
        before = opened.latest(time.monotonic_ns()) is not None
        for _ in range(20):
            opened.observe(odd_results()["no prompt"])
        assert (opened.latest(time.monotonic_ns()) is not None) <= before

    def _fed(self, source: RoiSource) -> Prompt:
        """Feeds it, and waits until it has a prompt."""
        given: list[Prompt] = []

        def ask() -> bool:
            prompt = _prompt(source.latest(time.monotonic_ns()))
            given.extend([] if prompt is None else [prompt])
            return prompt is not None

        deadline = time.monotonic() + self.wait_s
        while not given:
            assert time.monotonic() < deadline, "it gives no prompt for its input"
            self.feed(source, time.monotonic_ns())
            eventually(ask, self.wait_s if self.stale_s is None else min(self.stale_s, self.wait_s))
        return given[0]


def _prompt(answer: Prompt | Roi | None) -> Prompt | None:
    """The answer of a source as a prompt, checked."""
    assert answer is None or isinstance(answer, (Prompt, Roi))
    prompt = Prompt(roi=answer) if isinstance(answer, Roi) else answer
    if prompt is not None and prompt.point is not None:
        assert all(math.isfinite(value) for value in prompt.point)
    return prompt
