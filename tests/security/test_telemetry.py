"""onnxruntime reports to its maker by default: an identifier on the disk gives it away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from picosam_sdk.telemetry import SWITCH

SEGMENT = """
import numpy as np
from picosam_sdk import Roi, Segmenter
with Segmenter() as segmenter:
    segmenter.segment(np.zeros((64, 64, 3), np.uint8), Roi(0.1, 0.1, 0.5, 0.5))
"""


def files_left_by(code: str, home: Path, **more: str) -> list[str]:
    """What a new process leaves in its home and its folder for temporary files."""
    home.mkdir()
    # Where one of these is set, onnxruntime is silent by itself.
    silent = (SWITCH, "CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_RUNNING_UNIT_TESTS")
    kept = {name: value for name, value in os.environ.items() if name not in silent}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    subprocess.run([sys.executable, "-c", code], env={**environment, **more}, check=True)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def test_nothing_is_prepared_for_sending(tmp_path: Path) -> None:
    assert files_left_by(SEGMENT, tmp_path / "off") == []
    if not files_left_by("import onnxruntime", tmp_path / "alone"):
        pytest.skip("this onnxruntime does not report by itself")


def test_who_has_set_the_variable_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os, picosam_sdk; print(os.environ['{SWITCH}'])"
    monkeypatch.setenv(SWITCH, "0")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
