"""What stands before the site: refuses who may not come in, and puts headers on every answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from picosam_web.access import Access, Ask, Refusal

__all__ = ["Guard", "client_of", "security_headers"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_GONE_S = 1.0
_OPEN_PATHS = frozenset({"/login.js", "/style.css", "/favicon.svg", "/api/login"})


class Guard:
    """ASGI middleware.

    Args:
        app: what answers those that are let in.
        access: decides.
        counts: counted into: ``refused_host``, ``refused_origin``, ``refused_token``,
            ``refused_guesses``.
    """

    def __init__(self, app: App, access: Access, counts: Counter[str]) -> None:
        self._app, self._access, self._counts = app, access, counts
        self._login = files("picosam_web").joinpath("static", "login.html").read_bytes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        headers = _headers(scope)
        ask = self._ask(scope, headers)
        refusal = self._access.refusal(ask)
        if refusal is not None:
            self._counts[f"refused_{refusal.reason}"] += 1
            await self._refuse(refusal, ask, scope, receive, send)
            return
        extra = security_headers(ask.host)
        if ask.page and self._access.is_token(ask.token):
            extra.append((b"set-cookie", self._access.set_cookie().encode()))
        await self._app(scope, receive, _with_headers(send, extra))

    def _ask(self, scope: Scope, headers: dict[str, str]) -> Ask:
        is_socket = scope["type"] == "websocket"
        changes = is_socket or scope["method"] not in ("GET", "HEAD")
        page = not changes and scope["path"] == "/"
        return Ask(
            host=headers.get("host", ""),
            origin=headers.get("origin", ""),
            site=headers.get("sec-fetch-site", ""),
            authorization=headers.get("authorization", ""),
            client=client_of(scope.get("client")),
            token=_token(scope.get("query_string", b"")) if page else "",
            cookie=_cookie(headers.get("cookie", ""), self._access.cookie_name),
            changes=changes,
            page=page,
            open=not is_socket and scope["path"] in _OPEN_PATHS,
        )

    async def _refuse(
        self, refusal: Refusal, ask: Ask, scope: Scope, receive: Receive, send: Send
    ) -> None:
        body, kind = json.dumps({"error": refusal.text}).encode(), b"application/json"
        if ask.page and refusal.status == 401:
            body, kind = self._login, b"text/html; charset=utf-8"
        is_socket = scope["type"] == "websocket"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if is_socket:  # uvicorn adds these two itself
            body, headers = refusal.text.encode(), []
        if refusal.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refusal.status == 429:
            headers.append((b"retry-after", b"60"))
        if refusal.reason != "host":
            headers += security_headers(ask.host)
        prefix = "http.response"
        if is_socket:
            await receive()
            prefix = "websocket.http.response"
        await send({"type": f"{prefix}.start", "status": refusal.status, "headers": headers})
        body = b"" if scope.get("method") == "HEAD" else body
        await send({"type": f"{prefix}.body", "body": body})
        if is_socket:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_S):
                    for _ in range(2):  # uvicorn complains of who leaves before the connection
                        await receive()


def security_headers(host: str) -> list[tuple[bytes, bytes]]:
    """The headers of every answer.

    Args:
        host: the Host header, checked. Older browsers do not count a WebSocket to it as 'self'.
    """
    policy = (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' ws://{host} wss://{host}; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return [
        (b"content-security-policy", policy.encode("latin-1", "ignore")),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
        (b"cache-control", b"no-store"),
    ]


def _with_headers(send: Send, extra: list[tuple[bytes, bytes]]) -> Send:
    async def send_more(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return send_more


def _token(query: bytes) -> str:
    """The token in a query; "" without one, or where there is too much beside it."""
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=20).get("token", [""])[0]
    except ValueError:
        return ""


def client_of(address: Any) -> str:
    """The address of who asks, of ASGI's pair; "" where it is not known."""
    return str(address[0]) if address else ""


def _headers(scope: Scope) -> dict[str, str]:
    """By small names; of one that comes twice, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]}  # fmt: skip


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
