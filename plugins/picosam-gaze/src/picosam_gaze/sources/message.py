"""The JSON message of one gaze sample, as the sources "udp" and "mqtt" take it.

::

    {"x": 0.41, "y": 0.63, "t": 1712.345, "confidence": 0.97, "worn": true}

``x`` and ``y`` are shares of the scene camera's view, origin top left (or pixels of it, if so
configured); both null where the tracker lost the eye. The others are optional: ``t``, when the
eye was measured, on the sender's clock, in seconds unless configured otherwise; ``confidence``,
0 to 1; ``worn``. Other keys are ignored.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

from picosam_gaze.clock import OneWayOffset
from picosam_gaze.sources.inbox import Inbox
from picosam_gaze.sources.place import MAX_SHARE
from picosam_sdk.config import check
from picosam_sdk.types import Gaze

__all__ = ["MessageConfig", "MessageReader"]

_UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, kw_only=True)
class MessageConfig:
    """How the messages are to be read.

    Args:
        clock: "arrival": a sample was made when it came; ``t`` is ignored. "sender": when ``t``
            says; the offset of the sender's clock is estimated, ``t`` is then required.
        t_unit: unit of ``t``.
        units: of x and y; "pixels" needs ``view_px``.
        max_bytes: longer messages are ignored and counted.
    """

    clock: Literal["arrival", "sender"] = "arrival"
    t_unit: Literal["s", "ms", "us", "ns"] = "s"
    units: Literal["shares", "pixels"] = "shares"
    max_bytes: int = 1024

    def check_message(self, view_px: tuple[int, int] | None) -> None:
        """Refuses what does not fit together."""
        check(16 <= self.max_bytes <= 65_507, "max_bytes", "16 to 65507", self.max_bytes)
        ok = self.units == "shares" or view_px is not None
        check(ok, "units", "view_px beside units 'pixels'", self.units)


class MessageReader:
    """Turns messages into samples of an inbox; whatever is wrong with one, it is only counted.

    Args:
        config: how to read them.
        view_px: size of the scene camera, needed for pixels.
        inbox: where the samples go.
    """

    def __init__(
        self, config: MessageConfig, view_px: tuple[int, int] | None, inbox: Inbox
    ) -> None:
        self._config = config
        width_px, height_px = view_px or (1, 1)
        self._scale = (width_px, height_px) if config.units == "pixels" else (1, 1)
        self._inbox = inbox
        self._last_ns = 0
        self.offset = OneWayOffset()

    def read(self, payload: bytes, arrived_ns: int | None = None) -> None:
        """Reads one message that has come."""
        arrived_ns = time.monotonic_ns() if arrived_ns is None else arrived_ns
        if len(payload) > self._config.max_bytes:
            self._inbox.count("oversized")
            self._inbox.count("malformed")
            return
        try:
            message = json.loads(payload, parse_constant=_refuse)
            gaze = self._gaze(message)
            peer_ns = self._peer_ns(message)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._inbox.count("malformed")
            return
        self._put(gaze, peer_ns, arrived_ns)

    def _put(self, gaze: dict[str, Any], peer_ns: int | None, arrived_ns: int) -> None:
        if peer_ns is None:
            self._last_ns = key = max(arrived_ns, self._last_ns + 1)
            self._inbox.put(Gaze(timestamp_ns=arrived_ns, **gaze), key, arrived_ns)
            return
        steps = self.offset.steps
        host_ns = self.offset.to_host(peer_ns, arrived_ns)
        if host_ns is None:
            self._inbox.count("clock_refused")
            return
        if self.offset.steps != steps:
            self._inbox.restart()
        self._inbox.put(Gaze(timestamp_ns=host_ns, **gaze), peer_ns, arrived_ns)

    def _gaze(self, message: Any) -> dict[str, Any]:
        x, y = message["x"], message["y"]
        if x is None and y is None:
            x = y = math.nan
        else:
            x, y = (_number(value) / side for value, side in zip((x, y), self._scale, strict=True))
            if max(abs(x), abs(y)) > MAX_SHARE:
                raise ValueError("out of range")
        confidence = _number(message.get("confidence", 1.0))
        worn = message.get("worn", True)
        if not 0 <= confidence <= 1 or not isinstance(worn, bool):
            raise ValueError("out of range")
        return {"x": x, "y": y, "confidence": confidence, "worn": worn}

    def _peer_ns(self, message: Any) -> int | None:
        if self._config.clock == "arrival":
            return None
        peer_ns = round(_number(message["t"]) * _UNIT_NS[self._config.t_unit])
        if abs(peer_ns) >= 2**63:
            raise ValueError("out of range")
        return peer_ns


def _number(value: Any) -> float | int:
    """A finite number of a message; integers stay exact, since nanoseconds need it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("no number")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
