"""Which hosts are this machine, and what name a request was sent to."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["is_loopback", "name_in"]


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def name_in(header: str) -> str:
    """The name in a Host header, in small letters; "" if it is not a name and a port alone."""
    try:
        parts = urlsplit(f"//{header}")
        whole = parts.netloc == header and "@" not in header and (parts.port or 0) >= 0
    except ValueError:
        return ""
    return (parts.hostname or "") if whole else ""
