"""ROI sources that are each wrong in one way, and the test of the contract that must notice it."""

from __future__ import annotations

import time
from typing import Any

from picosam_sdk import Prompt, Roi, RoiSource
from picosam_sdk.testing.contract import RoiSourceContract


class GoodSource(RoiSource):
    name = "good"
    box: Prompt | None = None

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        box = self.box
        if box is None or now_ns - box.timestamp_ns > 500_000_000:
            return None
        if box.roi is not None and not box.roi.overlaps_view():
            return None
        return box

    def close(self) -> None:
        self.box = None


class SourceCase(RoiSourceContract):
    part = GoodSource
    stale_s = 0.5
    wait_s = 0.3

    def feed(self, source: Any, now_ns: int) -> None:
        source.box = Prompt(roi=Roi(0.1, 0.1, 0.5, 0.5), timestamp_ns=now_ns)

    def feed_outside(self, source: Any, now_ns: int) -> None:
        source.box = Prompt(roi=Roi(1.1, 0.1, 0.5, 0.5), timestamp_ns=now_ns)


class BrokenFuture(SourceCase):
    fails = "test_gives_a_prompt_inside_the_view"

    def feed(self, source: Any, now_ns: int) -> None:
        source.box = Prompt(roi=Roi(0.1, 0.1, 0.5, 0.5), timestamp_ns=now_ns + 10**12)


class BrokenDefault(SourceCase):
    fails = "test_without_input_it_gives_none"

    class part(GoodSource):  # noqa: N801
        def latest(self, now_ns: int) -> Prompt | Roi | None:
            return super().latest(now_ns) or Roi(0, 0, 1, 1)


class BrokenStale(SourceCase):
    fails = "test_stale_input_gives_none"

    class part(GoodSource):  # noqa: N801
        def latest(self, now_ns: int) -> Prompt | Roi | None:
            return super().latest(time.monotonic_ns())


class BrokenOutside(SourceCase):
    fails = "test_a_place_outside_the_view_gives_none"

    class part(GoodSource):  # noqa: N801
        def latest(self, now_ns: int) -> Prompt | Roi | None:
            return self.box


class BrokenMemory(SourceCase):
    fails = "test_opened_again_it_does_not_remember"

    class part(GoodSource):  # noqa: N801
        def close(self) -> None:
            pass


class BrokenSlow(SourceCase):
    fails = "test_never_blocks"

    class part(GoodSource):  # noqa: N801
        def latest(self, now_ns: int) -> Prompt | Roi | None:
            time.sleep(0.05)
            return super().latest(now_ns)


class BrokenObserver(SourceCase):
    fails = "test_bears_results_of_a_bad_day"

    class part(GoodSource):  # noqa: N801
        def observe(self, result: Any) -> None:
            assert result.mask.bbox() is not None


class BrokenImagination(SourceCase):
    fails = "test_is_not_led_by_its_own_absence"

    class part(GoodSource):  # noqa: N801
        def observe(self, result: Any) -> None:
            self.box = Prompt(roi=Roi(0, 0, 1, 1), timestamp_ns=time.monotonic_ns())
