"""``picosam export``: weights of a training run become an ONNX model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from picosam_sdk.errors import InputError, MissingExtraError
from picosam_sdk.limits import parse_json, read_limited

__all__ = ["add_parser", "run"]

MAX_METRICS_BYTES = 1 << 20
"""Of what 'picosam evaluate --json' printed."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="make an ONNX model of trained weights",
        description="Makes a float32 ONNX model of the weights.pt of a training run and writes its "
        "card beside it. Given a model instead of weights, it writes that model with new metrics "
        "or another name in its card.",
        epilog="Example: picosam export runs/lite/weights.pt -o lite.onnx",
    )
    parser.add_argument("weights", type=Path, help="weights.pt, or a .onnx model with its card")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="ONNX", help="the file to write"
    )
    parser.add_argument("--name", default="", help="name in the card (default: the file's)")
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE",
        help="what 'picosam evaluate --json' printed, for the card",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the card as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.out.suffix != ".onnx":
        raise InputError(
            f"expected a file name that ends in .onnx, got {args.out}",
            hint="Name the result with -o, such as model.onnx.",
        )
    metrics = _read_metrics(args.metrics) if args.metrics else {}
    if args.weights.suffix == ".onnx":
        try:
            from picosam_sdk.export.save import set_metrics
        except ImportError as error:
            raise MissingExtraError(error.name or "onnx", "export") from error
        card = set_metrics(args.weights, args.out, metrics, args.name)
    else:
        try:
            from picosam_sdk.export.onnx import export_weights
        except ImportError as error:
            raise MissingExtraError(error.name or "torch", "export") from error
        card = export_weights(args.weights, args.out, name=args.name, metrics=metrics)
    if args.json:
        print(card.to_json(), end="")
    else:
        size_mb = args.out.stat().st_size / 1e6
        print(f"wrote {args.out}: {card.network}, {card.quantization}, {size_mb:.2f} MB")
        print(f"{card.parameters / 1e6:.2f} M parameters, {card.macs / 1e6:.0f} M MACs a crop")
    return 0


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = parse_json(read_limited(path, MAX_METRICS_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected JSON in {path}, got: {error}",
            hint="Write it with: picosam evaluate --json ... > metrics.json",
        ) from error
    if not isinstance(metrics, dict):
        raise InputError(
            f"expected an object in {path}, got {type(metrics).__name__}",
            hint="Write it with: picosam evaluate --json ... > metrics.json",
        )
    return metrics
