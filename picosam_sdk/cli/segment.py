"""``picosam segment``: one picture, one prompt, one mask."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "segment",
        help="segment the object in a ROI or at a point of a picture",
        description="Segments the object in a ROI or at a point of a picture.",
        epilog="Example: picosam segment photo.jpg --roi 40,60,200,180 --overlay overlay.png",
    )
    parser.add_argument("image", type=Path, help="the picture (JPEG, PNG, WebP and the like)")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument(
        "--roi",
        metavar="X,Y,W,H",
        help="box around the object, in pixels, or percent with a trailing %%",
    )
    prompt.add_argument(
        "--point",
        metavar="X,Y",
        help="point on the object, in pixels, or percent with a trailing %%",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PNG", help="write the mask (0 and 255)"
    )
    parser.add_argument(
        "--overlay", type=Path, metavar="PNG", help="write the picture with the mask on it"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--model", type=Path, metavar="ONNX", help="a model of your own, its card beside it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from picosam_sdk.cli.prompts import parse_point, parse_roi
    from picosam_sdk.images import load_image, save_image
    from picosam_sdk.segmenter import Segmenter

    began = time.perf_counter()
    image = load_image(args.image)
    read_ms = (time.perf_counter() - began) * 1000
    size_px = (image.shape[1], image.shape[0])
    with Segmenter(model=args.model) as segmenter:
        if args.roi:
            mask = segmenter.segment(image, parse_roi(args.roi, size_px))
        else:
            mask = segmenter.segment(image, point=parse_point(args.point, size_px))
        timings_ms = {"read": read_ms, **segmenter.timings_ms}
    if args.output:
        mask.save(args.output)
    if args.overlay:
        save_image(mask.overlay(image), args.overlay)
    if args.json:
        print(json.dumps(_as_json(mask, timings_ms)))
        return 0
    share = mask.area_px / (size_px[0] * size_px[1])
    print(f"score {mask.score:.2f}, area {mask.area_px} px ({share:.1%}), bbox {mask.bbox()}")
    for written in filter(None, (args.output, args.overlay)):
        print(f"wrote {written}")
    return 0


def _as_json(mask: Any, timings_ms: dict[str, float]) -> dict[str, Any]:
    roi = mask.prompt or mask.roi
    box = roi.to_pixels(*mask.size_px)
    return {
        "roi": [box.x0, box.y0, box.width, box.height],
        "score": round(mask.score, 4),
        "bbox": mask.bbox(),
        "area_px": mask.area_px,
        "rle": mask.rle(),
        "timings_ms": {key: round(value, 3) for key, value in timings_ms.items()},
    }
