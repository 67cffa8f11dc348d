"""A whole run on made-up objects: it learns, stops, resumes, and leaves what it promises."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from picosam_sdk import ConfigError, InputError
from picosam_sdk.cli.main import main
from picosam_sdk.config import load_toml
from picosam_sdk.training import train
from picosam_sdk.training.settings import OptimConfig, TrainConfig, learning_rate
from picosam_sdk.training.train import Trainer
from tests.training.test_data import sample_files, write_tar

CONFIG = """
[run]
out = "{out}"
device = "cpu"
threads = 1
save_every = 5
check_every = 10

[data]
shards = ["{shard}"]
validation_share = 0.3
workers = 0

[optim]
steps = 10
batch_size = 4
rate = 3e-3
warmup_steps = 2
decay_steps = 4
ema = 0.5
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    files: dict[str, bytes] = {}
    for index in range(12):
        files |= sample_files(f"s{index}", picture=f"{index}.jpg")
    shard = write_tar(tmp_path / "objects-000.tar", files)
    path = tmp_path / "run.toml"
    path.write_text(CONFIG.format(out=tmp_path / "run", shard=shard))
    return path


def test_a_run_learns_and_resumes(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(config_file)]) == 0
    assert "weights.pt" in capsys.readouterr().out
    out = config_file.parent / "run"
    assert {p.name for p in out.iterdir()} == {
        "last.pt", "weights.pt", "log.csv", "log.png", "preview.png",
    }  # fmt: skip
    with (out / "log.csv").open() as file:
        values = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert values["miou"] > 0.5  # a red rectangle is easy
    config = load_toml(config_file, TrainConfig)
    longer = replace(config, optim=replace(config.optim, steps=12))
    trainer = Trainer(longer)
    assert trainer.step == 10
    trainer.run()
    assert trainer.step == 12
    record = train.load_weights(out / "weights.pt")
    assert (record["step"], record["crops"], record["network"]) == (12, 48, "lite")
    assert record["crop"] == {"size_px": 96, "padding": 0.1, "square": False}


AFTER_OPENCV = """
import cv2, numpy, sys
from pathlib import Path
from picosam_sdk.config import load_toml
from picosam_sdk.training.settings import TrainConfig
from picosam_sdk.training.train import Trainer
cv2.setNumThreads(4)
cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.uint8), (0, 0), 3)  # OpenCV's pool is at work
trainer = Trainer(load_toml(Path(sys.argv[1]), TrainConfig))
trainer.run()
print(trainer.step)
"""


def test_a_loader_in_its_own_process_does_not_hang_after_opencv_was_used(config_file: Path) -> None:
    text = config_file.read_text().replace("workers = 0", "workers = 1")
    config_file.write_text(text.replace("steps = 10", "steps = 2"))
    done = subprocess.run(
        [sys.executable, "-c", AFTER_OPENCV, str(config_file)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "2"


def test_weights_start_another_run(config_file: Path, tmp_path: Path) -> None:
    config = load_toml(config_file, TrainConfig)
    first = Trainer(config)
    first.save()
    second = Trainer(
        replace(
            config,
            run=replace(config.run, out=tmp_path / "second", seed=2),
            network=replace(config.network, init=tmp_path / "run" / "weights.pt"),
        )
    )
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    assert torch.allclose(first.predict(images)[0], second.predict(images)[0], atol=0.05)  # float16


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"nothing of ours")
    with pytest.raises(InputError, match="weights written by 'picosam train'"):
        train.load_weights(path)


def test_the_rate_warms_up_stays_and_falls() -> None:
    optim = OptimConfig(steps=100, warmup_steps=10, decay_steps=20, rate=1.0)
    rates = [learning_rate(step, optim) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:80] == pytest.approx([1.0] * 70)
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert np.all(np.diff(rates[80:]) < 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('device = "tpu"', r"run\.device: expected auto, cpu"),
        ("batch_size = 0", r"optim\.batch_size: expected at least 1"),
        ("validation_share = 0.0", "validation"),
    ],
)
def test_wrong_values_are_named(config_file: Path, line: str, message: str) -> None:
    key = line.split(" =")[0]
    lines = [line if row.startswith(key) else row for row in config_file.read_text().splitlines()]
    config_file.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=message):
        Trainer(load_toml(config_file, TrainConfig))
