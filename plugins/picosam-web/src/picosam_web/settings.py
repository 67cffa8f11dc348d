"""The keys of ``[[publish]] kind = "web"``."""

from __future__ import annotations

from dataclasses import dataclass

from picosam_sdk.config import Secret, check
from picosam_sdk.hosts import is_loopback

__all__ = ["MIN_TOKEN_CHARACTERS", "WebConfig"]

MIN_TOKEN_CHARACTERS = 16
"""A shorter one can be guessed over a network."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """``kind = "web"``.

    Args:
        host: address to listen on. Anything but loopback needs a token.
        port: 0 for any free one.
        token: what a browser must know, at least 16 characters.
        allowed_hosts: names under which browsers reach this page, beside its addresses and this
            machine's own name; another name is refused, since it may be a trick of a foreign page.
        picture: shows the picture, too, which ``egress`` must grant: "pixels", "redacted" or
            "cutout".
        picture_px: its longer side at most.
        jpeg_quality: 1 to 100.
        prompts: takes boxes and points from the page, for the ROI source "manual".
        pointer: takes where the mouse is on the page as a gaze, for the ROI source "gaze" with
            ``source = { kind = "pointer" }``.
        max_rate_hz: results a second at most; 0 is no limit.
        max_clients: pages that may be open at once.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: Secret | None = None
    allowed_hosts: tuple[str, ...] = ()
    picture: bool = False
    picture_px: int = 1280
    jpeg_quality: int = 80
    prompts: bool = True
    pointer: bool = False
    max_rate_hz: float = 30.0
    max_clients: int = 8

    def __post_init__(self) -> None:
        check(self.host.strip() != "", "host", "an address or name", self.host)
        check(0 <= self.port <= 65535, "port", "a port, or 0 for any free one", self.port)
        check(
            is_loopback(self.host) or self.token is not None, "token",
            f"a token, since others can reach the host '{self.host}'", None,
            hint='Add one, such as token = { env = "PICOSAM_WEB_TOKEN" }, or leave host out.',
        )  # fmt: skip
        for name in self.allowed_hosts:
            ok = name == name.strip() != "" and not set(name) & set("/:@ ")
            check(ok, "allowed_hosts", "names without port and scheme", name)
        check(16 <= self.picture_px <= 8192, "picture_px", "16 to 8192 px", self.picture_px)
        check(1 <= self.jpeg_quality <= 100, "jpeg_quality", "1 to 100", self.jpeg_quality)
        check(0 <= self.max_rate_hz < 1e6, "max_rate_hz", "a rate, or 0", self.max_rate_hz)
        check(1 <= self.max_clients <= 200, "max_clients", "1 to 200", self.max_clients)
