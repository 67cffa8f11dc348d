"""What may come in over MQTT: orders on ``roi/set`` and samples on ``gaze``, strictly read.

An order is a JSON object with exactly one of

- ``"roi": [x, y, width, height]``, a box around the object, as shares of the view,
- ``"point": [x, y]``, a place on it, inside the view,
- ``"clear": true``, which takes back what was set before,

and optionally ``"ttl_s"``, for how many seconds it holds, and ``"id"``, a text or a whole number
that the answer repeats. A signed one also has device (the receiver's name), session, seq,
timestamp_ns and sig, see :mod:`picosam_mqtt.signing`. Any other key is refused: so a mask message
that somebody caught cannot be played back as an order.

A gaze sample is ``{"x": 0.41, "y": 0.63, "t": 1712.3, "confidence": 0.97, "worn": true}``, as the
gaze plugin's sources "udp" and "mqtt" take it: x and y null where the eye was lost, the rest
optional, other keys left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picosam_mqtt.decode import DecodeError, read_json
from picosam_sdk.errors import InputError
from picosam_sdk.types import Gaze, Prompt, Roi

__all__ = ["MAX_ORDER_BYTES", "Order", "OrderError", "read_gaze", "read_order"]

MAX_ORDER_BYTES = 1024

_MAX_TTL_S = 86_400.0
_ID_CHARACTERS = 64
_KINDS = ("roi", "point", "clear")
_KEYS = frozenset({*_KINDS, "ttl_s", "id", "device", "session", "seq", "timestamp_ns", "sig"})


class OrderError(ValueError):
    """A message is not obeyed.

    Args:
        reason: one word for programs: "malformed", "outside", "retained", "rate", "device", or
            one of :class:`picosam_mqtt.signing.SignatureError`.
        order_id: the message's "id", if it could be read.
    """

    def __init__(self, reason: str, message: str, order_id: str | int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.order_id = order_id


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Args:
        prompt: what to look at; None to take back what was set.
        ttl_s: how long it holds; None if it does not say.
        order_id: what the answer repeats.
        message: the whole message, for its signature.
    """

    prompt: Prompt | None
    ttl_s: float | None
    order_id: str | int | None
    message: Mapping[str, Any]


def read_order(payload: bytes, now_ns: int) -> Order:
    """Reads a message on ``roi/set``.

    Args:
        now_ns: when it came, on the monotonic clock.

    Raises:
        OrderError: it is no such order.
    """
    try:
        message = read_json(payload, MAX_ORDER_BYTES)
    except DecodeError as error:
        raise OrderError("malformed", str(error)) from None
    order_id = _order_id(message.get("id"))
    try:
        unknown = sorted(set(message) - _KEYS)
        if unknown:
            raise OrderError("malformed", f"expected only known keys, got {unknown[0]!r:.40}")
        kinds = [kind for kind in _KINDS if kind in message]
        if len(kinds) != 1:
            raise OrderError("malformed", f"expected one of {', '.join(_KINDS)}, got {kinds}")
        ttl_s = _ttl_s(message["ttl_s"]) if "ttl_s" in message else None
        prompt = _prompt(kinds[0], message[kinds[0]], now_ns)
    except OrderError as error:
        raise OrderError(error.reason, str(error), order_id) from None
    return Order(prompt, ttl_s, order_id, message)


def read_gaze(payload: bytes, now_ns: int) -> tuple[Gaze, Mapping[str, Any]]:
    """Reads a message on ``gaze``; and the whole message, for its signature.

    Args:
        now_ns: when it came, on the monotonic clock; the sample's time.

    Raises:
        OrderError: it is no such sample.
    """
    try:
        message = read_json(payload, MAX_ORDER_BYTES)
    except DecodeError as error:
        raise OrderError("malformed", str(error)) from None
    x, y = message.get("x", ""), message.get("y", "")
    if x is None and y is None:
        x = y = math.nan
    else:
        x, y = _numbers([x, y], 2)
    (confidence,) = _numbers([message.get("confidence", 1.0)], 1)
    worn = message.get("worn", True)
    if not isinstance(worn, bool) or not 0 <= confidence <= 1:
        raise OrderError("malformed", "expected a confidence from 0 to 1, worn true or false")
    return Gaze(x, y, now_ns, confidence, worn), message


def _prompt(kind: str, value: Any, now_ns: int) -> Prompt | None:
    if kind == "clear":
        if value is not True:
            raise OrderError("malformed", f"clear: expected true, got {value!r:.40}")
        return None
    try:
        if kind == "point":
            x, y = _numbers(value, 2)
            return Prompt(point=(x, y), timestamp_ns=now_ns)
        roi = Roi(*_numbers(value, 4))
    except InputError as error:
        raise OrderError("outside" if kind == "point" else "malformed", str(error)) from None
    if not roi.overlaps_view():
        raise OrderError("outside", f"expected a ROI that overlaps the view, got {value}")
    return Prompt(roi=roi, timestamp_ns=now_ns)


def _numbers(values: Any, length: int) -> list[float]:
    """Numbers from -10 to 10: whatever is farther away is a mistake, such as pixels."""
    if not isinstance(values, list) or len(values) != length:
        raise OrderError("malformed", f"expected {length} numbers, got {values!r:.60}")
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not -10 <= value <= 10:
            raise OrderError(
                "malformed", f"expected numbers, as shares of the view, got {value!r:.40}"
            )
    return [float(value) for value in values]


def _ttl_s(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value <= _MAX_TTL_S:
        raise OrderError("malformed", f"ttl_s: expected 0 to {_MAX_TTL_S:g} s, got {value!r:.40}")
    return float(value)


def _order_id(value: Any) -> str | int | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**53 else None
    return value[:_ID_CHARACTERS]
