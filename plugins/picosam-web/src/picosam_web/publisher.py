"""The publisher "web": a page on this machine that shows masks, and takes prompts.

::

    [[publish]]
    kind = "web"

``docs/web.md`` describes the page and its API.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from picosam_sdk.errors import ConfigError, PicoSamError, PublishError
from picosam_sdk.hosts import is_loopback
from picosam_sdk.interfaces import Context, Publisher
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_web import state
from picosam_web.settings import MIN_TOKEN_CHARACTERS, WebConfig

if TYPE_CHECKING:
    from picosam_web.hub import Hub, Message
    from picosam_web.server import Server

__all__ = ["WebPublisher"]

_FLUSH_S = 0.5


class WebPublisher(Publisher):
    """Serves the page, and sends each result to those who look at it."""

    name: ClassVar[str] = "web"
    Config: ClassVar[type] = WebConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._counts: Counter[str] = Counter()
        self._seq = 0
        self._next_ns = 0
        self._owed = 0
        self._port: int = config.port
        self._hub: Hub | None = None
        self._server: Server | None = None

    @property
    def needs(self) -> frozenset[str]:
        """Some grant of a picture, if the page is to show one."""
        granted = state.picture_grant(self.context.egress)
        return frozenset({granted or "pixels"}) if self.config.picture else frozenset()

    @property
    def destination(self) -> str:
        who = "this machine's users" if is_loopback(self.config.host) else "who can reach it"
        token = " and know the token" if self.config.token is not None else ""
        return f"{self.url}, browsers of {who}{token}"

    @property
    def url(self) -> str:
        """Where the page is, without the token; while it is closed, with the port as configured."""
        host = self.config.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{host}:{self._port}/"

    @property
    def is_open(self) -> bool:
        """Whether the page is served."""
        server = self._server
        return server is not None and server.alive

    def open(self) -> None:
        self.close()
        try:
            from picosam_web.access import Access
            from picosam_web.desk import Desk
            from picosam_web.hub import Hub
            from picosam_web.server import Server, listen
            from picosam_web.site import make_site
        except ImportError as error:
            raise PicoSamError(
                f"this needs the module '{error.name}', which is not installed",
                hint="Install it with: pip install picosam-web",
            ) from error
        config: WebConfig = self.config
        token = self._token()
        listener = listen(config.host, config.port)
        port = listener.getsockname()[1]
        try:
            access = Access(config.host, config.allowed_hosts, token, port)
            hub = Hub(config.max_clients)
            desk = Desk(config, self.context, self._counts)
            site = make_site(access, hub, desk, self.state, self._counts)
            server = Server(site, listener, lambda: hub.tell({"type": "state", **self.state()}))
        except BaseException:
            listener.close()
            raise
        self._port, self._hub, self._server = port, hub, server
        server.start()

    def publish(self, result: Result) -> int | None:
        """Hands a result to every page that is open; what it returns is what is on its way."""
        if self._server is None or self._hub is None:
            raise PublishError("expected an open publisher, got a closed one", hint="Call open().")
        if not self._server.alive:
            raise PublishError(
                "expected the web server to run, got one that has ended",
                hint="It is started again by itself.",
            )
        if not len(self._hub):
            self._counts["unwatched"] += 1
            return None
        if self._too_soon(time.monotonic_ns()):
            self._counts["too_soon"] += 1
            return None
        message, hub = self._message(result), self._hub
        self._owed += self._server.call(lambda: hub.offer(message))
        self._counts["published"] += 1
        if self._owed <= 0:  # it made as much give way as it is long itself
            return None
        n_bytes, self._owed = self._owed, 0
        return n_bytes

    def flush(self, timeout_s: float) -> bool:
        """Waits for pages to take the newest result; a page that hangs is not waited for long."""
        deadline_s = time.monotonic() + min(timeout_s, _FLUSH_S)
        hub, server = self._hub, self._server
        while hub is not None and server is not None and server.alive:
            if server.call(hub.is_idle):
                return True
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        if self._hub is not None:
            self._counts.update({f"pages_{key}": n for key, n in self._hub.counts.items()})
            self._hub = None
        self._port = self.config.port

    @property
    def stats(self) -> Mapping[str, Any]:
        """``pages`` open; ``seq`` of the next message; results ``published``, ``too_soon`` and
        ``unwatched`` (nobody looked); ``pages_sent``, ``pages_dropped`` and ``pages_bytes``, summed
        over pages; ``prompts``, ``cleared``, ``pointer``, ``bad_messages``; ``refused_host``,
        ``refused_origin``, ``refused_token``, ``refused_guesses``.
        """
        counts = Counter(self._counts)
        hub = self._hub
        if hub is not None:
            counts.update({f"pages_{key}": n for key, n in hub.counts.items()})
        return {"pages": 0 if hub is None else len(hub), "seq": self._seq, **counts}

    def state(self) -> dict[str, Any]:
        """What ``GET /api/state`` says."""
        hub = self._hub
        pages = 0 if hub is None else len(hub)
        return state.describe(self.config, self.context, self.stats, pages)

    def _too_soon(self, now_ns: int) -> bool:
        """On a grid of time, so that a camera of the same rate does not lose every other frame."""
        if not self.config.max_rate_hz:
            return False
        period_ns = round(1e9 / self.config.max_rate_hz)
        if now_ns < self._next_ns - period_ns // 4:
            return True
        on_time = now_ns - self._next_ns < period_ns
        self._next_ns = (self._next_ns if on_time else now_ns) + period_ns
        return False

    def _message(self, result: Result) -> Message:
        from picosam_web.hub import Message, picture_message

        seq, self._seq = self._seq, self._seq + 1
        payload = encode_result(
            result, device=self.context.device, session=self.context.session, seq=seq
        )
        jpeg = self._jpeg(result)
        message = {
            "type": "result",
            "message": payload,
            "timings_ms": {key: round(ms, 2) for key, ms in result.timings_ms.items()},
            "picture": result.image_grant if jpeg is not None else "",
        }
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
        return Message(seq, text, None if jpeg is None else picture_message(seq, jpeg))

    def _jpeg(self, result: Result) -> bytes | None:
        image = result.frame.image
        if not self.config.picture or image is None or not result.image_grant:
            return None
        from picosam_web.pictures import jpeg_of

        return jpeg_of(image, self.config.picture_px, self.config.jpeg_quality)

    def _token(self) -> str:
        if self.config.token is None:
            return ""
        token: str = self.config.token.reveal("token")
        if len(token) < MIN_TOKEN_CHARACTERS:
            raise ConfigError(
                f"token: expected at least {MIN_TOKEN_CHARACTERS} characters, got {len(token)}",
                hint="Make one with: openssl rand -hex 16",
            )
        return token
