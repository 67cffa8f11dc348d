"""Measures a model and writes the figures into its card.

``python scripts/card_metrics.py MODEL --images DIR --annotations FILE`` evaluates a model file on
a data set (exact boxes, boxes jittered by 20 %, single points) and on the bundled objects, prints
the figures, and writes them into the card beside the model, under ``metrics``: the data set's under
``--name``, the others under ``bundled``. Without a data set only ``bundled`` is replaced.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from picosam_sdk.errors import PicoSamError
from picosam_sdk.evaluation.annotations import Dataset, bundled_dataset, read_dataset
from picosam_sdk.evaluation.protocol import evaluate
from picosam_sdk.evaluation.suite import run_suite
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.segmenter import Segmenter

DIGITS = 5


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL", help="the .onnx, its card beside it")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="the .json file")
    parser.add_argument("--name", default="coco_dev", help="key in the card (default: coco_dev)")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help="of the network")
    args = parser.parse_args(argv)
    if (args.images is None) != (args.annotations is None):
        parser.error("--images and --annotations belong together")
    try:
        card = ModelCard.read(args.model)
        with Segmenter(model=args.model, threads=args.threads) as segmenter:
            metrics = {}
            if args.images is not None:
                metrics[args.name] = measure(segmenter, read_dataset(args.annotations, args.images))
            metrics["bundled"] = measure_bundled(segmenter)
    except PicoSamError as error:
        print(f"card_metrics: {error}\n{error.hint}", file=sys.stderr)
        return 1
    dataclasses.replace(card, metrics={**card.metrics, **metrics}).write(args.model)
    print(json.dumps(metrics, indent=2))
    return 0


def measure(segmenter: Segmenter, dataset: Dataset) -> dict[str, Any]:
    """The figures of a data set: those of ``picosam evaluate``, and by jitter and points."""
    with tqdm(total=3 * len(dataset.instances), unit="object", desc=dataset.path.name) as bar:
        suite = run_suite(segmenter, dataset, levels=(0.0, 0.2), progress=bar.update)
    summary = suite.summary()
    summary.pop("model")
    summary["protocol"] = {
        key: summary["protocol"][key] for key in ("annotations", "objects", "seed", "frame")
    }
    return _rounded(summary)


def measure_bundled(segmenter: Segmenter) -> dict[str, Any]:
    """``miou``, ``map`` and ``n`` of the objects on the sample photographs."""
    summary = evaluate(segmenter.backend, bundled_dataset()).summary()
    return _rounded({key: summary[key] for key in ("miou", "map", "n")})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
