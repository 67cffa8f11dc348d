"""What a training run's TOML file says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from picosam_sdk.training.augment import AugmentConfig
from picosam_sdk.types import CropRule

__all__ = [
    "DataConfig",
    "NetworkConfig",
    "OptimConfig",
    "RunConfig",
    "TrainConfig",
    "learning_rate",
]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """``encoder`` is a file with ImageNet weights, for the lite network; ``init`` one of ours."""

    name: str = "lite"
    attention: bool = True
    encoder: Path | None = None
    init: Path | None = None


@dataclass(frozen=True, slots=True)
class DataConfig:
    """``shares`` fixes the share of draws of some sources; the others divide the rest.

    ``teacher`` are shards that 'picosam teach' wrote: they are trained on, but a model is never
    validated on a teacher's masks. Their photographs are held out like all others.
    """

    shards: tuple[Path, ...] = ()
    teacher: tuple[Path, ...] = ()
    cutouts: tuple[Path, ...] = ()
    coco: tuple[Path, ...] = ()
    coco_images: tuple[Path, ...] = ()
    validation_share: float = 0.04
    shares: dict[str, float] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Steps, batch and rates; ``encoder_rate`` multiplies the rate of pretrained layers."""

    steps: int = 20_000
    batch_size: int = 48
    rate: float = 1e-3
    encoder_rate: float = 0.3
    weight_decay: float = 0.01
    warmup_steps: int = 300
    decay_steps: int = 5_000
    ema: float = 0.999
    clip_norm: float = 5.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where results go and how often; ``device`` is "auto", "cpu" or "cuda"."""

    out: Path
    device: str = "auto"
    threads: int = 0
    seed: int = 1
    save_every: int = 250
    check_every: int = 1_000


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run, as its TOML file says it."""

    run: RunConfig
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = OptimConfig()
    crop: CropRule = field(default_factory=lambda: CropRule(square=False))


def learning_rate(step: int, optim: OptimConfig) -> float:
    """Linear warm-up, constant, then half a cosine to zero over the last steps."""
    warm = min(1.0, (step + 1) / max(1, optim.warmup_steps))
    left = (optim.steps - step) / max(1, optim.decay_steps)
    cool = 1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * max(0.0, left))
    return optim.rate * warm * cool
