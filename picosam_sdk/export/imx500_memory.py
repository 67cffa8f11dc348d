"""What the converter says about the sensor's memory, as numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picosam_sdk.errors import ModelError
from picosam_sdk.limits import parse_json, read_limited

__all__ = ["MemoryReport", "read_memory_report"]

MAX_BYTES = 1 << 24
"""The longest report that is read."""

UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """On-chip memory of a converted network, in bytes as exactly as the converter prints them.

    Args:
        name: of the network.
        used, available: in all, and on the chip.
        features: the most that values on their way through the network take at once.
        weights: with the instructions.
        fits: what the converter says.
    """

    name: str
    used: int
    available: int
    features: int
    weights: int
    fits: bool

    def table(self) -> str:
        """Lines to read, in MB of 1024 x 1024 bytes."""
        rows = [("features", self.features), ("weights", self.weights), ("used", self.used)]
        lines = [f"{name:<10}{value / UNITS['MB']:>7.2f} MB" for name, value in rows]
        share = self.used / self.available
        available = f"{self.available / UNITS['MB']:.2f} MB"
        lines[-1] += f" of {available} ({share:.0%}): {'fits' if self.fits else 'does not fit'}"
        return "\n".join(lines)


def read_memory_report(path: Path) -> MemoryReport:
    """Reads ``<name>_MemoryReport.json`` of the converter.

    Raises:
        ModelError: it is missing or not such a report.
    """
    try:
        report = parse_json(read_limited(path, MAX_BYTES))["Memory Report"]
        found = MemoryReport(
            name=str(report["Name"]),
            used=_bytes(report["Memory Usage"]),
            available=_bytes(report["Total Memory Available On Chip"]),
            features=_bytes(report["Runtime Memory Physical Size"]),
            weights=_bytes(report["Model Memory Physical Size"]),
            fits=report["Fit In Chip"] is True,
        )
        if found.available <= 0:
            raise ValueError("no memory on the chip")
        return found
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(
            f"expected the converter's memory report in {path}, "
            f"got {type(error).__name__}: {error}",
            hint="Convert the network again; imx500-converter 3.19 writes such a report.",
        ) from error


def _bytes(value: Any) -> int:
    """ "1.67MB", "512 B" or 1024 as a number of bytes."""
    found = re.fullmatch(r"([0-9.]+) ?([KMG]?B)?", str(value).strip())
    if found is None:
        raise ValueError(f"a size such as 1.67MB, not {value!r}")
    return round(float(found[1]) * UNITS[found[2] or "B"])
