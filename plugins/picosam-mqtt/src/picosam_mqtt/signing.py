"""Signatures: HMAC-SHA256 over a message's canonical JSON, and a memory against replays.

The canonical form is what ``json.dumps(message, sort_keys=True, separators=(",", ":"))`` gives
without the key "sig": sorted keys, no blanks, ASCII. :func:`sign` returns a message whose
canonical form is what should travel. A receiver in any language can then check it without
formatting numbers as Python does: it cuts ``"sig":"..."`` with the comma beside it out of the
bytes that came, and takes the HMAC of what is left.

Nothing here needs the SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["MIN_KEY_BYTES", "SignatureError", "Verifier", "canonical", "sign"]

MIN_KEY_BYTES = 16
"""A shorter key is refused: it could be guessed."""

Reason: TypeAlias = Literal["unsigned", "forged", "late", "replayed"]

_WINDOW = 1024  # sequence numbers back from the newest of a session that may still come
_SESSIONS = 4096  # remembered at a time


class SignatureError(ValueError):
    """A message is not to be trusted.

    Args:
        reason: "unsigned" (it has no signature, or lacks what a signed message must have),
            "forged" (signed with another key, or changed), "late" (its time is outside the
            window), "replayed" (it, or one too long after it, was seen before).
        message: what was expected and what came.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


def canonical(message: Mapping[str, Any]) -> bytes:
    """The bytes of a message: what is signed without "sig", and what travels with it.

    Raises:
        ValueError: it holds NaN or infinity.
        TypeError: it holds something that JSON does not have.
    """
    text = json.dumps(dict(message), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def sign(message: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """A copy of the message with its signature as "sig", 64 hexadecimal digits.

    Args:
        message: with device, session, seq and timestamp_ns, without which no Verifier takes it.
        key: at least MIN_KEY_BYTES random bytes that both sides know.

    Raises:
        ValueError: the key is too short, or the message cannot be written as JSON.
    """
    _check_key(key)
    unsigned = {name: value for name, value in message.items() if name != "sig"}
    return {**unsigned, "sig": hmac.new(key, canonical(unsigned), hashlib.sha256).hexdigest()}


@dataclass(slots=True)
class _Session:
    """Which sequence numbers of a session came, as far as they may still come again."""

    newest: int = -1
    seen: set[int] = field(default_factory=set)

    def is_new(self, seq: int) -> bool:
        return seq > self.newest or (seq > self.newest - _WINDOW and seq not in self.seen)

    def add(self, seq: int) -> None:
        self.newest = max(self.newest, seq)
        self.seen.add(seq)
        if len(self.seen) > 2 * _WINDOW:
            self.seen = {old for old in self.seen if old > self.newest - _WINDOW}


class Verifier:
    """Takes each message of a trusted sender once. For use in one thread.

    A message counts as seen by (device, session, seq), as in RFC 4303's window of sequence
    numbers: up to 1024 may come out of order. Of 4096 sessions, the one that was silent longest
    is forgotten.

    Args:
        key: as in :func:`sign`.
        window_s: how far a message's time may be from this machine's clock. ``math.inf`` takes
            any, as a receiver must that wants what a publisher stored while it was offline; then
            only the sequence numbers hold off replays, and only while this object lives.
        clock: Unix time in nanoseconds.

    Raises:
        ValueError: the key is too short, or the window is not above zero.
    """

    def __init__(
        self, key: bytes, window_s: float = 30.0, clock: Callable[[], int] = time.time_ns
    ) -> None:
        _check_key(key)
        if not window_s > 0:
            raise ValueError(f"expected a window above 0 s, got {window_s}")
        self._key = key
        self._window_ns = window_s * 1e9
        self._clock = clock
        self._sessions: dict[tuple[str, str], _Session] = {}

    def verify(self, message: Mapping[str, Any]) -> None:
        """Accepts a message, and remembers it.

        Args:
            message: as it was parsed, with "sig".

        Raises:
            SignatureError: see there; the message must not be used.
        """
        device, session, seq, timestamp_ns = self._authentic(message)
        age_ns = self._clock() - timestamp_ns
        if abs(age_ns) > self._window_ns:
            raise SignatureError(
                "late",
                f"expected a message of the last {self._window_ns / 1e9:g} s, got one that is "
                f"{age_ns / 1e9:.1f} s old; compare the clocks of sender and receiver",
            )
        known = self._sessions.pop((device, session), None) or _Session()
        self._sessions[device, session] = known  # now the last, the first is silent longest
        if not known.is_new(seq):
            raise SignatureError(
                "replayed",
                f"expected a new message of {device}, session {session}, got number {seq} again",
            )
        known.add(seq)
        if len(self._sessions) > _SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def _authentic(self, message: Mapping[str, Any]) -> tuple[str, str, int, int]:
        """What identifies the message, once its signature holds."""
        given = message.get("sig")
        if not isinstance(given, str):
            raise SignatureError("unsigned", "expected a signature 'sig', got none")
        unsigned = {name: value for name, value in message.items() if name != "sig"}
        try:
            wanted = hmac.new(self._key, canonical(unsigned), hashlib.sha256).hexdigest()
        except (ValueError, TypeError, RecursionError) as error:
            raise SignatureError("forged", f"expected plain JSON, got: {error}") from None
        if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("ascii")):
            raise SignatureError(
                "forged", "expected the signature that belongs to this message, got another one"
            )
        device, session = message.get("device"), message.get("session")
        seq, timestamp_ns = message.get("seq"), message.get("timestamp_ns")
        if not (
            isinstance(device, str)
            and isinstance(session, str)
            and _is_count(seq)
            and _is_count(timestamp_ns)
        ):
            raise SignatureError(
                "unsigned", "expected device, session, seq and timestamp_ns in a signed message"
            )
        return device, session, int(seq), int(timestamp_ns)  # type: ignore[arg-type]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_key(key: bytes) -> None:
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(
            f"expected a key of at least {MIN_KEY_BYTES} bytes, got {len(key)}; "
            "make one with: openssl rand -hex 32"
        )
