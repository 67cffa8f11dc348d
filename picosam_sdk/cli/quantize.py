"""``picosam quantize``: a float32 model becomes INT8."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from picosam_sdk.errors import InputError, MissingExtraError

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "quantize",
        help="make an INT8 model of a float32 one",
        description="Quantizes a model that 'picosam export' wrote: UINT8 activations, INT8 "
        "weights per channel. Then it runs both models on crops that it did not calibrate on, and "
        "prints how far their masks agree.",
        epilog="Example: picosam quantize lite.onnx --calibration data/train -o lite-int8.onnx",
    )
    parser.add_argument("model", type=Path, help="the float32 .onnx file, its card beside it")
    parser.add_argument(
        "--calibration", type=Path, nargs="+", required=True, metavar="PATH",
        help="training shards (.tar), photographs, or folders of them",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="ONNX", help="the file to write"
    )
    parser.add_argument(
        "--samples", type=_count, default=256, metavar="N",
        help="crops to calibrate on, and as many to compare on (default: 256)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("minmax", "percentile", "entropy"), default="minmax",
        help="how the range of a tensor is chosen (default: minmax)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from tqdm import tqdm

    if args.out.suffix != ".onnx":
        raise InputError(
            f"expected a file name that ends in .onnx, got {args.out}",
            hint="Name the result with -o, such as model-int8.onnx.",
        )
    try:
        from picosam_sdk.export.quantize import quantize_file
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "export") from error

    with tqdm(total=args.samples, unit="crop", desc="calibrating") as bar:
        done = quantize_file(
            args.model, args.out, args.calibration, samples=args.samples, method=args.method,
            progress=bar.update,
        )  # fmt: skip
    sizes = {"float32": args.model.stat().st_size, "int8": args.out.stat().st_size}
    if args.json:
        result = {
            "model": str(args.out),
            "sha256": done.card.sha256,
            "method": args.method,
            "calibration_crops": done.calibration_crops,
            "bytes": sizes,
            "agreement": asdict(done.agreement),
        }
        print(json.dumps(result, indent=2))
        return 0
    agreement = done.agreement
    small, large = sizes["int8"] / 1e6, sizes["float32"] / 1e6
    print(f"wrote {args.out}: {small:.2f} MB, float32 {large:.2f} MB")
    print(f"calibrated on {done.calibration_crops} crops, compared on {agreement.crops} others:")
    print(f"  IoU of the INT8 masks with the float masks  {agreement.mask_iou:.4f}")
    print(f"  difference of the predicted IoU             {agreement.score_error:.4f}")
    if agreement.miou_float is not None and agreement.miou_int8 is not None:
        points = 100 * (agreement.miou_int8 - agreement.miou_float)
        print(
            f"  mIoU with the true masks                    {agreement.miou_int8:.4f}, float "
            f"{agreement.miou_float:.4f} ({points:+.2f} points)"
        )
    return 0


def _count(text: str) -> int:
    """A whole number of at least one."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
