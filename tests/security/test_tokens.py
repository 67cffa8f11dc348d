"""Wrong tokens and signatures of every shape are refused, and few may be tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_mqtt.signing import SignatureError, Verifier, sign
from picosam_web.access import Access, Ask
from picosam_web.guesses import BURST, Guesses
from picosam_web.publisher import WebPublisher
from picosam_web.settings import WebConfig

from picosam_sdk.config import from_mapping
from picosam_sdk.interfaces import Context

TOKEN = "correct-horse-battery"
KEY = b"0123456789abcdef0123456789abcdef"
HOST = "127.0.0.1:8000"

NEARLY = [
    TOKEN[:-1], TOKEN + "x", TOKEN + "\0", TOKEN.upper(), " " + TOKEN, TOKEN + " ", TOKEN * 2,
    TOKEN[::-1], TOKEN.replace("o", "о"), "", "\0", "null", "*", TOKEN + "\n",
]  # fmt: skip
"""Nearly the token; the one whose 'o' is replaced has a Cyrillic one."""


@pytest.fixture
def page() -> Iterator[WebPublisher]:
    config: Any = from_mapping({"port": 0, "token": TOKEN}, WebConfig)
    publisher = WebPublisher(config, Context("desk", "0123456789abcdef"))
    publisher.open()
    yield publisher
    publisher.close()


@pytest.mark.parametrize("text", NEARLY)
def test_what_is_nearly_the_token_is_not(text: str) -> None:
    access = Access("127.0.0.1", [], TOKEN, 8000)
    assert not access.is_token(text)
    assert access.judge(text, "10.0.0.1") is not None


@given(st.text(max_size=64))
def test_no_other_text_is_the_token_or_its_cookie(text: str) -> None:
    access = Access("127.0.0.1", [], TOKEN, 8000)
    assert access.is_token(text) == (text == TOKEN)
    refused = access.refusal(Ask(host=HOST, cookie=text))
    assert refused is not None
    assert refused.status == 401


@pytest.mark.parametrize("token", [None, 5, True, [TOKEN], {"a": TOKEN}, "", "wrong"])
def test_what_is_no_token_does_not_log_in(page: WebPublisher, token: Any) -> None:
    answer = httpx.post(page.url + "api/login", json={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_guessing_ends_soon_and_the_right_one_is_no_longer_taken(page: WebPublisher) -> None:
    """Else whoever guesses would still learn which one it is."""
    codes = [
        httpx.post(page.url + "api/login", json={"token": f"guess {number}"}).status_code
        for number in range(BURST + 3)
    ]
    assert codes[:BURST] == [401] * BURST
    assert codes[-1] == 429
    right = httpx.post(page.url + "api/login", json={"token": TOKEN})
    assert right.status_code == 429
    assert right.headers["retry-after"] == "60"
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    header = httpx.get(page.url + "api/state", headers=bearer)
    assert header.status_code == 429
    assert header.headers["retry-after"] == "60"
    assert header.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(page.url, params={"token": TOKEN}).status_code == 429
    assert page.stats["refused_guesses"] >= 4


@pytest.mark.parametrize("way", ["header", "query"])
def test_guesses_count_by_whatever_way_they_come(page: WebPublisher, way: str) -> None:
    for _ in range(BURST):
        wrong = {"headers": {"Authorization": "Bearer wrong"}} if way == "header" else {
            "params": {"token": "wrong"}}  # fmt: skip
        assert httpx.get(page.url, **wrong).status_code == 401  # type: ignore[arg-type]
    assert httpx.post(page.url + "api/login", json={"token": TOKEN}).status_code == 429


def test_who_is_in_stays_in_while_another_guesses(page: WebPublisher) -> None:
    with httpx.Client(base_url=page.url) as browser:
        assert browser.post("api/login", json={"token": TOKEN}).status_code == 204
        for number in range(BURST + 1):
            httpx.post(page.url + "api/login", json={"token": f"guess {number}"})
        assert browser.get("api/state").status_code == 200


def test_asking_without_a_token_is_no_guess(page: WebPublisher) -> None:
    for _ in range(2 * BURST):
        assert httpx.get(page.url).status_code == 401
        assert httpx.get(page.url, headers={"Cookie": "picosam_1=old"}).status_code == 401
    assert httpx.post(page.url + "api/login", json={"token": TOKEN}).status_code == 204


def test_after_a_pause_another_guess_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    guesses = Guesses(rate_hz=0.2, burst=3)
    for _ in range(3):
        assert not guesses.spent("10.0.0.1")
        guesses.count("10.0.0.1")
    assert guesses.spent("10.0.0.1")
    assert not guesses.spent("10.0.0.2"), "another address is another matter"
    now_s += 5.1
    assert not guesses.spent("10.0.0.1")
    guesses.count("10.0.0.1")
    assert guesses.spent("10.0.0.1")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("", "", True),
    ],
)
def test_who_counts_as_the_same(first: str, second: str, same: bool) -> None:
    guesses = Guesses(rate_hz=0.001, burst=1)
    guesses.count(first)
    assert guesses.spent(second) is same


def test_many_addresses_take_little_memory() -> None:
    guesses = Guesses()
    for number in range(5000):
        guesses.count(f"10.0.{number // 250}.{number % 250}")
    assert len(guesses._limits) == 1024


def test_a_flood_of_prompts_is_refused(page: WebPublisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picosam_web.site._MESSAGES_HZ", 1.0)  # a slow machine sends no flood
    page.close()
    page.open()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=page.url, headers=bearer) as client:
        codes = {client.post("api/prompt", json={"point": [0.5, 0.5]}).status_code
                 for _ in range(1500)}  # fmt: skip
    assert codes == {202, 429}


def _signed(**changes: Any) -> dict[str, Any]:
    message = {"device": "desk", "session": "a", "seq": 1, "timestamp_ns": 10**9, "point": [0, 0]}
    return {**sign(message, KEY), **changes}


def _verifier() -> Verifier:
    return Verifier(KEY, 30.0, lambda: 10**9)


def test_the_right_signature_is_taken() -> None:
    _verifier().verify(_signed())


RIGHT = _signed()["sig"]


@pytest.mark.parametrize(
    "sig",
    [RIGHT[:-1], RIGHT + "0", RIGHT.upper(), " " + RIGHT, RIGHT + "\0", RIGHT[::-1], "0" * 64, "",
     RIGHT * 2, "é" * 64, "\ud800" * 64, None, 5, True, [RIGHT], {"a": RIGHT}, 1.5],
)  # fmt: skip
def test_what_is_nearly_the_signature_is_not(sig: Any) -> None:
    with pytest.raises(SignatureError) as caught:
        _verifier().verify(_signed(sig=sig))
    assert caught.value.reason == ("forged" if isinstance(sig, str) else "unsigned")


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=5))
def test_no_message_of_a_stranger_is_taken(message: dict[str, Any]) -> None:
    """Who does not know the key can at best repeat what was seen, which another test is about."""
    forged = sign({**_signed(), **message}, b"another key of enough bytes")
    with pytest.raises(SignatureError):
        _verifier().verify(json.loads(json.dumps(forged)))
