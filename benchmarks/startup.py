"""What it costs to begin: import, installed size, cold start to the first mask, memory."""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import picosam_sdk
from picosam_sdk.samples import sample_photos

__all__ = ["measure_startup"]

_COMMANDS = {
    "python alone": "pass",
    "import numpy": "import numpy",
    "import picosam_sdk": "import picosam_sdk",
    "first mask": (
        "from picosam_sdk import Roi, Segmenter, load_image; import sys\n"
        "image = load_image(sys.argv[1])\n"
        "with Segmenter() as segmenter:\n"
        "    print(segmenter.segment(image, Roi(0.1, 0.1, 0.8, 0.8)).score)"
    ),
}
_SEGMENT = """
import pathlib, sys
from picosam_sdk.cli.main import main
code = main()
for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):  # the most that was resident since this program began
        print(line.split()[1], file=sys.stderr)
sys.exit(code)
"""


def measure_startup(rounds: int) -> dict[str, Any]:
    """Starts processes in turns.

    Returns:
        ``ms`` by what was started, the median; ``ratio_to_python`` and ``ratio_to_numpy`` of
        ``import picosam_sdk``; ``slowest_imports``: module and its own milliseconds;
        ``installed_mb`` by package, and their sum; ``segment_rss_mb``: the most memory that
        'picosam segment' had.
    """
    photo = str(sample_photos()[0].path)
    times: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for number in range(rounds + 1):
        for name, program in _COMMANDS.items():
            began = time.perf_counter()
            run([sys.executable, "-c", program, photo])
            if number:  # the first one reads from the disk
                times[name].append((time.perf_counter() - began) * 1000)
    ms = {name: statistics.median(values) for name, values in times.items()}
    sizes = installed_mb("picosam-sdk")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SEGMENT, "segment", photo, "--roi", "10,10,200,200",
                   "-o", str(Path(folder) / "mask.png")]  # fmt: skip
        rss_mb = [int(run(command).split()[-1]) / 1000 for _ in range(max(1, rounds // 3))]
    return {
        "ms": ms,
        "ratio_to_python": ms["import picosam_sdk"] / ms["python alone"],
        "ratio_to_numpy": ms["import picosam_sdk"] / ms["import numpy"],
        "slowest_imports": slowest_imports("picosam_sdk"),
        "installed_mb": sizes,
        "installed_sum_mb": sum(sizes.values()),
        "segment_rss_mb": max(rss_mb),
    }


def run(command: Sequence[str]) -> str:
    """Runs a program to its end; what it wrote to its standard error.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stderr


def slowest_imports(module: str, count: int = 5) -> list[dict[str, Any]]:
    """The modules that take longest by themselves while one is imported, by -X importtime."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    rows = []
    for line in run(command).splitlines():
        match = re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", line)
        if match:
            rows.append({"module": match[2], "own_ms": int(match[1]) / 1000})
    return sorted(rows, key=lambda row: -row["own_ms"])[:count]


def installed_mb(package: str) -> dict[str, float]:
    """Megabytes on the disk of a package and all that it needs, without what extras add."""
    found: dict[str, float] = {}
    waiting = [package]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        distribution = importlib.metadata.distribution(name)
        paths = [Path(str(file.locate())) for file in distribution.files or ()]
        if name == "picosam-sdk":  # it may be installed as a link to its sources
            paths = list(Path(picosam_sdk.__file__).parent.rglob("*"))
        sizes = [path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file()]
        found[name] = sum(sizes) / 1e6
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return found
