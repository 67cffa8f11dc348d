"""The invariants, checked on what a subscriber received."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from picosam_sdk import CropRule, Roi
from picosam_sdk.geometry import crop_box
from picosam_sdk.payload import decode_mask
from tests.egress.canary import finds
from tests.faults.parts import REGIONS

__all__ = ["Checker"]

_RULE = CropRule(size_px=96, padding=0.1, square=False)
_SENSOR_TOLERANCE = 0.02  # the sensor's ROI lies on a grid of pixels


class Checker:
    """Looks at each message once, in the order in which they came."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self._next: dict[tuple[str, str], int] = {}
        self._bytes: list[bytes] = []

    def message(self, topic: str, payload: bytes) -> bool:
        """Takes a message; whether it was not seen before, and holds a mask."""
        self._bytes.append(payload)
        if not topic.endswith("/mask"):
            return False
        message = json.loads(payload)
        key, seq = (message["device"], message["session"]), message["seq"]
        expected = self._next.get(key, 0)
        if seq < expected:
            self.counts["duplicates"] += 1
            return False
        if seq > expected:
            self._violated("lost or reordered", f"{key}: seq {seq} after {expected - 1}")
        self._next[key] = seq + 1
        self.counts["messages"] += 1
        return self._check_roi(message)

    def must_have(self, waiting: list[tuple[str, str, int]]) -> None:
        """What a spool held when its pipeline was killed has arrived by now."""
        for device, session, seq in waiting:
            if seq >= self._next.get((device, session), 0):
                self._violated("lost", f"{session}: seq {seq} was stored, and never came")

    def check_pixels(self, *more: bytes) -> None:
        """Searches all that came, and what else is given, for the canary."""
        for data in (*dict.fromkeys(self._bytes), *more):
            self.counts["bytes searched"] += len(data)
            if found := finds(data):
                self._violated("pixels", f"{found} in {data[:80]!r}")
        self._bytes.clear()

    @property
    def sessions(self) -> int:
        return len(self._next)

    def _check_roi(self, message: dict[str, Any]) -> bool:
        """Whether there is a mask."""
        mask = decode_mask(message)
        if mask is None:
            return False
        self.counts["masks"] += 1
        region = message["region"]
        asked = REGIONS.get(region)
        if asked is None:
            self._violated("wrong ROI", f"a mask for the region {region!r}")
            return True
        if message["prompt"] is None or _far(Roi(*message["prompt"]), asked, 1e-5):
            self._violated("wrong ROI", f"{region}: prompt {message['prompt']}")
        width_px, height_px = mask.size_px
        box = crop_box(asked, width_px, height_px, _RULE)
        expected = Roi.from_pixels(box.x0, box.y0, box.width, box.height, mask.size_px)
        is_sensor = message["device"] == "sensor"
        if _far(mask.roi, expected, _SENSOR_TOLERANCE if is_sensor else 1e-5):
            self._violated("wrong ROI", f"{region}: mask over {message['roi']}, not {expected}")
        found = mask.bbox()
        if found and not is_sensor:
            self._check_object(found, box, region)
        return True

    def _check_object(self, found: Any, box: Any, region: str) -> None:
        """The red pattern is at 40 to 104, 60 to 124; nothing else is red."""
        low = (max(40, box.x0), max(60, box.y0))
        x, y = found[0], found[1]
        if abs(x - low[0]) > 4 or abs(y - low[1]) > 4:
            self._violated("wrong ROI", f"{region}: the object was found at {found}")

    def _violated(self, what: str, how: str) -> None:
        self.counts[f"violation: {what}"] += 1
        if len(self.violations) < 100:
            self.violations.append(f"{what}: {how}")


def _far(one: Roi, other: Roi, limit: float) -> bool:
    pairs = ((one.x, other.x), (one.y, other.y), (one.width, other.width),
             (one.height, other.height))  # fmt: skip
    return any(abs(a - b) > limit for a, b in pairs)
