"""``picosam evaluate``: the paper's protocol on an annotation file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="measure a model on annotated pictures",
        description="Prompts a model with every object of a COCO-format or LVIS-format annotation "
        "file and scores its masks by the protocol of the PicoSAM3 paper: IoU in the box grown by "
        "10 %, squared, clipped to the picture and resized to 96 x 96 px. Crowds are left out.",
        epilog="Example: picosam evaluate --images val2017 --annotations instances_val2017.json "
        "--jitter 0.2",
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the pictures"
    )
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="FILE", help="the .json file"
    )
    parser.add_argument(
        "--model", type=Path, metavar="ONNX", help="a model of your own, its card beside it"
    )
    parser.add_argument(
        "--prompt",
        choices=("box", "point"),
        default="box",
        help="what shows the object: its box, or one point in its middle (default: box)",
    )
    parser.add_argument(
        "--jitter",
        type=level,
        default=0.0,
        metavar="S",
        help="move and scale the boxes at random by the paper's level S, 0 to 1 (default: 0)",
    )
    parser.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help="only N objects, spread evenly over the file",
    )
    parser.add_argument(
        "--threads", type=count, default=1, metavar="T", help="of the network (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from picosam_sdk.errors import InputError

    if args.prompt == "point" and args.jitter:
        raise InputError(
            f"expected no --jitter with --prompt point, got {args.jitter:g}",
            hint="Only boxes are jittered: leave one of the two out.",
        )
    from tqdm import tqdm

    from picosam_sdk.evaluation.annotations import read_dataset
    from picosam_sdk.evaluation.protocol import evaluate, evaluate_points
    from picosam_sdk.segmenter import Segmenter

    with Segmenter(model=args.model, threads=args.threads) as segmenter:
        dataset = read_dataset(args.annotations, args.images)
        total = min(args.limit or len(dataset.instances), len(dataset.instances))
        with tqdm(total=total, unit="object", desc="evaluating") as bar:
            if args.prompt == "point":
                result = evaluate_points(segmenter, dataset, limit=args.limit, progress=bar.update)
            else:
                result = evaluate(
                    segmenter.backend,
                    dataset,
                    jitter=args.jitter,
                    limit=args.limit,
                    progress=bar.update,
                )
    summary = result.summary()
    print(json.dumps(summary, indent=2, allow_nan=False) if args.json else _table(summary))
    return 0


def _table(summary: Mapping[str, Any]) -> str:
    """A summary of an evaluation, as lines to read: mIoU and mAP in percent."""
    model, protocol = summary["model"], summary["protocol"]
    baselines = summary["baselines"]
    prompt = protocol["prompt"]
    if protocol.get("jitter"):
        prompt += f", jitter {protocol['jitter']:.0%}"
    lines = [
        f"model    {model['name']} {model['version']} ({model['quantization']}), "
        f"sha256 {model['sha256'][:12]}",
        f"data     {protocol['annotations']}: {summary['n']} of {protocol['objects']} objects "
        f"({protocol['crowds_left_out']} crowds left out)",
        f"prompt   {prompt}",
        "",
        f"{'':18}{'n':>7}{'mIoU':>8}{'+-':>6}{'mAP':>8}{'box':>8}{'ellipse':>9}",
    ]
    rows: list[tuple[str, Any, Any, Any]] = [
        ("all", summary, baselines["box"], baselines["ellipse"])
    ]
    for key, suffix in (("by_size", ""), ("by_competitors", " competitors")):
        rows += [
            (name + suffix, group, baselines["box"][key][name], baselines["ellipse"][key][name])
            for name, group in summary[key].items()
        ]
    for name, group, box, ellipse in rows:
        lines.append(
            f"{name:18}{group['n']:>7}{_percent(group['miou']):>8}{_percent(group['se']):>6}"
            f"{_percent(group['map']):>8}{_percent(box['miou']):>8}{_percent(ellipse['miou']):>9}"
        )
    correlation = summary["score_correlation"]
    lines += [
        "",
        "In percent; +- is one standard error; box and ellipse are the mIoU of the whole box",
        "and of the ellipse in it, on the same objects.",
        "Correlation of the predicted IoU with the true one: "
        + ("undefined" if correlation is None else f"{correlation:.3f}"),
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def level(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a level from 0 to 1 (0.2 is 20 %), got {text}")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value
