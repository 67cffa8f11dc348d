"""Prints how long INT8 and float32 models take on one thread, as ratios from one run.

python benchmarks/int8_vs_float.py [--network lite paper] [--json] [--rounds N]
python benchmarks/int8_vs_float.py --models FLOAT.onnx INT8.onnx

Without models it exports and quantizes networks with random weights, which are as fast as
trained ones. The two take turns, so that noise meets both alike; the ratio is that of the
fastest runs, which other programs disturb least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from picosam_sdk.backends.onnx import OnnxBackend

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import timing
from benchmarks.guard import guarded


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, nargs=2, metavar=("FLOAT", "INT8"))
    parser.add_argument(
        "--network", nargs="+", choices=("lite", "paper"), default=("lite", "paper")
    )
    parser.add_argument("--rounds", type=int, default=500, help="runs of each (default: 500)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.models:
            pairs = {"models": tuple(args.models)}
        else:
            pairs = {name: random_models(name, Path(folder)) for name in args.network}
        rows = {name: compare(*pair, args.rounds) for name, pair in pairs.items()}
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'network':<10}{'float32':>12}{'INT8':>12}{'ratio':>8}{'of medians':>12}{'size':>8}")
    for name, row in rows.items():
        times = f"{row['float32_ms']:>9.3f} ms{row['int8_ms']:>9.3f} ms"
        print(
            f"{name:<10}{times}{row['ratio']:>8.2f}{row['ratio_of_medians']:>12.2f}"
            f"{row['size_ratio']:>8.2f}"
        )


def random_models(name: str, folder: Path) -> tuple[Path, Path]:
    """A float32 and an INT8 model of a network with random weights."""
    from picosam_sdk.export.onnx import export_onnx
    from picosam_sdk.export.quantize import quantize_file
    from picosam_sdk.export.save import save_model
    from picosam_sdk.modelcard import ModelCard
    from picosam_sdk.samples import sample_photos
    from picosam_sdk.training.net import build
    from picosam_sdk.types import CropRule

    float32, int8 = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
    save_model(export_onnx(build(name)), ModelCard(name, name, CropRule()), float32)
    quantize_file(float32, int8, [photo.path for photo in sample_photos()], samples=8)
    return float32, int8


def compare(float32: Path, int8: Path, rounds: int) -> dict[str, Any]:
    """Times both models on one crop, in turns."""
    backends = {"float32": OnnxBackend(float32), "int8": OnnxBackend(int8)}
    size = backends["float32"].card.crop.size_px
    crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    calls = {name: lambda b=backend: b.infer(crop) for name, backend in backends.items()}
    times = timing.race(calls, rounds, warm_up=20)
    best = {name: min(values) for name, values in times.items()}
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "float32_ms": best["float32"],
        "int8_ms": best["int8"],
        "ratio": best["int8"] / best["float32"],
        "ratio_of_medians": median["int8"] / median["float32"],
        "size_ratio": int8.stat().st_size / float32.stat().st_size,
    }


if __name__ == "__main__":
    sys.exit(guarded(main))
