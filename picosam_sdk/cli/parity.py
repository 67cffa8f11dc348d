"""``picosam parity``: the same pictures and ROIs through two backends."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "parity",
        help="compare two backends on the same pictures and ROIs",
        description="Runs the same photos and ROIs through two backends and reports the IoU of "
        "their masks. With --live, a sensor's masks are compared with the CPU's on the very "
        "crops that the sensor saw. Exit code 1 if the mean is below --min-iou.",
        epilog="Example: picosam parity --backends onnx imx500-emulated; on a Raspberry Pi: "
        "picosam parity --live --network network.rpk",
    )
    parser.add_argument("photos", type=Path, nargs="*", help="default: the sample photographs")
    parser.add_argument(
        "--roi",
        metavar="X,Y,W,H",
        help="in each photo, in pixels or percent; default: 20,20,60,60%%",
    )
    parser.add_argument(
        "--backends", nargs=2, metavar=("A", "B"), default=["onnx", "imx500-emulated"],
        help="default: onnx imx500-emulated",
    )  # fmt: skip
    parser.add_argument("--model", type=Path, metavar="ONNX", help="default: the one that ships")
    parser.add_argument("--live", action="store_true", help="compare on what the sensor sees now")
    parser.add_argument(
        "--network", type=Path, metavar="RPK",
        help="with --live: the AI Camera's network; without it, the emulated camera is used",
    )  # fmt: skip
    parser.add_argument("--frames", type=int, default=10, help="with --live (default: 10)")
    parser.add_argument("--min-iou", type=float, default=0.0, metavar="IOU")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    rows = _live(args) if args.live else _photos(args)
    mean = float(np.mean([row["iou"] for row in rows]))
    least = min(row["iou"] for row in rows)
    names = ["onnx", "sensor"] if args.live else args.backends
    if args.json:
        print(json.dumps({"backends": names, "mean_iou": mean, "min_iou": least, "masks": rows}))
    else:
        print(f"{names[0]} against {names[1]}")
        for row in rows:
            rest = ", ".join(f"{key} {value}" for key, value in row.items() if key != "iou")
            print(f"  IoU {row['iou']:.3f}   {rest}")
        print(f"mean IoU {mean:.4f}, least {least:.4f}, of {len(rows)} masks")
    return 0 if mean >= args.min_iou else 1


def _photos(args: argparse.Namespace) -> list[dict[str, Any]]:
    from picosam_sdk.backends.imx500.agreement import iou_of
    from picosam_sdk.segmenter import Segmenter
    from picosam_sdk.testing.imx500 import Scene

    prompts = _prompts(args)
    results: list[list[Any]] = []
    for name in args.backends:
        options: dict[str, Any] = {"model": args.model} if args.model else {}
        if name == "imx500-emulated":
            options |= {"fps": None, "upload_s": 0.0, "frames": False}
        masks = []
        with Segmenter(name, **options) as segmenter:
            for path, roi in prompts:
                picture = Scene(path).at(0)  # as the sensor sees it: 4:3, with black bars
                if name == "imx500-emulated":
                    segmenter.backend.device.scene.show(picture)
                    segmenter.backend.aim(None)  # the next mask is one of this scene
                    masks.append(segmenter.segment(roi=roi))
                else:
                    masks.append(segmenter.segment(picture, roi))
        results.append(masks)
    return [
        {
            "iou": iou_of(*(mask.paste(1014, 760) for mask in pair)),
            "photo": path.name,
            "roi": [round(value, 4) for value in (roi.x, roi.y, roi.width, roi.height)],
            "scores": [round(mask.score, 3) for mask in pair],
        }
        for (path, roi), pair in zip(prompts, zip(*results, strict=True), strict=True)
    ]


def _prompts(args: argparse.Namespace) -> list[tuple[Path, Any]]:
    """Photos, and ROIs as shares of the sensor's view of them."""
    from picosam_sdk.cli.prompts import parse_roi
    from picosam_sdk.images import load_image
    from picosam_sdk.samples import sample_photos
    from picosam_sdk.testing.imx500 import fit_to_view
    from picosam_sdk.types import Roi

    found = []
    samples = {photo.path: photo.prompts for photo in sample_photos()}
    for path in args.photos or samples:
        image = load_image(path)
        height_px, width_px = image.shape[:2]
        if args.roi or path not in samples:
            rois = [parse_roi(args.roi or "20,20,60,60%", (width_px, height_px))]
        else:
            boxes = [prompt.box for prompt in samples[path] if prompt.box is not None]
            rois = [Roi.from_pixels(*box, image) for box in boxes]
        full_high, full_wide = fit_to_view(image).shape[:2]
        left, top = (full_wide - width_px) // 2, (full_high - height_px) // 2
        for roi in rois:
            found.append(
                (
                    path,
                    Roi.from_pixels(
                        left + roi.x * width_px, top + roi.y * height_px,
                        roi.width * width_px, roi.height * height_px, (full_wide, full_high),
                    ),
                )
            )  # fmt: skip
    return found


def _live(args: argparse.Namespace) -> list[dict[str, Any]]:
    from picosam_sdk.backends.imx500.agreement import live_agreement
    from picosam_sdk.cli.prompts import parse_roi
    from picosam_sdk.segmenter import Segmenter

    options: dict[str, Any] = {"model": args.network} if args.network else {"fps": None}
    name = "imx500" if args.network else "imx500-emulated"
    if not args.network and args.photos:
        options["scene"] = args.photos[0]
    host_options = {"model": args.model} if args.model else {}
    with (
        Segmenter("onnx", **host_options) as host,
        Segmenter(name, input_tensor=True, frames=False, **options) as sensor,
    ):
        roi = parse_roi(args.roi or "20,20,60,60%", sensor.backend.size_px)
        found = live_agreement(sensor.backend, host.backend, roi, args.frames)
    return [
        {
            "iou": frame.iou,
            "transposed_iou": round(frame.transposed_iou, 3),
            "score_difference": round(frame.score_difference, 3),
        }
        for frame in found
    ]
