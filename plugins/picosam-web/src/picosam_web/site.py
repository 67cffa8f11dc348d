"""The site: the page's files, a small API, and the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from picosam_sdk.errors import InputError, PicoSamError
from picosam_web.access import Access
from picosam_web.desk import Desk
from picosam_web.guard import Guard, client_of
from picosam_web.hub import Client, Hub
from picosam_web.inputs import RateLimit, is_number, read_object

__all__ = ["MAX_MESSAGE_BYTES", "make_site"]

MAX_MESSAGE_BYTES = 4096
"""Of what a page may send at once."""

_MESSAGES_HZ, _MESSAGES_BURST = 150.0, 300
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "favicon.svg": "image/svg+xml",
    "openapi.json": "application/json",
}
_SCRIPT = "text/javascript; charset=utf-8"


def make_site(
    access: Access, hub: Hub, desk: Desk, state: Callable[[], dict[str, Any]], counts: Counter[str]
) -> Guard:
    """The whole site as an ASGI application.

    Args:
        access: who may come in.
        hub: where pages are announced.
        desk: takes what they send.
        state: see :func:`picosam_web.state.describe`.
        counts: counted into: refusals, ``bad_messages``.
    """
    site = _Site(access, hub, desk, state, counts)
    routes: list[Any] = [
        Route("/api/state", site.get_state, methods=["GET"]),
        Route("/api/prompt", site.prompt, methods=["POST", "DELETE"]),
        Route("/api/login", site.post_login, methods=["POST"]),
        WebSocketRoute("/ws", site.talk),
    ]
    for entry in files("picosam_web").joinpath("static").iterdir():
        kind = _TYPES.get(entry.name, _SCRIPT if entry.name.endswith(".js") else "")
        if kind:
            path = "/" if entry.name == "index.html" else f"/{entry.name}"
            routes.append(Route(path, _file(entry.read_bytes(), kind), methods=["GET"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such})
    app.router.redirect_slashes = False  # /api/state/ is nothing; a redirect would name our host
    return Guard(app, access, counts)  # type: ignore[arg-type]


async def _no_such(request: Request, error: Exception) -> Response:
    """The answer to a path or a method that there is not."""
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    text = "There is nothing under this path." if missing else "Expected another method here."
    body = {"error": text, "hint": "GET /openapi.json says what there is."}
    return JSONResponse(body, error.status_code, error.headers)


def _file(content: bytes, kind: str) -> Callable[[Request], Response]:
    async def answer(request: Request) -> Response:
        return Response(content, headers={"content-type": kind})

    return answer  # type: ignore[return-value]


class _Site:
    def __init__(
        self,
        access: Access,
        hub: Hub,
        desk: Desk,
        state: Callable[[], dict[str, Any]],
        counts: Counter[str],
    ) -> None:
        self._access, self._hub, self._desk = access, hub, desk
        self._state, self._counts = state, counts
        self._posts = RateLimit(_MESSAGES_HZ, _MESSAGES_BURST)

    async def get_state(self, request: Request) -> Response:
        return JSONResponse(self._state())

    async def prompt(self, request: Request) -> Response:
        return await (self.post_prompt if request.method == "POST" else self.delete_prompt)(request)

    async def post_prompt(self, request: Request) -> Response:
        if self._posts.exceeded():
            self._counts["bad_messages"] += 1
            return JSONResponse({"error": "Too many prompts came at once.",
                                 "hint": "Send fewer."}, 429)  # fmt: skip
        try:
            return JSONResponse(self._desk.prompt(await _body(request)), 202)
        except PicoSamError as error:
            return self._error(error)

    async def delete_prompt(self, request: Request) -> Response:
        try:
            self._desk.clear()
        except PicoSamError as error:
            return self._error(error)
        return Response(status_code=204)

    async def post_login(self, request: Request) -> Response:
        try:
            token = (await _body(request)).get("token")
        except PicoSamError as error:
            return self._error(error)
        refusal = self._access.judge(token if isinstance(token, str) else "",
                                     client_of(request.client))  # fmt: skip
        if refusal is not None:
            self._counts[f"refused_{refusal.reason}"] += 1
            text = "This is not the token." if refusal.status == 401 else refusal.text
            later = {"retry-after": "60"} if refusal.status == 429 else None
            return JSONResponse({"error": text}, refusal.status, later)
        return Response(status_code=204, headers={"set-cookie": self._access.set_cookie()})

    async def talk(self, socket: WebSocket) -> None:
        """One page: results go out, prompts come in."""
        await socket.accept()
        client = self._hub.join(socket)
        if client is None:
            await socket.close(1013, "too many pages are open")
            return
        client.tell({"type": "state", **self._state()})
        sender = asyncio.create_task(client.send_all())
        try:
            await self._listen(socket, client)
        except (WebSocketDisconnect, RuntimeError):  # it is gone
            pass
        finally:
            self._hub.leave(client)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender

    async def _listen(self, socket: WebSocket, client: Client) -> None:
        limit = RateLimit(_MESSAGES_HZ, _MESSAGES_BURST)
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if limit.exceeded():
                self._counts["bad_messages"] += 1
                await socket.close(1008, "too many messages")
                return
            try:
                self._take(read_object(message.get("text") or b""), client)
            except PicoSamError as error:
                self._counts["bad_messages"] += 1
                client.reply({"type": "error", "text": str(error), "hint": error.hint})

    def _take(self, message: dict[str, Any], client: Client) -> None:
        kind = message.get("type")
        if kind == "seen" and isinstance(message.get("seq"), int):
            client.seen(message["seq"])
        elif kind == "prompt":
            client.reply({"type": "prompted", **self._desk.prompt(message)})
        elif kind == "clear":
            self._desk.clear()
            client.reply({"type": "cleared"})
        elif kind == "pointer":
            self._desk.pointer(message.get("at"))
        elif kind == "ping" and is_number(message.get("t")):
            client.reply({"type": "pong", "t": message["t"], "unix_ms": time.time() * 1000})
        else:
            raise InputError(
                f"expected a message of a known type, got {kind!r:.80}",
                hint="Send prompt, clear, pointer, seen or ping.",
            )

    def _error(self, error: PicoSamError) -> Response:
        self._counts["bad_messages"] += 1
        status = 400 if isinstance(error, InputError) else 403
        return JSONResponse({"error": str(error), "hint": error.hint}, status)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was posted."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise InputError(
            "expected application/json, got another content type",
            hint="Set the header Content-Type: application/json.",
        )
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_MESSAGE_BYTES:
                raise InputError(
                    f"expected at most {MAX_MESSAGE_BYTES} bytes, got more", hint="Send less."
                )
    except ClientDisconnect as error:
        raise InputError("expected a whole message, got a part", hint="Send it again.") from error
    return read_object(body)
