"""What each part of the recipe gives: short runs of equal length, one part added at a time.

Every row starts from nothing (or from the pretrained encoder), with the same seed, number of steps
and held-out photographs; the last row is the configuration itself, with the teacher's shards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from picosam_sdk.errors import ConfigError
from picosam_sdk.training.settings import TrainConfig
from picosam_sdk.training.train import Trainer

__all__ = ["ROWS", "ablate", "row_configs", "table"]

ROWS = {
    "supervised": "supervised only",
    "distillation": "+ distillation",
    "eca": "+ ECA",
    "jitter": "+ jitter training",
    "copy-paste": "+ copy-paste",
}
"""Name and title of each row; each has all that the rows above it have."""

Result = dict[str, Any]


def row_configs(
    config: TrainConfig, teacher: Sequence[Path], out: Path, steps: int | None = None
) -> dict[str, TrainConfig]:
    """The configuration of each row, by its name.

    Args:
        config: the whole recipe. ``network.init`` is not used: such weights were trained with it.
        teacher: the teacher's shards; ``data.teacher`` if empty.
        out: each row gets a folder in it.
        steps: length of each run instead of ``optim.steps``; warm-up and decay shrink with it.

    Raises:
        ConfigError: a part is missing from the configuration, so that its row would say nothing.
    """
    teacher = tuple(teacher) or config.data.teacher
    parts = {
        "the teacher's shards (--teacher-shards or data.teacher)": bool(teacher),
        "augment.jitter above 0": config.augment.jitter > 0,
        "data.cutouts": bool(config.data.cutouts),
        "augment.paste or augment.cutout above 0": config.augment.paste + config.augment.cutout > 0,
    }
    for part, there in parts.items():
        if not there:
            raise ConfigError(
                f"ablation: expected {part}, got none",
                hint="Add it: without it a row of the table would be equal to the one above.",
            )
    labelled = tuple(shard for shard in config.data.shards if shard not in teacher)
    bare = replace(config.augment, jitter=0.0, loose=0.0, paste=0.0, cutout=0.0)
    row = replace(
        config,
        network=replace(config.network, attention=False, init=None),
        data=replace(config.data, shards=labelled, teacher=(), cutouts=()),
        augment=bare,
        optim=_shortened(config, steps),
    )
    rows = {"supervised": row}
    row = replace(row, data=replace(row.data, teacher=teacher))
    rows["distillation"] = row
    row = replace(row, network=replace(row.network, attention=True))
    rows["eca"] = row
    jittered = replace(bare, jitter=config.augment.jitter, loose=config.augment.loose)
    row = replace(row, augment=jittered)
    rows["jitter"] = row
    rows["copy-paste"] = replace(
        row, augment=config.augment, data=replace(row.data, cutouts=config.data.cutouts)
    )
    return {name: replace(row, run=replace(row.run, out=out / name)) for name, row in rows.items()}


def ablate(configs: Mapping[str, TrainConfig]) -> Iterator[Result]:
    """Trains each row that is not finished yet, and gives the result of each.

    A row's folder holds ``row.json`` beside what 'picosam train' writes. A finished row is read
    from it, an interrupted one goes on from its checkpoint.

    Raises:
        ConfigError: a folder holds a row of another configuration.
        KeyboardInterrupt: stopped by Ctrl-C, saved.
    """
    for name, config in configs.items():  # all of them before the work
        _begun(name, config)
    for name, config in configs.items():
        record = _begun(name, config)
        if record["result"] is None:
            trainer = Trainer(config)
            trainer.run()
            if trainer.step < config.optim.steps:
                raise KeyboardInterrupt
            record["result"] = _result(name, trainer)
            _write(config.run.out / "row.json", record)
        yield record["result"]


def table(results: Sequence[Result], *, markdown: bool = False) -> str:
    """The rows as text: mIoU in percent, each with what it adds to the row above."""
    head = ("", "mIoU", "+-", "change", "20 % jitter", "+-", "change")
    rows = [head]
    for before, result in zip((None, *results[:-1]), results, strict=True):
        cells = [result["title"]]
        for key in ("", "jitter20_"):
            value, error = result[f"{key}miou"], result[f"{key}se"]
            change = None if before is None else value - before[f"{key}miou"]
            cells += [
                f"{100 * value:.1f}",
                f"{100 * error:.1f}",
                "" if change is None else f"{100 * change:+.1f}",
            ]
        rows.append(tuple(cells))
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "| --- |" + " ---: |" * (len(head) - 1))
    else:
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in rows
        ]
    last = results[-1]
    note = (
        f"Each run: {last['steps']} steps, {last['crops']} crops. mIoU in percent on the same "
        f"{last['n']} held-out objects, in the network's own crop; +- is one standard error."
    )
    return "\n".join([*lines, "", note])


def _shortened(config: TrainConfig, steps: int | None) -> Any:
    """The schedule in ``steps`` steps, of the same shape."""
    optim = config.optim
    if steps is None or optim.steps < 1:
        return optim
    share = steps / optim.steps
    return replace(
        optim,
        steps=steps,
        warmup_steps=round(optim.warmup_steps * share),
        decay_steps=round(optim.decay_steps * share),
    )


def _result(name: str, trainer: Trainer) -> Result:
    exact, jittered = trainer.validate(0.0), trainer.validate(0.2)
    correlation = exact["score_correlation"]
    return {
        "row": name,
        "title": ROWS[name],
        "miou": exact["miou"],
        "se": exact["se"],
        "jitter20_miou": jittered["miou"],
        "jitter20_se": jittered["se"],
        "score_correlation": correlation if math.isfinite(correlation) else None,
        "n": len(trainer.val_samples),
        "train_samples": len(trainer.train_samples),
        "steps": trainer.step,
        "crops": trainer.step * trainer.config.optim.batch_size,
    }


def _begun(name: str, config: TrainConfig) -> dict[str, Any]:
    """The row's record: read, or written without a result where there is none."""
    path = config.run.out / "row.json"
    settings = json.loads(json.dumps(asdict(config), default=str))
    settings["run"] = {"seed": config.run.seed}  # the rest of it changes no figure
    settings["data"].pop("workers")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["settings"] == settings:
            return dict(record)
    except FileNotFoundError:
        record = {"settings": settings, "result": None}
        _write(path, record)
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"ablation: expected the record of row '{name}' at {path}, got: {error}",
            hint="Name another folder with -o, or remove this one.",
        ) from error
    raise ConfigError(
        f"ablation: expected row '{name}' in {config.run.out} to be of this configuration, "
        "got another one's",
        hint="Name another folder with -o, or remove this one.",
    )


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
