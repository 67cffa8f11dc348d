"""What the page and the metrics tell whom; test_web_server.py and test_web_access.py have more."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from picosam_web.access import COOKIE_AGE_S, Access
from picosam_web.guard import security_headers
from picosam_web.publisher import WebPublisher
from picosam_web.settings import WebConfig

from picosam_sdk.config import from_mapping
from picosam_sdk.interfaces import Context
from picosam_sdk.metrics import MetricsServer
from picosam_sdk.stats import Stats


@pytest.fixture(scope="module")
def page() -> Iterator[WebPublisher]:
    config: Any = from_mapping({"port": 0}, WebConfig)
    publisher = WebPublisher(config, Context("desk", "0123456789abcdef"))
    publisher.open()
    yield publisher
    publisher.close()


@pytest.fixture(scope="module")
def metrics() -> Iterator[MetricsServer]:
    server = MetricsServer(Stats(), [], {"device": "desk"})
    yield server
    server.close()


def _status_of_metrics(port: int, host: str | None, address: str = "127.0.0.1") -> int:
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


@pytest.mark.parametrize("kind", ["page", "unknown", "bad", "not allowed", "wrong host"])
def test_every_answer_is_shut_to_other_pages(page: WebPublisher, kind: str) -> None:
    evil = {"Origin": "http://evil.example"}
    answer = {
        "page": lambda: httpx.get(page.url),
        "unknown": lambda: httpx.get(page.url + "nothing"),
        "bad": lambda: httpx.post(page.url + "api/prompt", content=b"{"),
        "not allowed": lambda: httpx.put(page.url + "api/state"),
        "wrong host": lambda: httpx.get(page.url, headers={**evil, "Host": "evil.example"}),
    }[kind]()
    given = {name for name, _ in answer.headers.items()}
    assert not {name for name in given if name.startswith("access-control-")}
    assert "server" not in given
    assert "x-powered-by" not in given
    if kind != "wrong host":
        for name, value in security_headers(page.url.split("/")[2]):
            assert answer.headers[name.decode()] == value.decode()


def test_no_preflight_is_allowed(page: WebPublisher) -> None:
    """So that no foreign page can send JSON, or a header of its own."""
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for origin in ("http://evil.example", "null", page.url.rstrip("/")):
        answer = httpx.options(page.url + "api/prompt", headers={**asks, "Origin": origin})
        assert answer.status_code in (403, 405)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_policy_of_the_page_allows_nothing_from_elsewhere() -> None:
    headers = dict(security_headers("127.0.0.1:8000"))
    policy = dict(part.strip().split(" ", 1)
                  for part in headers[b"content-security-policy"].decode().split(";"))  # fmt: skip
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'none'"
    for name in ("default-src", "script-src", "style-src", "img-src"):
        assert policy[name] == "'self'"
    assert policy["connect-src"] == "'self' ws://127.0.0.1:8000 wss://127.0.0.1:8000"
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"


def test_a_header_cannot_be_split_by_a_host(page: WebPublisher) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(page.url).port or 0), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\rSet-Cookie: a=b\r\n"
                    b"Connection: close\r\n\r\n")  # fmt: skip
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert b"set-cookie" not in answer.lower().split(b"\r\n\r\n")[0]


def test_the_cookie_is_the_pages_alone_and_ends() -> None:
    cookie = Access("0.0.0.0", [], "correct-horse-battery", 8000).set_cookie()
    assert cookie.endswith("HttpOnly; SameSite=Strict")
    assert f"Max-Age={COOKIE_AGE_S}" in cookie
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:9000", 200), ("[::1]:9000", 200), ("evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("[::1", 421), ("", 421),
     (None, 421), ("192.168.1.5", 421)],
)  # fmt: skip
def test_metrics_on_loopback_answer_to_no_foreign_name(
    metrics: MetricsServer, host: str | None, status: int
) -> None:
    assert _status_of_metrics(metrics.port, host) == status


def test_metrics_in_the_network_answer_to_any_name() -> None:
    server = MetricsServer(Stats(), [], {"device": "desk"}, host="0.0.0.0")
    try:
        assert _status_of_metrics(server.port, "desk.example") == 200
    finally:
        server.close()


@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_metrics_tell_browsers_to_keep_off(metrics: MetricsServer, host: str) -> None:
    answer = httpx.get(f"http://127.0.0.1:{metrics.port}/metrics", headers={"Host": host})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    assert "python" not in answer.headers["server"].lower()
