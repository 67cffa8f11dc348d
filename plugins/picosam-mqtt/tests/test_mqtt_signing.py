"""Signatures: what was signed is taken once; what was changed, late or replayed is not."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_mqtt.signing import SignatureError, Verifier, canonical, sign

KEY = b"sixteen bytes or"
NOW_NS = 1_700_000_000_000_000_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def _message(seq: int = 0, **changes: Any) -> dict[str, Any]:
    base = {"device": "desk", "session": "s", "seq": seq, "timestamp_ns": NOW_NS}
    return {**base, "roi": [0.1, 0.25, 1e-06, 1.0], **changes}


def _verifier(window_s: float = 30.0, now_ns: int = NOW_NS) -> Verifier:
    return Verifier(KEY, window_s, clock=lambda: now_ns)


def _reason(verifier: Verifier, message: dict[str, Any]) -> str:
    with pytest.raises(SignatureError) as refused:
        verifier.verify(message)
    return refused.value.reason


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_signed_message_is_taken_after_its_way_through_json(extra: dict[str, Any]) -> None:
    signed = sign({**extra, **_message()}, KEY)
    for wire in (canonical(signed), json.dumps(signed, indent=1).encode()):
        _verifier().verify(json.loads(wire))


def test_the_signature_is_the_hmac_of_the_wire_without_it() -> None:
    """What the module promises to receivers in other languages."""
    wire = canonical(sign(_message(), KEY))
    unsigned = re.sub(rb',?"sig":"[0-9a-f]{64}"', b"", wire, count=1)
    wanted = hmac.new(KEY, unsigned, hashlib.sha256).hexdigest()
    assert json.loads(wire)["sig"] == wanted
    assert sign(json.loads(wire), KEY)["sig"] == wanted  # signing again changes nothing


@pytest.mark.parametrize(
    "changes",
    [
        {"roi": [0.1, 0.25, 1e-06, 0.9]},
        {"seq": 1},
        {"extra": None},
        {"device": "other"},
        {"sig": "0" * 64},
        {"sig": "\u00e9\ud800"},
    ],
)
def test_what_was_changed_is_forged(changes: dict[str, Any]) -> None:
    assert _reason(_verifier(), {**sign(_message(), KEY), **changes}) == "forged"


def test_another_key_is_forged_and_a_missing_signature_unsigned() -> None:
    assert _reason(_verifier(), sign(_message(), b"another key of 16")) == "forged"
    assert _reason(_verifier(), _message()) == "unsigned"
    assert _reason(_verifier(), {**_message(), "sig": 5}) == "unsigned"


@pytest.mark.parametrize("key", ["device", "session", "seq", "timestamp_ns"])
def test_without_what_identifies_it_a_message_counts_as_unsigned(key: str) -> None:
    message = _message()
    del message[key]
    assert _reason(_verifier(), sign(message, KEY)) == "unsigned"
    assert _reason(_verifier(), sign(_message(**{key: True}), KEY)) == "unsigned"


def test_a_replay_is_refused_and_other_order_is_not() -> None:
    verifier = _verifier()
    for seq in (5, 3, 4, 1028):
        verifier.verify(sign(_message(seq), KEY))
    for seq in (5, 3, 1028, 4):
        assert _reason(verifier, sign(_message(seq), KEY)) == "replayed"
    assert _reason(verifier, sign(_message(2), KEY)) == "replayed"  # too far back to know
    verifier.verify(sign(_message(6), KEY))
    verifier.verify(sign(_message(5, session="after a restart"), KEY))
    verifier.verify(sign(_message(5, device="other"), KEY))


@given(st.lists(st.integers(0, 3000), max_size=60))
def test_no_number_is_ever_taken_twice(seqs: list[int]) -> None:
    verifier, taken = _verifier(), []
    for seq in [*seqs, *seqs]:
        with contextlib.suppress(SignatureError):
            verifier.verify(sign(_message(seq), KEY))
            taken.append(seq)
    assert set(taken) <= set(seqs)
    assert len(taken) == len(set(taken))


def test_numbers_that_are_forgotten_stay_refused() -> None:
    verifier = _verifier()
    for seq in range(2200):
        verifier.verify(sign(_message(seq), KEY))
    for seq in (0, 1000, 1176, 1200, 2199):
        assert _reason(verifier, sign(_message(seq), KEY)) == "replayed"


@pytest.mark.parametrize("age_s", [31, -31])
def test_outside_the_window_it_is_late(age_s: int) -> None:
    assert _reason(_verifier(now_ns=NOW_NS + age_s * 10**9), sign(_message(), KEY)) == "late"
    _verifier(math.inf, NOW_NS + age_s * 10**9).verify(sign(_message(), KEY))


def test_a_refused_message_leaves_no_trace() -> None:
    now = [NOW_NS + 60 * 10**9]
    verifier = Verifier(KEY, clock=lambda: now[0])
    assert _reason(verifier, sign(_message(), KEY)) == "late"
    now[0] = NOW_NS
    assert _reason(verifier, {**sign(_message(), KEY), "x": 1}) == "forged"
    verifier.verify(sign(_message(), KEY))


def test_what_cannot_be_signed_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        sign(_message(), b"short")
    with pytest.raises(ValueError, match="16 bytes"):
        Verifier(b"short")
    with pytest.raises(ValueError, match="window"):
        Verifier(KEY, math.nan)
    with pytest.raises(ValueError, match="JSON compliant"):
        sign(_message(x=math.inf), KEY)
    assert _reason(_verifier(), {**sign(_message(), KEY), "x": math.inf}) == "forged"
