"""The mask filters, in the file's order; each region that is watched has its own set of them."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from picosam_sdk.interfaces import MaskFilter
from picosam_sdk.mask import Mask
from picosam_sdk.stats import Stats
from picosam_sdk.types import Roi

__all__ = ["FilterChain"]

_log = logging.getLogger(__name__)

_REGIONS = 64
"""So many regions are remembered; of more, the one that was seen longest ago is forgotten."""

_ANOTHER_OBJECT = 0.1
"""A ROI in force whose IoU with the one before is below this shows another object."""


class FilterChain:
    """Sends masks through the filters.

    Filters remember: where a source watches several regions in turn, each region gets filters of
    its own, made like the first. They are reset when a region has no mask, and when its ROI jumps
    to another place.

    Args:
        filters: name and filter; they serve the first region.
        stats: counted into, a part for each filter: ``withheld``, ``errors``.
    """

    def __init__(self, filters: Sequence[tuple[str, MaskFilter]], stats: Stats) -> None:
        self._names = [name for name, _ in filters]
        self._filters = [one for _, one in filters]
        self._spare: list[MaskFilter] | None = self._filters
        self._stats = stats
        self._parts = [stats.part("filter", name) for name in self._names]
        self._regions: OrderedDict[str, tuple[list[MaskFilter], Roi | None]] = OrderedDict()

    def open(self) -> None:
        """Opens the filters.

        Raises:
            Exception: what one of them raises.
        """
        for one in self._filters:
            one.open()

    def apply(self, mask: Mask | None, region: str, now_ns: int) -> Mask | None:
        """The mask to go on with; None if there was none, or a filter withheld it, or failed.

        Args:
            mask: None: the region has none, or there was no prompt.
            region: that it belongs to.
            now_ns: the monotonic clock.
        """
        if not self._filters:
            return mask
        began_ns = time.perf_counter_ns()
        if mask is None:
            self._forget(region)
            return None
        try:
            filters, before = self._set_of(region)
        except Exception as error:  # of a filter that could be made once, but not again
            self._stats.error(error)
            return None
        if before is not None and before.iou(mask.roi) < _ANOTHER_OBJECT:
            _reset(filters)
        self._regions[region] = (filters, mask.roi)
        filtered = self._through(filters, mask, now_ns)
        self._stats.time("filters", (time.perf_counter_ns() - began_ns) / 1e6)
        return filtered

    def close(self) -> None:
        """Closes them all; may be called more than once."""
        sets = [filters for filters, _ in self._regions.values()]
        if self._spare is not None:
            sets.append(self._spare)
        for filters in sets:
            _close(filters)

    def _through(self, filters: list[MaskFilter], mask: Mask, now_ns: int) -> Mask | None:
        current: Mask | None = mask
        for one, stats in zip(filters, self._parts, strict=True):
            assert current is not None
            try:
                current = one.apply(current, now_ns)
                if current is not None and not isinstance(current, Mask):
                    raise TypeError(f"expected a Mask or None, got {type(current).__name__}")
            except Exception as error:
                # A filter may be there to hide something: without it, nothing goes on.
                stats.error(error)
                if stats["errors"] == 1:
                    _log.warning("mask filter '%s' failed: %s", one.name, stats.last_error)
                _reset(filters)
                return None
            if current is None:
                stats.count("withheld")
                return None
        return current

    def _set_of(self, region: str) -> tuple[list[MaskFilter], Roi | None]:
        known = self._regions.get(region)
        if known is not None:
            self._regions.move_to_end(region)
            return known
        if self._spare is not None:
            filters, self._spare = self._spare, None
        elif len(self._regions) >= _REGIONS:
            _, (filters, _) = self._regions.popitem(last=False)
            _reset(filters)
        else:
            filters = [type(one)(one.config, one.context) for one in self._filters]
            for one in filters:
                one.open()
        return filters, None

    def _forget(self, region: str) -> None:
        """Without a region, no source has a prompt: every object is lost."""
        for name in [region] if region else list(self._regions):
            if name in self._regions:
                filters, _ = self._regions[name]
                _reset(filters)
                self._regions[name] = (filters, None)


def _reset(filters: Sequence[MaskFilter]) -> None:
    for one in filters:
        with suppress(Exception):  # what it does then shows in its masks
            one.reset()


def _close(filters: Sequence[MaskFilter]) -> None:
    for one in filters:
        with suppress(Exception):  # a plugin's own code, and nothing is left to do
            one.close()
