"""Small exported models of both networks: random weights, but features of a trained one's size."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from picosam_sdk.export.calibration import Crops, read_crops
from picosam_sdk.export.onnx import export_weights
from picosam_sdk.export.quantize import Quantized, quantize_file
from picosam_sdk.training.net import build
from picosam_sdk.training.settings import NetworkConfig, RunConfig, TrainConfig
from picosam_sdk.training.train import save_weights
from picosam_sdk.types import CropRule

NETWORKS = ("lite", "paper")
RULE = CropRule(square=False)


@dataclass(frozen=True)
class Trio:
    """One network as torch module, float32 ONNX and INT8 ONNX."""

    net: nn.Module
    weights: Path
    float32: Path
    int8: Path
    quantized: Quantized


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small work is done sooner by one thread than by many that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def crops(photos: Path) -> tuple[Crops, Crops]:
    """12 crops of the sample photographs to calibrate on, and 12 of others."""
    return read_crops([photos], RULE, 12)


def settled(net: nn.Module, images: np.ndarray) -> nn.Module:
    """A random network whose BatchNorms know their features, and that answers with masks.

    Its values are those that the float16 weights file can hold.
    """
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    net.train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.uniform_(0.7, 1.3)
            norm.bias.normal_(1, 0.2)  # most features pass ReLU, else noise grows in a random net
        for _ in range(3):
            net(batch)
        net.eval()
        logits, _ = net(batch)
        last = [module for module in net.modules() if isinstance(module, nn.Conv2d)][-1]
        last.weight *= 4 / logits.std()
        last.bias -= logits.median() * 4 / logits.std()
    state = {
        k: v.half().float() if v.is_floating_point() else v for k, v in net.state_dict().items()
    }
    net.load_state_dict(state)
    return net


@pytest.fixture(scope="session")
def trio(
    tmp_path_factory: pytest.TempPathFactory, crops: tuple[Crops, Crops], photos: Path
) -> Callable[[str], Trio]:
    """Makes the three forms of a network, once."""
    made: dict[str, Trio] = {}

    def make(name: str) -> Trio:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            torch.manual_seed(7)
            net = settled(build(name), crops[0].images)
            config = TrainConfig(
                run=RunConfig(out=folder), network=NetworkConfig(name=name), crop=RULE
            )
            weights, float32, int8 = (folder / n for n in ("weights.pt", "f.onnx", "i.onnx"))
            save_weights(net, config, 10, weights)
            export_weights(weights, float32, name=f"random {name}")
            done = quantize_file(float32, int8, [photos], samples=12)
            made[name] = Trio(net, weights, float32, int8, done)
        return made[name]

    return make


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A training shard of eight discs in eight photographs."""
    path = tmp_path / "objects-000.tar"
    rng = np.random.default_rng(3)
    with tarfile.open(path, "w") as archive:
        for i in range(8):
            image = rng.integers(0, 255, (64, 80, 3), np.uint8)
            mask = np.zeros((64, 80), np.uint8)
            cv2.circle(mask, (40, 32), 14 + i, 255, -1)
            meta = {"source": "test", "image": f"{i}.jpg", "bbox": [20, 10, 40, 44]}
            for name, data in (
                (f"{i}.jpg", cv2.imencode(".jpg", image)[1].tobytes()),
                (f"{i}.png", cv2.imencode(".png", mask)[1].tobytes()),
                (f"{i}.json", json.dumps(meta).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
    return path
