"""The retained state: the newest of each region, under ids that topics and templates can hold."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from picosam_mqtt.state import WHOLE, StateBook, region_id

from picosam_sdk import Frame, Mask, Roi
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result


def _message(region: str = "", share: float | None = 0.25, seq: int = 0) -> dict[str, Any]:
    """Of a frame of 200 x 100, of which the object covers a share."""
    mask = None
    if share is not None:
        bits = np.zeros((100, 200), bool)
        bits[:, : round(share * 200)] = True
        mask = Mask.from_bits(bits, Roi(0, 0, 1, 1), score=0.75)
    result = Result(Frame(None, 0), mask, None, region=region)
    return encode_result(result, device="desk", session="s", seq=seq)


def test_it_shows_the_newest_of_each_region() -> None:
    book = StateBook()
    assert book.update(_message("left", 0.25))
    assert book.update(_message("right", None, seq=1))
    assert not book.update(_message("left", 0.5, seq=2))
    state = json.loads(json.dumps(book.message(), allow_nan=False))
    assert (state["device"], state["session"], state["seq"]) == ("desk", "s", 2)
    left, right = state["regions"]["left"], state["regions"]["right"]
    assert state["present"]
    assert (left["present"], left["score"], left["area"], left["area_px"]) == (
        True, 0.75, 0.5, 10_000,
    )  # fmt: skip
    assert (right["present"], right["score"], right["area"]) == (False, None, None)


def test_an_empty_mask_is_no_object() -> None:
    book = StateBook()
    book.update(_message("", 0.0))
    state = book.message()
    assert not state["present"]
    assert state["regions"][WHOLE]["score"] is None


def test_regions_that_are_known_are_listed_from_the_start() -> None:
    book = StateBook(("shelf 2", ""))
    assert sorted(book.regions.values()) == ["", "shelf 2"]
    assert not book.message()["present"]
    assert not book.update(_message("shelf 2"))
    assert book.message()["present"]


def test_regions_without_end_do_not_fill_the_memory() -> None:
    book = StateBook(max_regions=3)
    assert [book.update(_message(str(i))) for i in range(5)] == [True, True, True, False, False]
    assert len(book.regions) == 3
    assert not book.update(_message("1", None))
    assert not book.message()["regions"]["1"]["present"]


@given(st.text(), st.text())
def test_ids_are_plain_and_never_shared(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,64}", region_id(one))
    assert (region_id(one) == region_id(other)) == (one == other)


def test_ids_of_plain_names_are_the_names() -> None:
    assert region_id("") == "view"
    assert region_id("shelf_2") == "shelf_2"
    assert region_id("shelf 2").startswith("shelf_2_")
    assert region_id(region_id("shelf 2")) != region_id("shelf 2")
    assert region_id(region_id("!")) != region_id("!")
    assert len({region_id(name) for name in ("view", "", "Shelf 2", "shelf 2", "shelf_2")}) == 5
