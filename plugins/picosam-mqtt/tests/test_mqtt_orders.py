"""Orders and gaze as they are read: what is none, what is repeated, and how many a second."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_mqtt.orders import MAX_ORDER_BYTES, OrderError, read_gaze, read_order
from picosam_mqtt.roi import RateLimit


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"roi": [0, 0, 1, 1], "point": [0.5, 0.5]},
        {"roi": [0, 0, 1]},
        {"roi": [0, 0, 1, True]},
        {"roi": [0, 0, 1, "1"]},
        {"roi": [0, 0, -1, 1]},
        {"roi": [100, 100, 200, 200]},  # pixels
        {"roi": {"x": 0}},
        {"point": [0.5]},
        {"clear": False},
        {"clear": 1},
        {"point": [0.5, 0.5], "ttl_s": 0},
        {"point": [0.5, 0.5], "ttl_s": 1e9},
        {"point": [0.5, 0.5], "ttl_s": "5"},
        {"point": [0.5, 0.5], "tll_s": 5},
        {"point": [0.5, 0.5], "id": "x" * MAX_ORDER_BYTES},
    ],
    ids=str,
)
def test_what_is_no_order_is_refused(order: dict[str, Any]) -> None:
    with pytest.raises(OrderError) as refused:
        read_order(json.dumps(order).encode(), 0)
    assert refused.value.reason in ("malformed", "outside")


def test_orders_repeat_an_id_if_it_is_one() -> None:
    for given_id, kept in (("a", "a"), (7, 7), ("x" * 99, "x" * 64), (True, None), ([], None)):
        payload = json.dumps({"clear": True, "id": given_id}).encode()
        assert read_order(payload, 0).order_id == kept


@given(
    st.one_of(
        st.binary(max_size=100),
        st.dictionaries(
            st.sampled_from(["roi", "point", "clear", "ttl_s", "x", "y", "confidence", "worn"]),
            st.none() | st.booleans() | st.floats() | st.integers() | st.lists(st.floats()),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    for read in (read_order, read_gaze):
        try:
            read(payload, 0)
        except OrderError as error:
            assert error.reason in ("malformed", "outside")  # noqa: PT017


def test_a_gaze_is_read() -> None:
    gaze, _ = read_gaze(b'{"x": 0.5, "y": -0.5, "confidence": 0, "worn": false}', 5)
    assert (gaze.x, gaze.y, gaze.confidence, gaze.worn, gaze.timestamp_ns) == (
        0.5, -0.5, 0.0, False, 5,
    )  # fmt: skip
    lost, _ = read_gaze(b'{"x": null, "y": null}', 5)
    assert not lost.valid
    for payload in (b'{"x": null, "y": 1}', b'{"x": 1}', b'{"x": 400, "y": 300}', b"{}"):
        with pytest.raises(OrderError):
            read_gaze(payload, 5)


def test_the_rate_limit_lets_a_second_through_at_once_and_then_its_rate() -> None:
    now_ns = [0]
    limit = RateLimit(5.0, lambda: now_ns[0])
    assert [limit.allow() for _ in range(7)] == [True] * 5 + [False] * 2
    now_ns[0] = 400_000_000
    assert [limit.allow() for _ in range(3)] == [True, True, False]
    now_ns[0] = 100 * 10**9
    assert sum(limit.allow() for _ in range(100)) == 5
