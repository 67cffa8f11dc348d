"""A camera in the network: RTSP, or a stream of JPEGs over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from picosam_sdk.cameras.capture import NewestFrame, open_capture
from picosam_sdk.config import Secret, check
from picosam_sdk.errors import CameraError
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.types import Frame

__all__ = ["RtspCamera", "RtspConfig"]

_SCHEMES = ("rtsp", "rtsps", "http", "https")


@dataclass(frozen=True, slots=True)
class RtspConfig:
    """``kind = "rtsp"``.

    Args:
        url: of the stream: rtsp://, rtsps://, or http:// and https:// for a stream of JPEGs.
            Many cameras have their password in it, so it is a secret as a whole: neither it nor
            its path is shown anywhere, only the host.
        username, password: put into the URL, if it has none.
        timeout_s: how long connecting may take, and how long no frame may come.
    """

    url: Secret
    username: str = ""
    password: Secret = Secret()
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        check(0.1 <= self.timeout_s < 1e6, "timeout_s", "at least 0.1 s", self.timeout_s)
        if self.url.text:  # a file's path is relative to the configuration, which is not known yet
            self._parts()

    def address(self) -> tuple[str, str]:
        """The whole URL, and what may be shown of it.

        Raises:
            ConfigError: it is none, or a secret cannot be read. The message has none in it.
        """
        parts = self._parts()
        host, port = parts.hostname or "", parts.port
        if self.username and parts.username is None:
            password = quote(self.password.reveal("password"), safe="")
            user = f"{quote(self.username, safe='')}:{password}@"
            parts = parts._replace(netloc=user + parts.netloc)
        shown = f"[{host}]" if ":" in host else host
        return urlunsplit(parts), f"{parts.scheme}://{shown}" + (f":{port}" if port else "")

    def _parts(self) -> SplitResult:
        text = self.url.reveal("url")
        try:
            parts = urlsplit(text)
            _ = parts.port  # which raises if it is none
        except ValueError:
            parts = urlsplit("")
        plain = re.fullmatch(r"[^\s\x00-\x1f]+", text) is not None
        check(plain and parts.scheme in _SCHEMES and bool(parts.hostname), "url",
              f"a URL that begins with {', '.join(f'{scheme}://' for scheme in _SCHEMES)} and has "
              "a host", "another text (not shown: it is a secret)")  # fmt: skip
        return parts


class RtspCamera(Camera):
    """Gives the newest frame of a stream; a stream that ends or stalls is a CameraError."""

    name: ClassVar[str] = "rtsp"
    Config: ClassVar[type] = RtspConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._reader: NewestFrame | None = None

    def open(self) -> None:
        self.close()
        timeout_s = self.config.timeout_s
        url, shown = self.config.address()
        name = f"the stream of {shown}"

        def open_it() -> Any:
            return open_capture(url, "CAP_FFMPEG", name, timeout_s)

        reader = NewestFrame(open_it, name)
        # Connecting and finding out what the stream is have the time each.
        reader.open(2 * timeout_s)
        self._reader = reader

    def read(self, timeout_s: float) -> Frame | None:
        if self._reader is None:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        # FFmpeg's own limit is for each packet, and some formats need several for a frame.
        return self._reader.read(min(timeout_s, self.config.timeout_s))

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def stats(self) -> Mapping[str, Any]:
        reader = self._reader  # read in other threads, too, while it is being closed
        return {} if reader is None else reader.stats
