"""``import picosam_sdk`` stays light: numpy and pluggy, and little time on top of theirs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"cv2", "matplotlib", "onnx", "onnxruntime", "PIL", "torch", "tqdm"}


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_loads_only_numpy_and_pluggy() -> None:
    loaded = set(_python("import sys, picosam_sdk; print(*sys.modules)").split())
    assert {"picosam_sdk.segmenter", "numpy", "pluggy"} <= loaded
    assert not HEAVY & loaded


def test_help_and_version_load_nothing_heavy() -> None:
    code = """
import sys
from picosam_sdk.cli.main import build_parser
build_parser().format_help()
print(*sys.modules)
"""
    assert not HEAVY & set(_python(code).split())


def test_import_takes_less_than_twice_what_numpy_and_pluggy_take() -> None:
    code = """
import time
began = time.process_time()
import numpy, pluggy
theirs = time.process_time()
import picosam_sdk
print(theirs - began, time.process_time() - theirs)
"""
    runs = [[float(seconds) for seconds in _python(code).split()] for _ in range(7)]
    # Processor time, and the least of several runs: what else the machine does only adds.
    theirs, ours = (min(run) for run in zip(*runs, strict=True))
    assert ours < theirs
