"""What the retained topic ``state`` says: the newest of each region, for dashboards."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["WHOLE", "StateBook", "region_id"]

WHOLE = "view"
"""The id of the region without a name."""


def region_id(region: str) -> str:
    """A name for topics, ids and templates: lower-case ASCII letters, digits and underscores.

    A checksum is appended where letters had to be replaced, so that two regions do not share one.
    """
    if not region:
        return WHOLE
    plain = re.sub(r"[^a-z0-9]+", "_", region.lower()).strip("_")[:40]
    looks_summed = re.search(r"(^|_)[0-9a-f]{8}$", plain) is not None
    if plain == region and plain != WHOLE and not looks_summed:
        return plain
    return f"{plain}_{zlib.crc32(region.encode('utf-8', 'surrogatepass')):08x}".lstrip("_")


class StateBook:
    """Collects mask messages into one state.

    Args:
        regions: names that are listed from the start, as regions without an object.
        max_regions: of further ones; a message of one too many changes ``present`` no more.
    """

    def __init__(self, regions: tuple[str, ...] = (), max_regions: int = 64) -> None:
        self._max_regions = max(max_regions, len(regions))
        self._entries: dict[str, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        for region in regions:
            self._entries[region_id(region)] = {"name": region, **_entry({})}

    @property
    def regions(self) -> dict[str, str]:
        """The names of the regions by their ids, in the order in which they came."""
        return {key: entry["name"] for key, entry in self._entries.items()}

    def update(self, message: Mapping[str, Any]) -> bool:
        """Takes over a mask message, made by ``picosam_sdk.payload.encode_result``.

        Returns:
            Whether its region is new, so that a discovery message has to list one more.
        """
        region = message["region"]
        key = region_id(region)
        is_new = key not in self._entries
        if is_new and len(self._entries) >= self._max_regions:
            return False
        self._entries[key] = {"name": region, **_entry(message)}
        names = ("device", "session", "seq", "timestamp_ns")
        self._head = {name: message[name] for name in names}
        return is_new

    def message(self) -> dict[str, Any]:
        """The state: device, session, seq and timestamp_ns of the newest message; ``present``,
        whether any region has an object; ``regions`` by id: name, present, settling, score
        (0 to 1), area (share of the view), area_px, timestamp_ns. Without an object, score and
        areas are None."""
        entries = self._entries
        present = any(entry["present"] for entry in entries.values())
        return {**self._head, "present": present, "regions": {k: dict(entries[k]) for k in entries}}


def _entry(message: Mapping[str, Any]) -> dict[str, Any]:
    area_px, size_px = message.get("area_px"), message.get("size_px")
    present = bool(area_px)
    share = area_px / (size_px[0] * size_px[1]) if present and area_px and size_px else None
    return {
        "present": present,
        "settling": bool(message.get("settling")),
        "score": message.get("score") if present else None,
        "area": None if share is None else round(share, 6),
        "area_px": area_px if present else None,
        "timestamp_ns": message.get("timestamp_ns"),
    }
