"""The ablation table on made-up objects: how its rows differ, that it resumes, how it looks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from picosam_sdk import ConfigError
from picosam_sdk.cli.main import main
from picosam_sdk.config import load_toml
from picosam_sdk.training import ablation
from picosam_sdk.training.ablation import ROWS, ablate, row_configs, table
from picosam_sdk.training.settings import TrainConfig
from picosam_sdk.training.train import Trainer, load_data
from tests.training.test_data import sample_files, write_tar

CONFIG = """
[run]
out = "{folder}/run"
device = "cpu"
threads = 1
check_every = 1000

[network]
name = "lite"

[data]
shards = ["{folder}/objects-000.tar"]
cutouts = ["{folder}/cutouts"]
validation_share = 0.4
workers = 0

[optim]
steps = 40
batch_size = 2
warmup_steps = 10
decay_steps = 20
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("objects", 16), ("taught", 12)):
        files: dict[str, bytes] = {}
        for index in range(count):
            files |= sample_files(f"{name}{index}", source=name, picture=f"{index}.jpg")
        write_tar(tmp_path / f"{name}-000.tar", files)
    (tmp_path / "cutouts").mkdir()
    bgra = np.full((30, 20, 4), 255, np.uint8)
    bgra[:, 15:, 3] = 0
    webp = cv2.imencode(".webp", bgra)[1].tobytes()
    write_tar(tmp_path / "cutouts" / "cutouts-000.tar", {"a.webp": webp})
    (tmp_path / "cutouts" / "cutouts.tsv").write_text("id\tsource\timage\na\tany\t1.jpg\n")
    (tmp_path / "run.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


@pytest.fixture
def config(folder: Path) -> TrainConfig:
    return load_toml(folder / "run.toml", TrainConfig)


def test_each_row_adds_one_part(folder: Path, config: TrainConfig) -> None:
    teacher = (folder / "taught-000.tar",)
    with_init = replace(config, network=replace(config.network, init=folder / "weights.pt"))
    rows = row_configs(with_init, teacher, folder / "out")
    assert list(rows) == list(ROWS)
    assert {row.network.init for row in rows.values()} == {None}
    assert {row.run.out.parent for row in rows.values()} == {folder / "out"}
    parts = {
        name: (
            row.data.teacher == teacher,
            row.network.attention,
            row.augment.jitter + row.augment.loose > 0,
            row.augment.paste + row.augment.cutout > 0 and bool(row.data.cutouts),
        )
        for name, row in rows.items()
    }
    assert list(parts.values()) == [
        (False, False, False, False),
        (True, False, False, False),
        (True, True, False, False),
        (True, True, True, False),
        (True, True, True, True),
    ]
    for row in rows.values():  # all else is the same
        assert row.optim == config.optim
        assert replace(row.run, out=config.run.out) == config.run
        assert row.augment.colour == config.augment.colour
        assert row.data.shards == config.data.shards
    whole = replace(config, data=replace(config.data, teacher=teacher))
    last = rows["copy-paste"]
    assert replace(last, run=config.run) == whole
    # Named in the configuration, and among its shards by mistake: the same rows.
    shards = replace(whole, data=replace(whole.data, shards=(*whole.data.shards, *teacher)))
    assert row_configs(shards, (), folder / "out") == rows


def test_a_shorter_run_keeps_the_shape_of_its_schedule(folder: Path, config: TrainConfig) -> None:
    for row in row_configs(config, [folder], folder / "out", steps=8).values():
        optim = row.optim
        assert (optim.steps, optim.warmup_steps, optim.decay_steps) == (8, 2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, augment=replace(c.augment, jitter=0.0)), r"augment\.jitter above 0"),
        (lambda c: replace(c, data=replace(c.data, cutouts=())), r"data\.cutouts"),
        (lambda c: replace(c, augment=replace(c.augment, paste=0.0, cutout=0.0)), "augment.paste"),
    ],
)
def test_a_row_that_would_say_nothing_is_refused(
    folder: Path, config: TrainConfig, change: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        row_configs(change(config), [folder], folder)
    assert caught.value.hint
    with pytest.raises(ConfigError, match="the teacher's shards"):
        row_configs(config, [], folder)


def test_a_teachers_masks_are_trained_on_but_not_validated_on(
    folder: Path, config: TrainConfig
) -> None:
    data = replace(config.data, teacher=(folder / "taught-000.tar",))
    train, held, _ = load_data(data)
    without, same, _ = load_data(config.data)
    assert [s.picture for s in held] == [s.picture for s in same]
    taught = [s for s in train if s.source == "taught"]
    assert len(train) - len(without) == len(taught)
    assert 0 < len(taught) < 12  # held-out photographs are left out of the teacher's, too


def test_the_command_trains_all_rows_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "ablate", str(folder / "run.toml"), "--teacher-shards", str(folder / "taught-000.tar"),
        "--steps", "2", "-o", str(folder / "out"),
    ]  # fmt: skip
    assert main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["row"] for row in rows] == list(ROWS)
    assert {(row["steps"], row["crops"]) for row in rows} == {(2, 4)}
    held = {row["n"] for row in rows}
    assert len(held) == 1
    assert all(0 <= row[key] <= 1 for row in rows for key in ("miou", "jitter20_miou", "se"))
    samples = [row["train_samples"] for row in rows]
    assert samples[0] < samples[1] == samples[4]

    def never(self: Trainer) -> None:
        raise AssertionError("a finished row was trained again")

    monkeypatch.setattr(Trainer, "run", never)
    assert main([*command, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "|  | mIoU | +- | change | 20 % jitter | +- | change |"
    assert [line.split(" | ")[0] for line in lines[2:7]] == [
        f"| {title}" for title in ROWS.values()
    ]
    assert f"| {100 * rows[0]['miou']:.1f} |" in lines[2]
    assert "2 steps, 4 crops" in lines[-1]
    assert main(["ablate", *command[1:], "--steps", "3"]) == 1
    assert "another one's" in capsys.readouterr().err


def test_an_interrupted_row_goes_on(
    folder: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = row_configs(config, [folder / "taught-000.tar"], folder / "out", steps=2)
    first = {"supervised": configs["supervised"]}
    step = Trainer._train_step

    def interrupted(self: Trainer, images: Any, targets: Any) -> dict[str, float]:
        if self.step == 1:
            raise KeyboardInterrupt
        return step(self, images, targets)

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(ablate(first))
    monkeypatch.setattr(Trainer, "_train_step", step)
    starts: list[int] = []
    run = Trainer.run

    def noted(self: Trainer) -> None:
        starts.append(self.step)
        run(self)

    monkeypatch.setattr(Trainer, "run", noted)
    (result,) = ablate(first)
    assert starts == [1]
    assert result["steps"] == 2


def test_a_damaged_record_is_refused(folder: Path, config: TrainConfig) -> None:
    configs = row_configs(config, [folder], folder / "out")
    (folder / "out" / "eca").mkdir(parents=True)
    (folder / "out" / "eca" / "row.json").write_text("{")
    with pytest.raises(ConfigError, match=r"row 'eca' at .*row\.json") as caught:
        next(ablate(configs))
    assert caught.value.hint
    assert not (folder / "out" / "supervised" / "last.pt").exists()  # before the work


def test_the_table_by_hand() -> None:
    def result(title: str, miou: float, jittered: float) -> dict[str, Any]:
        return {
            "title": title, "miou": miou, "se": 0.008, "jitter20_miou": jittered,
            "jitter20_se": 0.011, "steps": 100, "crops": 4800, "n": 900,
        }  # fmt: skip

    rows = [result("supervised only", 0.55, 0.48), result("+ distillation", 0.581, 0.475)]
    assert table(rows).splitlines() == [
        "                 mIoU   +-  change  20 % jitter   +-  change",
        "supervised only  55.0  0.8                 48.0  1.1",
        "+ distillation   58.1  0.8    +3.1         47.5  1.1    -0.5",
        "",
        "Each run: 100 steps, 4800 crops. mIoU in percent on the same 900 held-out objects, in the "
        "network's own crop; +- is one standard error.",
    ]
    assert "| + distillation | 58.1 | 0.8 | +3.1 | 47.5 | 1.1 | -0.5 |" in table(
        rows, markdown=True
    )
    assert ablation.table(rows[:1]).count("\n") == 3
