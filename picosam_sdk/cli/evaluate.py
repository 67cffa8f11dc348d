"""``picosam evaluate``: the paper's protocol on an annotation file."""

from __future__ import annotations

import argparse
import json
import sys
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
        "10 %, squared, clipped to the picture and resized to 96 x 96 px. Crowds are left out. "
        "Without --images and --annotations it takes the objects outlined on the bundled "
        "photographs.",
        epilog="Example: picosam evaluate --images val2017 --annotations instances_val2017.json "
        "--report report",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="the .json file")
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
        "--report",
        type=Path,
        metavar="DIR",
        help="write report.html, report.json and their pictures: boxes exact and jittered by 5, "
        "10, 20 and 30 %%, points, and the best and worst objects (needs matplotlib)",
    )
    parser.add_argument(
        "--threads", type=count, default=1, metavar="T", help="of the network (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    _check(args)
    if args.report is not None:
        from picosam_sdk.evaluation.report import make_folder, write_report

        make_folder(args.report)  # what fails must fail before the work
    from tqdm import tqdm

    from picosam_sdk.evaluation.annotations import bundled_dataset, read_dataset
    from picosam_sdk.evaluation.protocol import evaluate, evaluate_points
    from picosam_sdk.evaluation.suite import JITTER_LEVELS, run_suite
    from picosam_sdk.segmenter import Segmenter

    with Segmenter(model=args.model, threads=args.threads) as segmenter:
        if args.images is None:
            dataset = bundled_dataset()
        else:
            dataset = read_dataset(args.annotations, args.images)
        passes = 1 if args.report is None else len(JITTER_LEVELS) + 1
        total = passes * min(args.limit or len(dataset.instances), len(dataset.instances))
        with tqdm(total=total, unit="object", desc="evaluating") as bar:
            options = {"limit": args.limit, "progress": bar.update}
            if args.report is not None:
                suite = run_suite(segmenter, dataset, **options)
            elif args.prompt == "point":
                result = evaluate_points(segmenter, dataset, **options)
            else:
                result = evaluate(segmenter.backend, dataset, jitter=args.jitter, **options)
        if args.report is not None:
            values = write_report(segmenter.backend, dataset, suite, args.report)
            summary, document = values["summary"], values
        else:
            summary = document = result.summary()
    print(json.dumps(document, indent=2, allow_nan=False) if args.json else _table(summary))
    if args.report is not None:
        print(f"wrote {args.report / 'report.html'}", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses options that do not go together."""
    from picosam_sdk.errors import InputError

    if (args.images is None) != (args.annotations is None):
        given = "--images" if args.annotations is None else "--annotations"
        raise InputError(
            f"expected --images and --annotations together, got only {given}",
            hint="Give both, or none for the bundled photographs.",
        )
    if args.prompt == "point" and args.jitter:
        raise InputError(
            f"expected no --jitter with --prompt point, got {args.jitter:g}",
            hint="Only boxes are jittered: leave one of the two out.",
        )
    if args.report is not None and (args.prompt == "point" or args.jitter):
        raise InputError(
            "expected neither --jitter nor --prompt with --report, "
            f"got {'--prompt point' if args.prompt == 'point' else f'--jitter {args.jitter:g}'}",
            hint="The report measures every level of jitter, and points: leave it out.",
        )


def _table(summary: Mapping[str, Any]) -> str:
    """A summary of an evaluation, as lines to read: mIoU and mAP in percent."""
    from picosam_sdk.evaluation.metrics import percent

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
            f"{name:18}{group['n']:>7}{percent(group['miou']):>8}{percent(group['se']):>6}"
            f"{percent(group['map']):>8}{percent(box['miou']):>8}{percent(ellipse['miou']):>9}"
        )
    correlation, clipped = summary["score_correlation"], summary["clipped_miou"]
    if clipped is not None:
        lines += ["", f"mIoU of the masks clipped to the box grown by 10 %: {percent(clipped)}"]
    lines += [
        "",
        "In percent; +- is one standard error; box and ellipse are the mIoU of the whole box",
        "and of the ellipse in it, on the same objects.",
        "Correlation of the predicted IoU with the true one: "
        + ("undefined" if correlation is None else f"{correlation:.3f}"),
    ]
    return "\n".join(lines)


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
