"""``picosam imx500 calibrate-settle``: how many frames a change of the ROI takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_action", "calibrate"]


def add_action(actions: Any, **defaults: Any) -> None:
    """Adds the action to the verb's; ``defaults`` are set on its parser."""
    parser = actions.add_parser(
        "calibrate-settle",
        help="measure how many frames a change of the ROI takes",
        description="Flashes between two ROIs, at the left and at the right of the view, and "
        "counts the frames until what the network sees follows. Fix the camera and put different "
        "things into the two halves of its view.",
    )
    parser.add_argument(
        "network", type=Path, nargs="?", metavar="RPK",
        help="the AI Camera's network; without it, the emulated camera is measured",
    )  # fmt: skip
    parser.add_argument("--changes", type=int, default=12, help="how often (default: 12)")
    parser.add_argument("--frames", type=int, default=30, help="watched after each (default: 30)")
    parser.add_argument(
        "--masks", action="store_true", help="watch the masks, not the network's input"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(**defaults)


def calibrate(args: argparse.Namespace) -> int:
    from picosam_sdk.backends.imx500.settle import calibrate_settle
    from picosam_sdk.segmenter import Segmenter

    options: dict[str, Any] = {"model": args.network} if args.network else {"upload_s": 0.0}
    name = "imx500" if args.network else "imx500-emulated"
    with Segmenter(name, frames=False, input_tensor=not args.masks, **options) as segmenter:
        report = calibrate_settle(segmenter.backend, changes=args.changes, frames=args.frames)
    if args.json:
        print(json.dumps(report.as_json()))
        return 0
    print(f"watched the {report.watched}, which differs by {report.contrast:.0f} times the noise")
    print(f"frames until the ROI took effect: {' '.join(map(str, report.delays))}")
    print(f"Open the camera with settle_frames={report.settle_frames} (one frame to spare).")
    return 0
