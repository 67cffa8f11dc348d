"""Why a connection or a delivery failed, in words that a program can compare and a person read."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum

from picosam_sdk.errors import PublishError

__all__ = ["DeliveryError", "Problem", "Reason", "of_code", "of_exception"]


class Reason(StrEnum):
    """What went wrong. Its value is what ``stats`` and logs show."""

    UNKNOWN_HOST = "unknown-host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    SERVER_CERTIFICATE = "server-certificate"
    CLIENT_CERTIFICATE = "client-certificate"
    TLS = "tls"
    WEBSOCKET = "websocket"
    PROTOCOL_VERSION = "protocol-version"
    PROTOCOL = "protocol"
    CREDENTIALS = "credentials"
    NOT_AUTHORIZED = "not-authorized"
    CLIENT_ID = "client-id"
    BUSY = "busy"
    TAKEN_OVER = "taken-over"
    MAYBE_TAKEN_OVER = "maybe-taken-over"
    KEEPALIVE = "keepalive"
    CLOSED = "closed"
    INVALID = "invalid"
    QUOTA = "quota"
    SECRET = "secret"
    STOPPED = "stopped"

    @property
    def slow(self) -> bool:
        """Whether trying again soon is of no use, since somebody has to correct something."""
        return self in _SLOW


_SLOW = frozenset(
    {
        Reason.SERVER_CERTIFICATE,
        Reason.CLIENT_CERTIFICATE,
        Reason.TLS,
        Reason.WEBSOCKET,
        Reason.CREDENTIALS,
        Reason.NOT_AUTHORIZED,
        Reason.CLIENT_ID,
        Reason.TAKEN_OVER,
        Reason.SECRET,
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a connection from being there.

    Args:
        reason: what went wrong.
        text: the same with particulars, for people.
        hint: what they can do next.
    """

    reason: Reason
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}" + (f" {self.hint}" if self.hint else "")


class DeliveryError(PublishError):
    """The broker did not take a message, or nobody knows whether it did.

    Args:
        reason: what went wrong.
        refused: whether the broker said no to this message, and the connection goes on.
        permanent: whether the same message would be refused again, whatever happens.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        refused: bool = False,
        permanent: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.refused = refused
        self.permanent = permanent


MAYBE_CERTIFICATE = "It may want a client certificate: tls.cert_file."
MAYBE_OTHER_CERTIFICATE = "It may not accept the client certificate of tls.cert_file."
_CREDENTIALS_HINT = "Check username, password, and the broker's access rules."

# Reason codes of MQTT 5 (section 2.4 of the standard); paho gives the return codes of 3.1.1 as
# these, too.
_CODES: dict[int, tuple[Reason, str]] = {
    0x81: (Reason.PROTOCOL, ""),
    0x82: (Reason.PROTOCOL, ""),
    0x84: (Reason.PROTOCOL_VERSION, "Set version to 'auto' or '3.1.1'."),
    0x85: (Reason.CLIENT_ID, "Set client_id to one that the broker allows."),
    0x86: (Reason.CREDENTIALS, _CREDENTIALS_HINT),
    0x87: (Reason.NOT_AUTHORIZED, _CREDENTIALS_HINT),
    0x88: (Reason.BUSY, ""),
    0x89: (Reason.BUSY, ""),
    0x8A: (Reason.NOT_AUTHORIZED, "Ask who runs the broker: it has banned this client."),
    0x8B: (Reason.CLOSED, ""),
    0x8C: (Reason.CREDENTIALS, _CREDENTIALS_HINT),
    0x8D: (Reason.KEEPALIVE, ""),
    0x8E: (
        Reason.TAKEN_OVER,
        "Another client uses the same client id: give each device its own name in [device], "
        "and each further MQTT table of one device its own client_id.",
    ),
    0x90: (Reason.INVALID, "Set base to a topic that the broker allows."),
    0x95: (Reason.INVALID, "Raise the broker's limit on the size of a message."),
    0x96: (Reason.QUOTA, "Lower rate_hz."),
    0x97: (Reason.QUOTA, "Raise the broker's quota, or lower rate_hz."),
    0x99: (Reason.INVALID, ""),
    0x9A: (Reason.INVALID, "This broker keeps no retained messages; use one that does."),
    0x9B: (Reason.INVALID, "This broker takes no QoS 1; set qos = 0."),
    0x9F: (Reason.BUSY, ""),
}


def of_code(code: int, name: str, did: str) -> Problem:
    """The problem behind a reason code of MQTT 5.

    Args:
        code: 0x80 or above.
        name: as the standard calls it.
        did: what the broker did, such as "refused the connection".
    """
    reason, hint = _CODES.get(code, (Reason.CLOSED, ""))
    return Problem(reason, f"the broker {did}: {name} (0x{code:02X}).", hint)


def of_exception(error: Exception, where: str, has_certificate: bool) -> Problem:
    """The problem behind an exception of connecting or of the socket.

    Args:
        where: "host:port".
        has_certificate: whether a client certificate was to be shown.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return Problem(
            Reason.SERVER_CERTIFICATE,
            f"the certificate of {where} was not accepted: {error.verify_message}.",
            "Set tls.ca_file to the certificate authority that signed it, and host to a name "
            "that is in it.",
        )
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        hint = MAYBE_OTHER_CERTIFICATE if has_certificate else MAYBE_CERTIFICATE
        return Problem(Reason.CLOSED, f"{where} closed the connection in TLS.", hint)
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, where, has_certificate)
    if isinstance(error, socket.gaierror):
        return Problem(
            Reason.UNKNOWN_HOST, f"no address for {where}: {error.strerror}.", "Check host."
        )
    if isinstance(error, TimeoutError):
        return Problem(Reason.TIMEOUT, f"{where} did not answer in time.")
    if isinstance(error, ConnectionRefusedError):
        return Problem(
            Reason.REFUSED, f"nothing listens at {where}.", "Check host, port, and the broker."
        )
    if isinstance(error, ConnectionError):
        return Problem(Reason.CLOSED, f"{where} closed the connection: {_words(error)}.")
    if isinstance(error, OSError):
        return Problem(Reason.UNREACHABLE, f"{where} cannot be reached: {_words(error)}.")
    return Problem(Reason.PROTOCOL, f"{where}: {_words(error)}.")


# Alerts with which a server refuses the client's certificate, or the lack of one. TLS 1.2 says
# HANDSHAKE_FAILURE where a certificate is missing.
_CERTIFICATE_ALERTS = (
    "CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "ALERT_ACCESS_DENIED",
)  # fmt: skip


def _of_tls(error: ssl.SSLError, where: str, has_certificate: bool) -> Problem:
    words = f"{getattr(error, 'reason', '')} {error}".upper()
    missing = not has_certificate and "HANDSHAKE_FAILURE" in words
    if missing or any(alert in words for alert in _CERTIFICATE_ALERTS):
        if has_certificate:
            text, hint = "does not accept this client's certificate", "Renew it, or have the "
            hint += "broker trust the authority that signed it."
        else:
            text = "wants a client certificate"
            hint = "Set tls.cert_file and tls.key_file."
        return Problem(Reason.CLIENT_CERTIFICATE, f"{where} {text}: {_words(error)}.", hint)
    return Problem(
        Reason.TLS,
        f"TLS with {where} failed: {_words(error)}.",
        "Check that this port speaks TLS 1.2 or newer.",
    )


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__
