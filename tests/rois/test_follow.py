"""Following an object: taken up, followed, lost, found again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picosam_sdk import ConfigError, Context, Mask, Prompt, Result, Roi, Segmenter
from picosam_sdk.cameras.synthetic import Scene, SyntheticConfig
from picosam_sdk.config import from_mapping
from picosam_sdk.rois.follow import FollowConfig, FollowSource
from picosam_sdk.testing.contract import RoiSourceContract
from picosam_sdk.testing.results import SIZE_PX, a_mask, a_result, odd_results

FRAME_NS = 33_000_000
FULL = Roi(0, 0, 1, 1)


class TestFollow(RoiSourceContract):
    part = FollowSource
    stale_s = 1.0

    def feed(self, source: Any, now_ns: int) -> None:
        source.observe(a_result(timestamp_ns=now_ns))


class TestFollowWithAStart(RoiSourceContract):
    part = FollowSource

    @pytest.fixture
    def options(self) -> Any:
        return {"start": [0.2, 0.2, 0.4, 0.4]}


def _source(**options: Any) -> FollowSource:
    source = FollowSource(from_mapping(options, FollowConfig), Context())
    source.open()
    return source


def _roi(source: FollowSource, now_ns: int = 0) -> Roi | None:
    prompt = source.latest(now_ns)
    assert prompt is None or isinstance(prompt, Prompt)
    return None if prompt is None else prompt.roi


def _see(source: FollowSource, now_ns: int, mask: Mask | None, **changes: Any) -> None:
    """Shows a result of the source's own prompt."""
    roi = _roi(source, now_ns)
    if mask is not None:
        mask = replace(mask, prompt=roi)
    result = a_result(timestamp_ns=now_ns, **changes)
    source.observe(replace(result, mask=mask, roi=roi))


def _others(source: FollowSource, now_ns: int, mask: Mask, region: str = "") -> None:
    source.observe(a_result(mask=mask, timestamp_ns=now_ns, region=region))


def _box(mask: Mask) -> Roi:
    return Roi.from_pixels(*(mask.bbox() or (0, 0, 0, 0)), mask.size_px)


def test_it_takes_up_what_another_source_found_and_grows_its_box() -> None:
    source, mask = _source(grow=0.25), a_mask()
    assert _roi(source) is None
    _others(source, 5, mask, region="shelf")
    prompt = source.latest(10)
    assert prompt == Prompt(roi=_box(mask).grow(0.25), timestamp_ns=5, region="shelf")


def test_what_is_followed_may_have_a_name_of_its_own() -> None:
    source = _source(region="cup", start=[0, 0, 1, 1])
    assert source.latest(0) == Prompt(roi=FULL, region="cup")
    _others(source, 5, a_mask(), region="row 1 column 2")
    prompt = source.latest(10)
    assert isinstance(prompt, Prompt)
    assert prompt.region == "cup"


def test_the_box_moves_by_less_than_it_should_and_arrives() -> None:
    source = _source(smoothing=0.5, grow=0.0)
    _others(source, 0, a_mask(x=0.4))
    old, new = _box(a_mask(x=0.4)), _box(a_mask(x=0.44))
    _see(source, FRAME_NS, a_mask(x=0.44))
    first = _roi(source, FRAME_NS)
    assert first is not None
    assert first.x == pytest.approx((old.x + new.x) / 2)
    for index in range(2, 12):
        _see(source, index * FRAME_NS, a_mask(x=0.44))
    last = _roi(source, 11 * FRAME_NS)
    assert last is not None
    assert last.x == pytest.approx(new.x, abs=1e-4)


def _bad(mask: str) -> Mask | None:
    whole = np.ones((96, 96), bool)
    return {
        "none": None,
        "empty": odd_results()["empty mask"].mask,
        "unsure": a_mask(score=0.3),
        "tiny": a_mask(side=0.01),
        "everything": Mask.from_bits(whole, FULL, 0.9, SIZE_PX),
        "jump": a_mask(x=0.8, y=0.8, roi=FULL),
    }[mask]


def test_a_prompt_by_hand_that_is_taken_back_ends_it() -> None:
    source = _source()
    source.context.prompt.put(Prompt(roi=FULL))
    _others(source, 0, a_mask())
    assert _roi(source, 0) is not None
    source.context.prompt.put(None)
    _others(source, 1, a_mask())  # the frame that was in work
    assert _roi(source, 1) is None


def test_a_new_prompt_by_hand_ends_it_even_if_it_finds_nothing() -> None:
    source = _source()
    _others(source, 0, a_mask())
    assert _roi(source, 0) is not None
    source.context.prompt.put(Prompt(point=(0.9, 0.9)))
    assert _roi(source, 1) is None
    _others(source, 2, a_mask(x=0.6))
    assert _roi(source, 2) == _box(a_mask(x=0.6)).grow(source.config.grow)


BAD = ["none", "empty", "unsure", "tiny", "everything", "jump"]


@pytest.mark.parametrize("bad", BAD)
def test_misses_in_a_row_are_a_loss_and_the_chain_is_asked(bad: str) -> None:
    source = _source(misses=3)
    _others(source, 0, a_mask())
    before = _roi(source, 0)
    for index in (1, 2):
        _see(source, index * FRAME_NS, _bad(bad))
        assert _roi(source, index * FRAME_NS) == before, "a miss moves nothing"
    _see(source, 3 * FRAME_NS, _bad(bad))
    assert _roi(source, 3 * FRAME_NS) is None
    assert source.stats == {"following": False, "losses": 1}


@pytest.mark.parametrize("bad", BAD)
def test_a_find_between_misses_starts_the_count_anew(bad: str) -> None:
    source = _source(misses=2)
    _others(source, 0, a_mask())
    for index in range(1, 9):
        _see(source, index * FRAME_NS, _bad(bad) if index % 2 else a_mask())
    assert _roi(source, 8 * FRAME_NS) is not None


def test_without_results_it_is_lost_after_a_time() -> None:
    source = _source(max_age_s=0.5)
    _others(source, 0, a_mask())
    assert _roi(source, 500_000_000) is not None
    assert _roi(source, 500_000_001) is None
    assert _roi(source, 0) is None, "what is lost stays lost"


def test_what_is_settling_is_not_looked_at() -> None:
    source = _source(misses=1)
    source.observe(a_result(settling=True))
    assert _roi(source) is None
    _others(source, 0, a_mask())
    _see(source, 1, _bad("empty"), settling=True)
    assert _roi(source, 1) is not None


def test_another_sources_find_replaces_the_object_and_its_misses_do_not_count() -> None:
    source = _source(misses=1, grow=0.0)
    _others(source, 0, a_mask(x=0.4))
    empty = odd_results()["empty mask"].mask
    assert empty is not None
    _others(source, FRAME_NS, empty)
    _others(source, 2 * FRAME_NS, a_mask(x=0.6, y=0.6))
    assert _roi(source, 2 * FRAME_NS) == _box(a_mask(x=0.6, y=0.6))


def test_late_answers_of_a_sensor_lead_nowhere() -> None:
    """A search found A, and B in a place that the sensor had been turned to meanwhile."""
    source, late = _source(grow=0.0, smoothing=0.0, misses=3), 3
    a, b = a_mask(x=0.4), a_mask(x=0.6, y=0.6, roi=Roi(0.5, 0.5, 0.4, 0.4))
    _others(source, 0, a)
    asked: list[Roi | None] = []
    for index in range(20):
        now_ns = (index + 1) * FRAME_NS
        asked.append(_roi(source, now_ns))
        if index < late:
            _others(source, now_ns, b)
        else:
            mask = replace(a, prompt=asked[index - late])
            source.observe(a_result(mask=mask, timestamp_ns=now_ns))
    assert set(asked) == {_box(a)}


def test_a_start_is_prompted_with_until_found_and_again_a_while_after_a_loss() -> None:
    source = _source(start=[10, 20, 30, 40], unit="percent", restart_s=1.0, misses=1)
    start = Roi(0.1, 0.2, 0.3, 0.4)
    assert _roi(source, 0) == start
    source.observe(replace(odd_results()["empty mask"], roi=start))
    assert _roi(source, 1) == start
    mask = replace(a_mask(), prompt=start)
    source.observe(a_result(mask=mask, timestamp_ns=2))
    assert _roi(source, 2) == _box(mask).grow(0.15)
    _see(source, 3, None)
    assert [_roi(source, when) for when in (10, 900_000_000, 1_000_000_010)] == [None, None, start]


def test_a_start_may_be_for_once() -> None:
    source = _source(start=[0.1, 0.1, 0.5, 0.5], restart_s=0, misses=1)
    _others(source, 0, a_mask())
    _see(source, 1, None)
    assert _roi(source, 10**15) is None


def test_the_network_follows_a_moving_object() -> None:
    """The whole circle: prompt, mask, next prompt, through one round of the scene."""
    scene = Scene(SyntheticConfig(size_px=(320, 240), speed=0.3, seed=4))
    source = _source(start=list(_tuple(scene.boxes(0)[0].grow(0.2))))
    ious = []
    with Segmenter() as segmenter:
        for index in range(100):
            now_ns = index * FRAME_NS
            roi = _roi(source, now_ns)
            assert roi is not None, f"lost in frame {index}"
            mask = segmenter.segment(scene.render(index), roi)
            source.observe(a_result(index, mask=mask, timestamp_ns=now_ns))
            truth = scene.truth(index)[0]
            pasted = mask.paste()
            ious.append((pasted & truth).sum() / (pasted | truth).sum())
    assert min(ious) > 0.8


def _tuple(roi: Roi) -> tuple[float, ...]:
    return roi.x, roi.y, roi.width, roi.height


def test_an_object_that_leaves_the_view_is_lost_and_never_the_whole_view() -> None:
    source = _source(misses=2, smoothing=0.0)
    given: list[Roi | None] = []
    _others(source, 0, a_mask(x=0.8, roi=FULL))
    for index in range(1, 20):
        x = 0.8 + 0.02 * index
        mask = a_mask(x=x, roi=FULL) if x < 1.09 else odd_results()["empty mask"].mask
        _see(source, index * FRAME_NS, mask)
        given.append(_roi(source, index * FRAME_NS))
    assert given[-1] is None
    assert all(roi is None or (roi.overlaps_view() and roi.width < 0.5) for roi in given)


@pytest.mark.parametrize(
    "options",
    [{"start": [0, 0, 0, 1]}, {"start": [3, 3, 1, 1]}, {"unit": "px"}, {"restart_s": -1},
     {"grow": 9}, {"smoothing": 1.0}, {"min_score": 2}, {"min_area": 0.9}, {"min_iou": 1.0},
     {"misses": 0}, {"max_age_s": 0}],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(options: Any) -> None:
    key = "size_px" if "unit" in options else next(iter(options))
    with pytest.raises(ConfigError, match=f"^{key}: "):
        from_mapping(options, FollowConfig)


def test_results_are_not_kept() -> None:
    """Only numbers stay: a result may hold what the policy granted for a moment."""
    import gc
    import weakref

    source = _source()
    result: Result | None = a_result()
    assert result is not None
    mask = weakref.ref(result.mask)  # type: ignore[arg-type]
    source.observe(result)
    del result
    gc.collect()
    assert mask() is None
