"""Who is let in, decided without a server."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picosam_web.access import Access, Ask

from picosam_sdk.hosts import is_loopback

TOKEN = "0123456789abcdef"
ASK = Ask(host="127.0.0.1:8000")


def _reason(access: Access, ask: Ask) -> str:
    refusal = access.refusal(ask)
    return "" if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1:8000", ""),
        ("127.0.0.1", ""),
        ("localhost:9000", ""),
        ("LOCALHOST", ""),
        ("localhost.", ""),
        ("[::1]:8000", ""),
        ("127.8.8.8", ""),
        ("desk.example", ""),
        ("", "host"),
        ("evil.example:8000", "host"),
        ("127.0.0.1.evil.example", "host"),
        ("localhost.evil.example", "host"),
        ("192.168.1.5:8000", "host"),
        ("[::1", "host"),
        ("desk.example@evil.example", "host"),
    ],
)
def test_on_loopback_it_answers_to_this_machine_alone(host: str, reason: str) -> None:
    access = Access("127.0.0.1", ["Desk.example"], "", 8000)
    assert _reason(access, replace(ASK, host=host)) == reason


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.168.1.5:8000", ""),
        ("[fe80::1]:8000", ""),
        ("pi.local", ""),
        ("pi", ""),
        ("evil.example", "host"),
        ("pi.evil.example", "host"),
        ("", "host"),
    ],
)
def test_in_the_network_it_answers_to_addresses_and_its_own_name(
    host: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Pi")
    access = Access("0.0.0.0", [], "", 8000)
    assert _reason(access, replace(ASK, host=host)) == reason


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("", ""),
        ("http://127.0.0.1:8000", ""),
        ("http://127.0.0.1:8001", "origin"),
        ("http://localhost:8000", "origin"),
        ("http://evil.example", "origin"),
        ("https://127.0.0.1", "origin"),
        ("null", "origin"),
        ("file://", "origin"),
        ("http://127.0.0.1:8000.evil.example", "origin"),
        ("http://127.0.0.1:port", "origin"),
    ],
)
def test_it_talks_to_its_own_page_alone(origin: str, reason: str) -> None:
    access = Access("127.0.0.1", [], "", 8000)
    assert _reason(access, replace(ASK, origin=origin, changes=True)) == reason


def test_the_usual_port_need_not_be_named() -> None:
    access = Access("127.0.0.1", ["desk.example"], "", 8000)
    ask = Ask(host="desk.example", origin="https://desk.example:443", changes=True)
    assert _reason(access, replace(ask, host="desk.example:443")) == ""
    assert _reason(access, ask) == "", "behind a proxy that ends TLS"
    assert _reason(access, replace(ask, origin="https://desk.example:8443")) == "origin"


def test_a_foreign_page_may_link_here_and_not_ask() -> None:
    access = Access("127.0.0.1", [], "", 8000)
    assert _reason(access, replace(ASK, site="cross-site", page=True)) == ""
    assert _reason(access, replace(ASK, site="cross-site")) == "origin"
    assert _reason(access, replace(ASK, site="same-origin")) == ""


def test_ways_to_show_the_token() -> None:
    access = Access("127.0.0.1", [], TOKEN, 8000)
    assert access.needs_token
    cookie = SimpleCookie(access.set_cookie())[access.cookie_name]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert TOKEN not in cookie.OutputString()
    for changes, reason in [
        ({}, "token"),
        ({"authorization": f"Bearer {TOKEN}"}, ""),
        ({"authorization": f"bearer  {TOKEN} "}, ""),
        ({"authorization": f"Basic {TOKEN}"}, "token"),
        ({"authorization": "Bearer"}, "token"),
        ({"authorization": "Bearer 0123456789abcdeF"}, "token"),
        ({"token": TOKEN}, ""),
        ({"token": "ü\udc80"}, "token"),
        ({"cookie": cookie.value}, ""),
        ({"cookie": TOKEN}, "token"),
        ({"open": True}, ""),
    ]:
        assert _reason(access, replace(ASK, **changes)) == reason, changes  # type: ignore[arg-type]


def test_another_token_or_port_makes_another_cookie() -> None:
    first, second = Access("::1", [], TOKEN, 1), Access("::1", [], TOKEN[::-1], 2)
    assert first.cookie_name != second.cookie_name
    assert first.set_cookie().split("=")[1] != second.set_cookie().split("=")[1]


@given(st.text())
def test_without_a_token_none_is_the_token(text: str) -> None:
    assert not Access("127.0.0.1", [], "", 8000).is_token(text)


@given(st.text(max_size=300))
def test_no_host_header_breaks_it(host: str) -> None:
    access = Access("127.0.0.1", [], "", 8000)
    refusal = access.refusal(replace(ASK, host=host))
    assert refusal is None or len(refusal.text) < 300


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("Localhost", True), ("127.1.2.3", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("pi.local", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
