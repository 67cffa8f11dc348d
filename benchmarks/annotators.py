"""Prints how long each annotator takes for one mask on a picture of 1280 x 720, on one core.

python benchmarks/annotators.py [--json] [--runs N]

Each is timed for an object of usual size (its box a third of each side) and for one that fills the
view, each time with a new mask, so that resizing the network's output to the frame counts as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from picosam_sdk import Mask, Roi, load_image
from picosam_sdk.annotators import ANNOTATORS
from picosam_sdk.samples import sample_photos

SIZE_PX = (1280, 720)
ROIS = {"third": Roi(1 / 3, 1 / 3, 1 / 3, 1 / 3), "view": Roi(0, 0, 1, 1)}


def masks() -> dict[str, Mask]:
    """A lumpy disc of 96 x 96 logits that nearly fills each ROI."""
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j].astype(np.float32)
    angle = np.arctan2(rows, columns)
    logits = (0.85 + 0.1 * np.sin(5 * angle) - np.hypot(rows, columns)) * 20
    return {
        name: Mask(logits.astype(np.float32), roi, 0.9, SIZE_PX, prompt=roi)
        for name, roi in ROIS.items()
    }


def measure(runs: int) -> dict[str, Any]:
    """Milliseconds (median and slowest tenth) and frames a second, by annotator and object."""
    cv2.setNumThreads(1)
    image = cv2.resize(load_image(sample_photos()[0].path), SIZE_PX)
    annotators = {name: cls() for name, cls in ANNOTATORS.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(runs + 1):  # interleaved, so that what else the machine does meets all alike
        for size, mask in masks().items():
            for name, annotator in annotators.items():
                fresh = replace(mask)
                began = time.perf_counter()
                annotator.annotate(image, fresh)
                times.setdefault((name, size), []).append((time.perf_counter() - began) * 1000)
    rows: dict[str, Any] = {}
    for (name, size), every in times.items():
        ordered = sorted(every[1:])
        median = statistics.median(ordered)
        rows.setdefault(name, {})[size] = {
            "ms": round(median, 2),
            "p90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 2),
            "fps": round(1000 / median, 1),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--runs", type=int, default=50, help="of each (default: %(default)s)")
    args = parser.parse_args()
    rows = measure(max(1, args.runs))
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'1280 x 720, one core':<22}{'object a third a side':>24}{'object fills the view':>24}")
    for name, row in rows.items():
        cells = [f"{row[size]['ms']:>10.2f} ms{row[size]['fps']:>7.0f} fps" for size in ROIS]
        print(f"{name:<22}{cells[0]:>24}{cells[1]:>24}")


if __name__ == "__main__":
    main()
