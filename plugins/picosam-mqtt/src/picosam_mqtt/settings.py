"""How to reach a broker, and what goes to and fro."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from picosam_sdk.config import Secret, check, warn_if_shared
from picosam_sdk.errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["ConnectionConfig", "Message", "SpoolConfig", "TlsConfig", "Will"]


@contextlib.contextmanager
def _readable(key: str, expected: str, path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"{key}: expected {expected} at {path}, got: {error.strerror or error}",
            hint="Check the path, who may read it, and that certificate and key match.",
        ) from error


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS 1.2 or newer; the broker's certificate and its name are always verified.

    Args:
        ca_file: certificates (PEM) of the authorities to trust; the system's if None.
        cert_file, key_file: certificate and key (PEM) of this client, for mutual TLS; the key
            may be in ``cert_file``.
        key_password: of the key, if it has one.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: Secret | None = None

    def __post_init__(self) -> None:
        alone = self.cert_file is None and self.key_file is not None
        check(not alone, "cert_file", "the certificate of key_file", None)

    def context(self) -> ssl.SSLContext:
        """The context to connect with. The files are read each time: they may be renewed.

        Raises:
            ConfigError: a file cannot be read or is not what it should be.
        """
        import ssl

        with _readable("tls.ca_file", "certificates in PEM", self.ca_file):
            context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            warn_if_shared(self.key_file or self.cert_file, "tls.key_file")
            password = self.key_password.reveal("tls.key_password") if self.key_password else ""
            with _readable("tls.cert_file", "a certificate and its key in PEM", self.cert_file):
                context.load_cert_chain(self.cert_file, self.key_file, password)
        return context


@dataclass(frozen=True)
class ConnectionConfig:
    """How to reach a broker.

    Args:
        host: name or address. With TLS, as it stands in the broker's certificate.
        port: 0 for the usual one: 1883, with TLS 8883; WebSockets 80, with TLS 443.
        transport: "tcp" or "websockets".
        path: of the WebSocket.
        tls: None for none; ``tls = {}`` trusts the system's authorities.
        username, password: for the broker; without ``tls`` they go out unencrypted.
        version: of MQTT: "5", "3.1.1", or "auto": 5, and 3.1.1 if the broker does not speak 5.
        client_id: unique at the broker; "" for one that the application chooses.
        keepalive_s: a broker that is silent for up to twice as long is given up.
        connect_timeout_s: for the TCP connection, for TLS, and for the broker's answer.
        reconnect_s, reconnect_max_s: pause before the second attempt, doubled each time up to the
            longest; each is shortened by chance, so that a fleet does not come back at once.
        refused_retry_s: pause where trying soon is of no use, as after a wrong password.
    """

    host: str = "localhost"
    port: int = 0
    transport: Literal["tcp", "websockets"] = "tcp"
    path: str = "/mqtt"
    tls: TlsConfig | None = None
    username: str = ""
    password: Secret | None = None
    version: Literal["auto", "5", "3.1.1"] = "auto"
    client_id: str = ""
    keepalive_s: int = 30
    connect_timeout_s: float = 10.0
    reconnect_s: float = 0.5
    reconnect_max_s: float = 30.0
    refused_retry_s: float = 60.0

    def __post_init__(self) -> None:
        check(bool(self.host), "host", "a name or an address", self.host)
        check(0 <= self.port <= 65535, "port", "1 to 65535, or 0 for the usual one", self.port)
        check(1 <= self.keepalive_s <= 65535, "keepalive_s", "1 to 65535", self.keepalive_s)
        check(0 < self.connect_timeout_s <= 600, "connect_timeout_s", "above 0, at most 600",
              self.connect_timeout_s)  # fmt: skip
        check(0 < self.reconnect_s <= self.reconnect_max_s, "reconnect_s",
              "0 < reconnect_s <= reconnect_max_s", self.reconnect_s)  # fmt: skip
        check(self.refused_retry_s > 0, "refused_retry_s", "above 0", self.refused_retry_s)
        check(self.path.startswith("/"), "path", "a path that begins with '/'", self.path)
        named = bool(self.username) or self.password is None
        check(named, "username", "a name for the password", self.username)
        size = len(self.client_id.encode())
        check(size <= 256, "client_id", "at most 256 bytes", self.client_id)

    @property
    def usual_port(self) -> int:
        """The port, or the usual one where it is 0."""
        if self.port:
            return self.port
        if self.transport == "websockets":
            return 80 if self.tls is None else 443
        return 1883 if self.tls is None else 8883

    @property
    def exposes_password(self) -> bool:
        """Whether a password would go through a network unencrypted."""
        local = self.host in ("localhost", "::1") or self.host.startswith("127.")
        return self.password is not None and self.tls is None and not local

    @property
    def url(self) -> str:
        """Where it goes, without credentials: ``mqtts://host:8883``, ``ws://host:80/mqtt``."""
        secure = "" if self.tls is None else "s"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.transport == "websockets":
            return f"ws{secure}://{host}:{self.usual_port}{self.path}"
        return f"mqtt{secure}://{host}:{self.usual_port}"


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """``spool = { ... }``: what may wait on disk while there is no connection.

    Args:
        path: the file; None for one of the device and broker in ``$STATE_DIRECTORY`` (set by
            systemd) or ``$XDG_STATE_HOME/picosam``.
        max_count, max_bytes, max_age_s: beyond any of them the oldest messages are dropped, and
            counted.
    """

    path: Path | None = None
    max_count: int = 50_000
    max_bytes: int = 64_000_000
    max_age_s: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        check(self.max_count >= 1, "max_count", "a number of messages above 0", self.max_count)
        check(self.max_bytes >= 10_000, "max_bytes", "at least 10000 bytes", self.max_bytes)
        check(self.max_age_s > 0, "max_age_s", "seconds above 0", self.max_age_s)

    def usual_path(self, name: str) -> Path:
        """The path, or the usual one of a name such as "desk-localhost-1883"."""
        if self.path is not None:
            return self.path.expanduser()
        folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if folder:
            return Path(folder) / f"mqtt-{name}.sqlite"
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "picosam" / f"mqtt-{name}.sqlite"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for this client if the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """What came in.

    Args:
        retain: whether the broker had kept it from before the subscription.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
