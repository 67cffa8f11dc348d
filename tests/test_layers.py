"""The layers between modules, as ``[tool.importlinter]`` in pyproject.toml states them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_layers_are_kept(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
