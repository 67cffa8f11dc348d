"""Who may come in: which names the page answers to, which pages may talk to it, and the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from picosam_sdk.hosts import is_loopback, name_in
from picosam_web.guesses import Guesses

__all__ = ["Access", "Ask", "Refusal"]

COOKIE_AGE_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered.

    Args:
        status: HTTP status.
        reason: counted under this: "host", "origin", "token" or "guesses".
        text: what was expected and what to do.
    """

    status: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What access is decided by.

    Args:
        host, origin, authorization: headers, "" without.
        site: the header Sec-Fetch-Site.
        client: the address that it came from.
        token: of the query.
        cookie: the page's own.
        changes: whether it is a WebSocket, or no GET.
        page: whether it is the page itself, which a link of a foreign page may open.
        open: whether it is needed to log in.
    """

    host: str = ""
    origin: str = ""
    site: str = ""
    authorization: str = ""
    client: str = ""
    token: str = ""
    cookie: str = ""
    changes: bool = False
    page: bool = False
    open: bool = False


class Access:
    """Decides about requests.

    Args:
        host: that the server listens on.
        allowed_hosts: further names of it.
        token: "" for none.
        port: that the server listens on: cookies do not tell ports apart, so their names do.
    """

    def __init__(self, host: str, allowed_hosts: Iterable[str], token: str, port: int) -> None:
        self._token = token.encode()
        self._guesses = Guesses()
        self._local = is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in allowed_hosts)}
        if not self._local:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local", f"{name.split('.')[0]}.local"}
        self.cookie_name = f"picosam_{port}"

    @property
    def needs_token(self) -> bool:
        return bool(self._token)

    def refusal(self, ask: Ask) -> Refusal | None:
        """Why a request is refused; None if it is not."""
        if not self._is_own(ask.host):
            return Refusal(
                421, "host",
                f"This page does not answer to the name '{_shown(ask.host)}'. Use its address, or "
                "add the name to allowed_hosts in its [[publish]] table.",
            )  # fmt: skip
        foreign = bool(ask.origin) and not _same_host(ask.origin, ask.host)
        if foreign or (ask.site == "cross-site" and not ask.page):
            return Refusal(
                403, "origin", "Another web page asked for this, and this one answers only itself."
            )
        if self._token and not ask.open and not self._has_cookie(ask):
            scheme, _, bearer = ask.authorization.partition(" ")
            return self.judge(bearer.strip() if scheme.lower() == "bearer" else ask.token,
                              ask.client)  # fmt: skip
        return None

    def judge(self, given: str, client: str) -> Refusal | None:
        """Why a token is refused; None if it is the one.

        From an address with too many wrong ones, the right one is refused, too: it could be
        found otherwise. A page that has the cookie goes on.

        Args:
            given: "" for none, which is no guess.
            client: the address that it came from.
        """
        if given and self._guesses.spent(client):
            return Refusal(
                429, "guesses", "Too many wrong tokens came from this address. Wait a minute."
            )
        if self.is_token(given):
            return None
        if given:
            self._guesses.count(client)
        return Refusal(
            401, "token",
            "A token is needed: the cookie of the page, or the header 'Authorization: "
            "Bearer TOKEN'.",
        )  # fmt: skip

    def is_token(self, text: str) -> bool:
        """Whether it is the token; takes as long for a wrong one as for the right one."""
        same = hmac.compare_digest(text.encode("utf-8", "surrogatepass"), self._token)
        return same and self.needs_token

    def set_cookie(self) -> str:
        """The header's value. The cookie proves that its owner knew the token, and is not it."""
        return (
            f"{self.cookie_name}={self._cookie()}; Path=/; Max-Age={COOKIE_AGE_S}; "
            "HttpOnly; SameSite=Strict"
        )

    def _cookie(self) -> str:
        return hmac.new(self._token, b"picosam-web cookie 1", hashlib.sha256).hexdigest()

    def _has_cookie(self, ask: Ask) -> bool:
        cookie = ask.cookie.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(cookie, self._cookie().encode())

    def _is_own(self, host: str) -> bool:
        """Against DNS rebinding: a foreign name may lead here, an address cannot be foreign."""
        name = name_in(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self._names
        return address.is_loopback or not self._local or name in self._names


def _same_host(origin: str, host: str) -> bool:
    """Whether an Origin header is of the page that the Host header names, port included."""
    try:
        parts = urlsplit(origin)
        usual = {"http": 80, "https": 443}[parts.scheme]
        of_origin = (parts.hostname, parts.port or usual)
        asked = urlsplit(f"//{host}")
        return of_origin == (asked.hostname, asked.port or usual)
    except (ValueError, KeyError):
        return False


def _shown(host: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in host[:80])
