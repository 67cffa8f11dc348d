"""docs/imx500.md tells the truth: its Python runs, its options and commands exist."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.cli.main import build_parser


def blocks(root: Path, language: str) -> list[str]:
    text = (root / "docs" / "imx500.md").read_text("utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


def test_python_runs(root: Path) -> None:
    programs = blocks(root, "python")
    assert len(programs) == 2
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=root, env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_options_exist_with_their_defaults(root: Path) -> None:
    text = (root / "docs" / "imx500.md").read_text("utf-8")
    table = text.split("| option |")[1].split("\n\n")[0]
    parameters = inspect.signature(Imx500Backend).parameters
    named = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    assert {name for names in named for name in names} <= set(parameters)
    assert parameters["settle_frames"].default == 4
    assert parameters["frame_timeout_s"].default == 2.0
    assert parameters["inference_frames"].default == 90


def test_commands_exist(root: Path) -> None:
    words = {
        line.split()[1] for block in blocks(root, "bash") for line in block.splitlines()
        if line.strip().startswith("picosam ")
    }  # fmt: skip
    assert {"doctor", "parity", "imx500"} <= words
    help_text = build_parser().format_help()
    assert all(word in help_text for word in words)
