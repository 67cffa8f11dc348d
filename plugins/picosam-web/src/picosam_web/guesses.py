"""How many wrong tokens may come from an address."""

from __future__ import annotations

import ipaddress

from picosam_web.inputs import RateLimit

__all__ = ["BURST", "RATE_HZ", "Guesses", "network_of"]

BURST = 10
"""Wrong tokens that an address may give at once."""

RATE_HZ = 0.2
"""And a second, in the long run."""

_ADDRESSES = 1024


class Guesses:
    """Remembers who guesses; of 1024 addresses, the one that was silent longest is forgotten.

    Args:
        rate_hz, burst: see above.
    """

    def __init__(self, rate_hz: float = RATE_HZ, burst: int = BURST) -> None:
        self._rate_hz, self._burst = rate_hz, burst
        self._limits: dict[str, RateLimit] = {}

    def spent(self, address: str) -> bool:
        """Whether no further guess of it is looked at now."""
        limit = self._limits.get(network_of(address))
        return limit is not None and limit.empty

    def count(self, address: str) -> None:
        """A wrong token came from it."""
        key = network_of(address)
        limit = self._limits.pop(key, None) or RateLimit(self._rate_hz, self._burst)
        self._limits[key] = limit  # now the last; the first is silent longest
        limit.exceeded()
        if len(self._limits) > _ADDRESSES:
            del self._limits[next(iter(self._limits))]


def network_of(address: str) -> str:
    """Who is behind an address: in IPv6, everybody has as many as there are in a /64."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    if mapped.version == 4:
        return str(mapped)
    return str(ipaddress.ip_network((int(mapped), 64), strict=False))
