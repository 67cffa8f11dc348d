"""Packages with an entry point that are one file, for plugins of every kind of brokenness."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["fake_packages"]


@contextmanager
def fake_packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Gives a function that adds a package: its name, its code and, if unusual, entry points."""
    site = folder / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(package: str, code: str, entries: str = "") -> None:
        module = package.replace("-", "_")
        (site / f"{module}.py").write_text(code)
        info = site / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        entries = entries or f"{package} = {module}"
        (info / "entry_points.txt").write_text(f"[picosam_sdk]\n{entries}\n")
        importlib.invalidate_caches()

    before = set(sys.modules)
    try:
        yield add
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site)):
                del sys.modules[name]
