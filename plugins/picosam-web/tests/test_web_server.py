"""The server over HTTP and WebSocket: who is refused, what is answered."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from picosam_web.publisher import WebPublisher
from picosam_web.settings import WebConfig
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from picosam_sdk import Prompt, Roi
from picosam_sdk.interfaces import Context
from picosam_sdk.settings import EgressRule
from picosam_sdk.testing.results import a_result


@pytest.fixture
def context() -> Context:
    return Context("desk", "0123456789abcdef")


@pytest.fixture(scope="module")
def lasting() -> Iterator[WebPublisher]:
    """One page for all tests that leave it as it was."""
    config: Any = WebConfig(port=0)
    page = WebPublisher(config, Context("desk", "0123456789abcdef"))
    page.open()
    yield page
    page.close()


def _ws(page: Any) -> str:
    return str(page.url.replace("http://", "ws://") + "ws")


@contextmanager
def _talk(page: Any, **options: Any) -> Iterator[ClientConnection]:
    with connect(_ws(page), **options) as connection:
        assert json.loads(connection.recv(10))["type"] == "state"
        yield connection


def _ask(connection: ClientConnection, message: Any) -> Any:
    """Sends something, and waits for the answer."""
    connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))
    while True:
        answer = json.loads(connection.recv(10))
        if answer["type"] not in ("state", "result"):
            return answer


def _drain(connection: ClientConnection) -> None:
    """Reads until the connection ends, which is an error."""
    while True:
        connection.recv(10)


def _flood(connection: ClientConnection) -> None:
    for _ in range(1000):
        connection.send('{"type": "seen", "seq": 0}')
    _drain(connection)


def test_every_answer_has_its_headers(direct: Callable[..., Any], token: str) -> None:
    page, locked = direct(), direct(token=token)
    answers = [
        httpx.get(page.url),
        httpx.get(page.url + "app.js"),
        httpx.get(page.url + "api/state"),
        httpx.get(page.url + "nothing-here"),
        httpx.get(locked.url),
        httpx.get(locked.url + "api/state"),
        httpx.post(page.url + "api/prompt", json={}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 401, 401, 400]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "*" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("name", "kind"),
    [("", "text/html"), ("style.css", "text/css"), ("app.js", "text/javascript"),
     ("favicon.svg", "image/svg+xml")],
)  # fmt: skip
def test_the_pages_files(lasting: WebPublisher, name: str, kind: str) -> None:
    answer = httpx.get(lasting.url + name)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    outside = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in outside
    assert "https://" not in outside


@pytest.mark.parametrize(
    "path", ["index.html", "../publisher.py", "%2e%2e/publisher.py", "static/app.js", "login.html"]
)
def test_no_other_file_is_served(lasting: WebPublisher, path: str) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(lasting.url).port or 0)) as raw:
        raw.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404")


def test_without_the_token_nothing_is_told(direct: Callable[..., Any], token: str) -> None:
    page = direct(token=token)
    assert httpx.get(page.url + "api/state").status_code == 401
    assert httpx.post(page.url + "api/prompt", json={"point": [0.5, 0.5]}).status_code == 401
    assert httpx.get(page.url + "app.js").status_code == 401
    assert httpx.post(page.url + "api/login", json={"token": "x" * 22}).status_code == 401
    assert httpx.post(page.url + "api/login", json={"token": None}).status_code == 401
    with pytest.raises(InvalidStatus) as caught:
        connect(_ws(page))
    assert caught.value.response.status_code == 401
    with pytest.raises(InvalidStatus):
        connect(_ws(page) + f"?token={token}")  # it would stand in logs
    assert page.context.prompt.get() is None
    assert page.stats["refused_token"] >= 6


def test_with_the_token_it_opens(direct: Callable[..., Any], token: str) -> None:
    page = direct(token=token)
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(page.url + "api/state", headers=bearer).json()["device"] == "desk"
    with _talk(page, additional_headers=bearer):
        pass
    with httpx.Client(base_url=page.url) as browser:
        assert browser.post("api/login", json={"token": token}).status_code == 204
        assert browser.get("api/state").status_code == 200
        (cookie,) = browser.cookies.jar
    with _talk(page, additional_headers={"Cookie": f"{cookie.name}={cookie.value}"}):
        pass


def test_a_foreign_origin_is_refused(direct: Callable[..., Any]) -> None:
    page = direct()
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus) as caught:
            connect(_ws(page), origin=origin)  # type: ignore[arg-type]
        assert caught.value.response.status_code == 403
        answer = httpx.post(
            page.url + "api/prompt", json={"point": [0.5, 0.5]}, headers={"Origin": origin}
        )
        assert answer.status_code == 403
    with _talk(page, origin=page.url.rstrip("/")):
        pass
    assert page.context.prompt.get() is None
    assert page.stats["refused_origin"] == 6


def test_a_foreign_name_is_refused(direct: Callable[..., Any]) -> None:
    """As after DNS rebinding: the browser believes that this is evil.example."""
    page = direct(allowed_hosts=["desk.example"])
    evil = {"Host": "evil.example"}
    answer = httpx.get(page.url + "api/state", headers=evil)
    assert answer.status_code == 421
    assert "allowed_hosts" in answer.json()["error"]
    with socket.create_connection(("127.0.0.1", httpx.URL(page.url).port or 0)) as raw:
        with pytest.raises(InvalidStatus) as caught:
            connect("ws://evil.example/ws", sock=raw, origin="http://evil.example")  # type: ignore[arg-type]
        assert caught.value.response.status_code == 421
    assert httpx.get(page.url, headers={"Host": "desk.example"}).status_code == 200


def test_a_prompt_over_http(direct: Callable[..., Any], context: Context) -> None:
    page = direct(context)
    answer = httpx.post(page.url + "api/prompt", json={"roi": [0.1, 0.2, 0.3, 0.4]})
    assert answer.status_code == 202
    assert answer.json() == {"followed": None, "note": ""}
    prompt = context.prompt.get()
    assert isinstance(prompt, Prompt)
    assert prompt.roi == Roi(0.1, 0.2, 0.3, 0.4)
    assert prompt.timestamp_ns > 0
    assert httpx.delete(page.url + "api/prompt").status_code == 204
    assert context.prompt.get() is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"roi": [0, 0, 1]}', "application/json"),
        (b'{"point": [NaN, 0]}', "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"point": [0.5, 0.5]}', "text/plain"),  # what a foreign form could send
        (b'{"point": [0.5, 0.5]}' + b" " * 5000, "application/json"),
    ],
)
def test_a_bad_prompt_over_http(lasting: WebPublisher, body: bytes, kind: str) -> None:
    page, before = lasting, lasting.stats.get("bad_messages", 0)
    answer = httpx.post(page.url + "api/prompt", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}
    assert page.context.prompt.get() is None
    assert page.stats["bad_messages"] == before + 1


def test_a_prompt_over_the_socket(direct: Callable[..., Any], context: Context) -> None:
    page = direct(context)
    with _talk(page) as connection:
        assert _ask(connection, {"type": "prompt", "point": [0.25, 0.75]})["type"] == "prompted"
        prompt = context.prompt.get()
        assert prompt is not None
        assert prompt.point == (0.25, 0.75)
        assert _ask(connection, {"type": "clear"})["type"] == "cleared"
        assert context.prompt.get() is None


@pytest.mark.parametrize(
    "message",
    ["", "no json", b"bytes", "[]", {}, {"type": 5}, {"type": "prompt"}, {"type": "seen"},
     {"type": "seen", "seq": "1"}, {"type": "pointer", "at": [0.5, 0.5]}, {"type": "ping"}],
)  # fmt: skip
def test_a_bad_message_is_answered_and_the_page_lives(lasting: WebPublisher, message: Any) -> None:
    with _talk(lasting) as connection:
        answer = _ask(connection, message)
        assert answer["type"] == "error"
        assert answer["hint"]
        assert _ask(connection, {"type": "ping", "t": 2.5})["t"] == 2.5
    assert lasting.context.prompt.get() is None
    assert lasting.context.pointer.get() is None


def test_a_flood_or_a_giant_ends_the_connection(direct: Callable[..., Any]) -> None:
    page = direct()
    with _talk(page) as connection, pytest.raises(ConnectionClosed) as caught:
        _flood(connection)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
    with _talk(page) as connection:
        connection.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            _drain(connection)
    assert httpx.get(page.url).status_code == 200


def test_there_is_room_for_so_many_pages(direct: Callable[..., Any], until: Any) -> None:
    page = direct(max_clients=1)
    with _talk(page), connect(_ws(page)) as second, pytest.raises(ConnectionClosed) as caught:
        second.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1013
    until(lambda: page.stats["pages"] == 0, "the page to be gone")
    with _talk(page):
        pass


def test_a_page_can_be_for_looking_only(direct: Callable[..., Any], context: Context) -> None:
    page = direct(context, prompts=False)
    assert httpx.post(page.url + "api/prompt", json={"point": [0.5, 0.5]}).status_code == 403
    assert httpx.delete(page.url + "api/prompt").status_code == 403
    with _talk(page) as connection:
        assert _ask(connection, {"type": "clear"})["type"] == "error"
    assert context.prompt.get() is None
    assert httpx.get(page.url + "api/state").json()["prompts"]["taken"] is False


def test_the_state_tells_policy_prompts_and_parts(direct: Callable[..., Any]) -> None:
    rule = EgressRule(grants=("redacted", "gaze"), max_rate_hz=5, windows=("08:00-18:00",),
                      purpose="a test", privacy_masks=((0, 0, 0.1, 1),))  # fmt: skip
    context = Context("desk", "0123456789abcdef", egress=rule)
    page = direct(context, picture=True)
    state = httpx.get(page.url + "api/state").json()
    assert state["session"] == "0123456789abcdef"
    assert state["policy"] == {
        "picture": "redacted", "picture_wanted": True, "gaze": True, "max_rate_hz": 5.0,
        "coarsen": 0, "min_area": 0.0, "privacy_masks": 1, "windows": ["08:00-18:00"],
        "purpose": "a test", "kept": "",
    }  # fmt: skip
    assert state["prompts"] == {"taken": True, "followed": None, "note": ""}
    assert state["application"] is None
    for parts, followed, note in [
        ([], False, "manual"),
        ([{"role": "roi", "kind": "manual", "name": "m", "state": "ready"}], True, ""),
        ([{"role": "roi", "kind": "manual", "name": "m", "state": "retrying"}], False, "retrying"),
        ([{"role": "camera", "kind": "manual", "name": "m", "state": "ready"}], False, "manual"),
    ]:
        context.status.put({"fps": 1.0, "frames": 1, "masks": 0, "uptime_s": 1.0, "parts": parts})
        told = httpx.get(page.url + "api/state").json()
        assert told["prompts"]["followed"] is followed
        assert note in told["prompts"]["note"]
        assert told["application"]["parts"] == parts


def test_pages_are_told_that_it_went_away(direct: Callable[..., Any]) -> None:
    page = direct()
    with _talk(page) as connection:
        page.close()
        with pytest.raises(ConnectionClosed) as caught:
            _drain(connection)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012


def test_nothing_is_logged_about_refusals_and_ends(
    direct: Callable[..., Any], token: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = direct(token=token, max_rate_hz=0)
    with pytest.raises(InvalidStatus):
        connect(_ws(page))
    bearer = {"Authorization": f"Bearer {token}"}
    with connect(_ws(page), additional_headers=bearer) as connection:
        connection.socket.shutdown(socket.SHUT_RDWR)
        for index in range(20):
            page.publish(a_result(index))
    page.close()
    assert [record.message for record in caplog.records if record.levelname != "DEBUG"] == []
