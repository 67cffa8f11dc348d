"""``picosam teach``: label photographs with a SAM-type teacher."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "teach",
        help="label photographs with a SAM-type teacher",
        description="Label photographs with a Segment Anything model (its ONNX encoder and "
        "decoder) and write training shards. Ctrl-C stops after the photograph in hand; the same "
        "command again goes on from there.",
    )
    parser.add_argument(
        "photos",
        nargs="+",
        type=Path,
        metavar="PHOTOS",
        help="folder of pictures, or .tar shards (<id>.jpg, <id>.json with boxes)",
    )
    parser.add_argument(
        "--encoder",
        type=Path,
        required=True,
        metavar="FILE",
        help="the teacher's image encoder, ONNX",
    )
    parser.add_argument(
        "--decoder",
        type=Path,
        required=True,
        metavar="FILE",
        help="the teacher's mask decoder, ONNX",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for objects-000.tar and so on, and the journal",
    )
    _add_settings(parser)
    parser.set_defaults(run=run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="photographs to label in this run"
    )
    parser.add_argument(
        "--max-objects",
        type=_count,
        default=5,
        metavar="K",
        help="objects kept of one photograph (default: 5)",
    )
    parser.add_argument(
        "--points",
        type=int,
        default=4,
        metavar="G",
        help="points a side of the automatic grid, 0 for boxes only (default: 4)",
    )
    parser.add_argument(
        "--threads", type=_count, default=1, metavar="T", help="threads of the models (default: 1)"
    )
    parser.add_argument(
        "--shard-size",
        type=_count,
        default=500,
        metavar="M",
        help="objects a shard, about (default: 500)",
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def _count(text: str) -> int:
    """A whole number of at least one."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    counts = _label(args)
    if args.json:
        print(json.dumps(counts))
    else:
        print(
            f"{counts['photos']} photographs labelled, {counts['photos_done_before']} done before; "
            f"{counts['objects']} new objects, {counts['objects_in_all']} in all, in {args.out}"
        )
        if counts["stopped"]:
            print("Stopped; run the same command again to go on.", file=sys.stderr)
    return 130 if counts["stopped"] else 0


def _label(args: argparse.Namespace) -> dict[str, Any]:
    """Labels until the photographs end, or ``--limit`` or Ctrl-C stops it; what was counted."""
    import signal
    import sys
    import time

    import cv2
    from tqdm import tqdm

    from picosam_sdk.training.labelling import LabelRules, teach
    from picosam_sdk.training.shards import ShardWriter, count_photos, read_photos
    from picosam_sdk.training.teacher import Teacher

    cv2.setNumThreads(args.threads)
    rules = LabelRules(max_objects=args.max_objects, grid=args.points)
    total = count_photos(args.photos)
    teacher = Teacher(args.encoder, args.decoder, args.threads)
    labelled = skipped = objects = 0
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, before)  # a second Ctrl-C does not wait

    before = signal.signal(signal.SIGINT, stop)
    start = time.monotonic()
    try:
        with (
            ShardWriter(args.out, args.shard_size) as writer,
            tqdm(total=total, unit="photo", file=sys.stderr, mininterval=1) as bar,
        ):
            for _, count in teach(teacher, read_photos(args.photos), writer, rules):
                if count is None:
                    skipped += 1
                    bar.total = total - skipped
                else:
                    labelled += 1
                    objects += count
                    bar.set_postfix(objects=writer.objects, refresh=False)
                    bar.update()
                if stopped or labelled == args.limit:
                    break
    finally:
        signal.signal(signal.SIGINT, before)
    return {
        "photos": labelled,
        "photos_done_before": skipped,
        "objects": objects,
        "objects_in_all": writer.objects,
        "seconds": round(time.monotonic() - start, 1),
        "stopped": stopped,
    }
