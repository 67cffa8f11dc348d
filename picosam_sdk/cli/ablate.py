"""``picosam ablate``: what each part of a training recipe gives."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from picosam_sdk.errors import MissingExtraError

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "ablate",
        help="measure what each part of a training recipe gives",
        description="Trains five networks of one configuration, equally long and with the same "
        "seed: supervised only, then adding distillation, ECA, jitter training and copy-paste one "
        "after the other. Each is scored on the held-out photographs, with exact boxes and with "
        "boxes jittered by 20 %. Started again, it goes on where it stopped; finished rows are "
        "not trained again. The configuration's network.init is not used.",
        epilog="Example: picosam ablate configs/lite.toml --teacher-shards data/taught "
        "--steps 2000 -o runs/ablation",
    )
    parser.add_argument("config", type=Path, help="the TOML file, as for 'picosam train'")
    parser.add_argument(
        "--teacher-shards", type=Path, nargs="+", default=[], metavar="PATH",
        help="shards that 'picosam teach' wrote (default: the configuration's data.teacher)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR",
        help="a folder for the runs (default: 'ablation' in the configuration's run.out)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=_count, metavar="N",
        help="length of each run (default: the configuration's optim.steps)",
    )  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    how.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        import matplotlib  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from tqdm import tqdm

    from picosam_sdk.config import load_toml
    from picosam_sdk.training.ablation import ablate, row_configs, table
    from picosam_sdk.training.settings import TrainConfig

    config = load_toml(args.config, TrainConfig)
    out = args.out or config.run.out / "ablation"
    configs = row_configs(config, args.teacher_shards, out, args.steps)
    results = []
    for result in ablate(configs):
        results.append(result)
        tqdm.write(f"{len(results)}/{len(configs)} {result['title']}: mIoU {result['miou']:.3f}",
                   file=sys.stderr)  # fmt: skip
    if args.json:
        print(json.dumps({"rows": results}, indent=2, allow_nan=False))
    else:
        print(table(results, markdown=args.markdown))
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value
