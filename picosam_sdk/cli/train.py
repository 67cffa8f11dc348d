"""``picosam train``: trains a network from a TOML file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from picosam_sdk.errors import MissingExtraError

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "train",
        help="train a network from a TOML file",
        description="Trains a network. Writes into the configuration's run.out: last.pt to go on "
        "from, weights.pt (float16) to export, log.csv, log.png and preview.png. Started again, "
        "it goes on where it stopped; Ctrl-C saves first.",
    )
    parser.add_argument("config", type=Path, help="the TOML file, such as configs/lite.toml")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        import matplotlib  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from picosam_sdk.config import load_toml
    from picosam_sdk.training.settings import TrainConfig
    from picosam_sdk.training.train import Trainer

    trainer = Trainer(load_toml(args.config, TrainConfig))
    print(
        f"{len(trainer.train_samples)} samples to train on, {len(trainer.val_samples)} held out, "
        f"{len(trainer.cutouts)} cut-outs; device {trainer.device}"
    )
    trainer.run()
    print(f"wrote {trainer.config.run.out / 'weights.pt'}")
    return 0
