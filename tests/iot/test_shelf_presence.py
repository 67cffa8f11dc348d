"""Whether something stands there: what makes a place occupied, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picosam_sdk import Mask, Roi

ROI = Roi(0.2, 0.2, 0.4, 0.4)
SIZE_PX = (640, 480)


def blob(x: float, y: float, radius: float, score: float = 0.8, roi: Roi = ROI) -> Mask:
    """A disc at a place of the crop, all as shares of it."""
    rows, columns = np.mgrid[0:96, 0:96] / 96
    inside = radius - np.hypot(columns - x, rows - y)
    return Mask((inside * 60).astype(np.float32), roi, score, SIZE_PX)


WALL = blob(0.5, 0.5, 0.6, 0.92)  # what the network says of an empty place: nearly all of it
CUP = blob(0.4, 0.6, 0.2, 0.75)
POT = blob(0.45, 0.55, 0.32, 0.75)


def tell(place: Any, *masks: Mask) -> list[str]:
    return [event for event in map(place.look, masks) if event]


@pytest.fixture
def place(shelf: Any) -> Any:
    """A place that has learnt to be empty."""
    place = shelf.presence.Place(shelf.presence.Rules())
    assert tell(place, *[WALL] * 8) == []
    assert place.empty is not None
    return place


def test_what_is_put_there_enters_once_changes_once_and_leaves_once(place: Any) -> None:
    assert tell(place, *[CUP] * 20) == ["enter"]
    assert place.present
    assert place.area_px == CUP.area_px
    assert tell(place, *[POT] * 20) == ["change"]
    assert place.area_px == POT.area_px
    assert tell(place, *[WALL] * 20) == ["leave"]
    assert not place.present
    assert place.area_px == 0


def test_the_score_does_not_matter_the_change_does(place: Any) -> None:
    """An empty wall has a better score than a cup."""
    assert WALL.score > CUP.score
    assert place.empty.evidence(WALL) < 0.01
    assert place.empty.evidence(CUP) > 0.5


def test_flicker_is_no_event(place: Any) -> None:
    assert tell(place, *[CUP, CUP, CUP, WALL] * 10) == []
    assert tell(place, *[CUP] * 5) == ["enter"]
    assert tell(place, *[WALL, WALL, WALL, CUP] * 10) == []
    assert tell(place, *[POT, POT, POT, CUP] * 10) == []


def test_an_arm_that_moves_is_no_event(place: Any) -> None:
    arm = [blob(x, 0.5, 0.25) for x in np.tile(np.linspace(0.1, 0.9, 6), 5)]
    assert tell(place, *arm) == []
    assert min(place.empty.evidence(mask) for mask in arm) > place.rules.enter


def test_an_unsure_answer_says_little(place: Any, shelf: Any) -> None:
    empty = shelf.presence.Empty(WALL.probabilities, 0.2, ROI)
    assert empty.evidence(blob(0.4, 0.6, 0.2, 0.2)) < 0.25 * place.empty.evidence(CUP) + 0.05


def test_slow_daylight_is_learnt(place: Any) -> None:
    """The empty answer drifts further than an object would have to change it at once."""
    learnt = replace(place.empty)
    drift = [blob(0.5, 0.5, radius, 0.92) for radius in np.linspace(0.6, 0.48, 200)]
    assert tell(place, *drift) == []
    assert tell(place, *[drift[-1]] * 10) == []
    assert place.evidence < place.rules.leave
    assert learnt.evidence(drift[-1]) > place.rules.enter


def test_what_stood_there_while_the_light_changed_can_leave(place: Any) -> None:
    tell(place, *[CUP] * 5)
    darker = blob(0.5, 0.5, 0.53, 0.9)
    assert place.rules.leave < place.empty.evidence(darker) < 0.3
    assert tell(place, *[darker] * 20) == ["leave"]


def test_what_is_not_steady_is_not_learnt(shelf: Any) -> None:
    place = shelf.presence.Place(shelf.presence.Rules())
    assert tell(place, *[WALL, CUP] * 20) == []
    assert place.empty is None
    tell(place, *[WALL] * 8)
    assert place.empty is not None


def test_another_box_is_learnt_anew(place: Any) -> None:
    elsewhere = Roi(0.5, 0.2, 0.4, 0.4)
    assert tell(place, blob(0.4, 0.6, 0.2, roi=elsewhere)) == []
    assert place.empty is None
    tell(place, *[blob(0.5, 0.5, 0.6, roi=elsewhere)] * 8)
    assert place.empty.roi == elsewhere


def test_what_is_known_of_empty_places_is_stored(place: Any, shelf: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.npz"
    learning = shelf.presence.Place(shelf.presence.Rules())
    shelf.presence.save(path, {"left": place, "right": learning})
    known = shelf.presence.load(path)
    assert list(known) == ["left"]
    assert known["left"].roi == ROI
    assert known["left"].score == pytest.approx(place.empty.score)
    np.testing.assert_allclose(known["left"].probabilities, WALL.probabilities, atol=1e-3)
    restarted = shelf.presence.Place(shelf.presence.Rules(), known["left"])
    assert tell(restarted, *[CUP] * 5) == ["enter"], "it needs not be empty at the start"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from([WALL, CUP, POT]), st.integers(1, 6)), max_size=8),
)
def test_events_make_sense_in_any_order(shelf: Any, runs: list[tuple[Mask, int]]) -> None:
    place, present = shelf.presence.Place(shelf.presence.Rules()), False
    tell(place, *[WALL] * 8)
    for mask, count in runs:
        for event in tell(place, *[mask] * count):
            assert (event == "enter") == (not present)
            present = event != "leave"
            assert present == (mask is not WALL)
        assert place.present == present
        assert (place.area_px > 0) == present
        assert 0 <= place.evidence <= 1
