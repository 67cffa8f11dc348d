"""A prompt set by hand, and how long it counts."""

from __future__ import annotations

from typing import Any

import pytest

from picosam_sdk import ConfigError, Context, Prompt, Roi
from picosam_sdk.rois.manual import ManualConfig, ManualSource
from picosam_sdk.testing.contract import RoiSourceContract

BOX = Roi(0.1, 0.1, 0.3, 0.3)
S = 10**9


class TestManual(RoiSourceContract):
    part = ManualSource
    stale_s = 10.0

    def feed(self, source: Any, now_ns: int) -> None:
        source.context.prompt.put(Prompt(roi=BOX, timestamp_ns=now_ns))

    def feed_outside(self, source: Any, now_ns: int) -> None:
        source.context.prompt.put(Prompt(roi=Roi(1.5, 0.1, 0.3, 0.3), timestamp_ns=now_ns))


def _source(max_age_s: float = 2.0) -> ManualSource:
    source = ManualSource(ManualConfig(max_age_s), Context())
    source.open()
    return source


def test_a_prompt_counts_until_it_is_old() -> None:
    source = _source()
    source.context.prompt.put(Prompt(point=(0.5, 0.5), timestamp_ns=5 * S, region="cup"))
    assert source.latest(7 * S) == Prompt(point=(0.5, 0.5), timestamp_ns=5 * S, region="cup")
    assert source.latest(7 * S + 1) is None


def test_one_without_a_time_counts_from_when_it_is_seen() -> None:
    source = _source()
    source.context.prompt.put(Prompt(roi=BOX))
    assert source.latest(5 * S) == Prompt(roi=BOX, timestamp_ns=5 * S)
    assert source.latest(7 * S) is not None
    assert source.latest(7 * S + 1) is None
    source.context.prompt.put(Prompt(roi=BOX))
    assert source.latest(9 * S) == Prompt(roi=BOX, timestamp_ns=9 * S)


def test_without_a_limit_it_stays_until_it_is_taken_back() -> None:
    source = _source(max_age_s=0)
    source.context.prompt.put(Prompt(roi=BOX, timestamp_ns=1))
    assert source.latest(10**6 * S) is not None
    source.context.prompt.put(None)
    assert source.latest(10**6 * S) is None


def test_a_date_in_the_future_gives_none() -> None:
    source = _source()
    source.context.prompt.put(Prompt(roi=BOX, timestamp_ns=6 * S))
    assert source.latest(5 * S) is None
    prompt = source.latest(6 * S - 50_000_000)
    assert prompt == Prompt(roi=BOX, timestamp_ns=6 * S - 50_000_000), "clocks differ a little"


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_limit_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"^max_age_s: "):
        ManualConfig(value)
