"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["describe"]

_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve")
_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "torch")


def describe() -> dict[str, Any]:
    """CPU and its features for such arithmetic, cores, memory, system, versions and load."""
    info = _cpu_info()
    flags = info.get("flags", info.get("Features", "")).split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": info.get("model name", platform.processor() or platform.machine()),
        "family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "features": [name for name in _FEATURES if name in flags],
        "virtual": "hypervisor" in flags,
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(pages / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _cpu_info() -> dict[str, str]:
    """Of the first core, as Linux tells it."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    info: dict[str, str] = {}
    for line in path.read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        info[key.strip()] = value.strip()
    return info


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
