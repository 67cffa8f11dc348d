"""Trains a network from a TOML file: resumable, on CPU or CUDA, with a log, a plot and previews.

The learning rate warms up, stays, and falls to zero over the last ``decay_steps``; since the
long middle part is the same whatever its length, a run can be extended by raising ``steps``.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.training import data, losses, net
from picosam_sdk.training.augment import jitter, plain_view, training_view
from picosam_sdk.training.report import plot_log, preview_sheet
from picosam_sdk.training.settings import DataConfig, TrainConfig, learning_rate
from picosam_sdk.types import Roi

__all__ = ["Trainer", "load_weights", "save_weights"]


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of whole batches: uint8 images (B, 3, S, S) and targets (B, 1, S, S)."""

    def __init__(
        self,
        samples: list[data.Sample],
        cutouts: list[data.Sample],
        config: TrainConfig,
        start: int,
    ) -> None:
        self.samples, self.cutouts, self.config, self.start = samples, cutouts, config, start
        self.weights = data.balanced_weights(samples, config.data.shares)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        rng = np.random.default_rng((self.config.run.seed, self.start, worker))
        total = np.cumsum(self.weights)
        size = self.config.optim.batch_size
        while True:
            chosen = np.searchsorted(total, rng.random(size) * total[-1])
            views = [
                training_view(
                    self.samples[i], self.cutouts, self.config.crop, self.config.augment, rng
                )
                for i in chosen
            ]
            yield to_tensors(views)


def to_tensors(views: list[Any]) -> tuple[Tensor, Tensor]:
    """Views as uint8 tensors: images (B, 3, S, S) channels last, targets (B, 1, S, S)."""
    images = torch.from_numpy(np.stack([image for image, _ in views])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([target for _, target in views]))[:, None]


class Trainer:
    """One run, built from its configuration; resumed if its folder holds a checkpoint."""

    def __init__(self, config: TrainConfig) -> None:
        if config.optim.batch_size < 1:
            raise ConfigError(
                f"optim.batch_size: expected at least 1, got {config.optim.batch_size}",
                hint="48 suits a CPU, 256 a GPU.",
            )
        # Before the loader forks: OpenCV's pool of threads, once used, hangs in a forked process.
        cv2.setNumThreads(1)
        self.config = config
        torch.manual_seed(config.run.seed)
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        self.device = choose_device(config.run.device)
        self.amp = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        model = net.build(config.network.name, attention=config.network.attention)
        if config.network.encoder is not None and isinstance(model, net.LiteNet):
            model.load_encoder(config.network.encoder)
        if config.network.init is not None:
            model.load_state_dict(load_weights(config.network.init)["state"])
        moved: Any = model.to(self.device)
        self.net: nn.Module = moved.to(memory_format=torch.channels_last)
        self.ema = torch.optim.swa_utils.AveragedModel(
            self.net, avg_fn=self._average, use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=config.optim.weight_decay)
        self.step = 0
        self.train_samples, self.val_samples, self.cutouts = load_data(config.data)
        config.run.out.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        return self.config.run.out / "last.pt"

    def run(self) -> None:
        """Trains to ``optim.steps``; Ctrl-C saves and returns."""
        optim = self.config.optim
        batches = Batches(self.train_samples, self.cutouts, self.config, self.step)
        loader: DataLoader[Any] = DataLoader(
            batches, batch_size=None, num_workers=self.config.data.workers,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        bar = tqdm(total=optim.steps, initial=self.step, unit="step", smoothing=0.02)
        since, began, sums = 0, time.monotonic(), dict[str, float]()
        try:
            for images, targets in loader:
                if self.step >= optim.steps:
                    break
                for key, value in self._train_step(images, targets).items():
                    sums[key] = sums.get(key, 0.0) + value
                since += 1
                bar.update()
                if self.step % 50 == 0:
                    rate = since * optim.batch_size / (time.monotonic() - began)
                    means = {key: value / since for key, value in sums.items()}
                    bar.set_postfix_str(f"loss {means['total']:.3f}, {rate:.0f} crops/s")
                    self._log(means, rate)
                    since, began, sums = 0, time.monotonic(), {}
                if self.step % self.config.run.save_every == 0:
                    self.save()
                if self.step % self.config.run.check_every == 0 or self.step == optim.steps:
                    self._check(bar)
                    began = time.monotonic()
        except KeyboardInterrupt:
            bar.write("interrupted: saved; run the same command to go on", file=sys.stderr)
        finally:
            self.save()
            bar.close()

    def save(self) -> None:
        """Writes last.pt (everything, to resume) and weights.pt (float16 EMA, to ship)."""
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)
        save_weights(self.ema.module, self.config, self.step, self.config.run.out / "weights.pt")

    def _groups(self) -> list[dict[str, Any]]:
        """Parameter groups: pretrained layers at a lower rate, no decay on biases and norms."""
        slow = ("stem.", "blocks.") if self.config.network.encoder is not None else ()
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.net.named_parameters():
            scale = self.config.optim.encoder_rate if name.startswith(slow) and slow else 1.0
            decay = self.config.optim.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
        return [
            {"params": parameters, "scale": scale, "weight_decay": decay}
            for (scale, decay), parameters in groups.items()
        ]

    def _average(self, old: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        count = float(updates)
        decay = min(self.config.optim.ema, (1 + count) / (10 + count))
        return torch.lerp(new.to(old.dtype), old, decay) if old.is_floating_point() else new

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _train_step(self, images: Tensor, targets: Tensor) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = group["scale"] * learning_rate(self.step, self.config.optim)
        self.net.train()
        images = images.to(self.device, non_blocking=True).float()
        target = targets.to(self.device, non_blocking=True).float() / 255
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            logits, iou = self.net(images.contiguous(memory_format=torch.channels_last))
        parts = losses.mask_loss(logits.float(), iou.float(), target)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(parts["total"])
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.ema.update_parameters(self.net)
        self.step += 1
        values = {key: float(value.detach()) for key, value in parts.items()}
        if not math.isfinite(values["total"]):
            raise InputError(
                f"expected a finite loss, got {values['total']} at step {self.step}",
                hint="Lower optim.rate and start again from the last checkpoint.",
            )
        return values

    @torch.no_grad()
    def _check(self, bar: tqdm[Any]) -> None:
        """Scores the averaged weights on the held-out photographs; draws sheet and plot."""
        scores = self.validate(0.0) | {
            f"jitter_{key}": value for key, value in self.validate(0.2).items() if key == "miou"
        }
        line = f"step {self.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in scores.items())
        bar.write(line, file=sys.stderr)
        self._log(scores, None)
        views = [plain_view(sample, self.config.crop) for sample in self.val_samples[:48]]
        logits, iou = self.predict(to_tensors(views)[0])
        sheet = self.config.run.out / "preview.png"
        preview_sheet(views, logits[:, 0].numpy(), iou.numpy(), sheet)
        plot_log(self.config.run.out / "log.csv", self.config.run.out / "log.png")

    def validate(self, level: float) -> dict[str, float]:
        """Mean IoU in the crop's frame, its standard error, and the predicted IoU's correlation."""
        rng = np.random.default_rng(0)
        ious, scores = [], []
        for start in range(0, len(self.val_samples), 64):
            part = self.val_samples[start : start + 64]
            views = [plain_view(s, self.config.crop, safe_jitter(s, level, rng)) for s in part]
            images, targets = to_tensors(views)
            logits, score = self.predict(images)
            ious.append(losses.hard_iou(logits, targets.float() / 255))
            scores.append(score)
        iou, score = torch.cat(ious), torch.cat(scores)
        correlation = torch.corrcoef(torch.stack([iou, score]))[0, 1]
        return {
            "miou": float(iou.mean()),
            "se": float(iou.std(correction=0) / len(iou) ** 0.5),
            "score_correlation": float(correlation),
        }

    @torch.no_grad()
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The averaged weights on uint8 crops (N, 3, S, S): logits (N, 1, S, S), IoU (N,)."""
        self.ema.eval()
        logits, iou = self.ema(images.to(self.device).float())
        return logits.float().cpu(), iou.float().cpu()

    def _log(self, values: dict[str, float], crops_per_s: float | None) -> None:
        """Adds rows (step, crops, name, value) to log.csv."""
        path = self.config.run.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(("step", "crops", "name", "value"))
            rows = dict(values)
            if crops_per_s is not None:
                rows |= {
                    "crops_per_s": crops_per_s,
                    "rate": learning_rate(self.step, self.config.optim),
                }
            crops = self.step * self.config.optim.batch_size
            writer.writerows((self.step, crops, key, f"{value:.6g}") for key, value in rows.items())


def safe_jitter(sample: data.Sample, level: float, rng: np.random.Generator) -> Any:
    """A jittered box, or the exact one where the jittered one would leave the picture."""
    bbox = jitter(sample.bbox, level, rng)
    height, width = sample.mask.shape
    return bbox if Roi.from_pixels(*bbox, (width, height)).overlaps_view() else sample.bbox


def load_data(
    config: DataConfig,
) -> tuple[list[data.Sample], list[data.Sample], list[data.Sample]]:
    """Training samples, validation samples and cut-outs; no photograph is in two of them."""
    samples = data.read_shards(config.shards) if config.shards else []
    if len(config.coco) != len(config.coco_images):
        raise ConfigError(
            f"data.coco_images: expected as many folders as annotation files ({len(config.coco)}), "
            f"got {len(config.coco_images)}",
            hint="Name one image folder for each annotation file, in the same order.",
        )
    for file, folder in zip(config.coco, config.coco_images, strict=True):
        samples += data.read_coco(file, folder)
    train, held = data.split(samples, config.validation_share)
    if config.teacher:
        train += data.split(data.read_shards(config.teacher), config.validation_share)[0]
    cutouts = data.read_cutouts(config.cutouts) if config.cutouts else []
    kept, _ = data.split(cutouts, config.validation_share)
    if not train or not held:
        raise ConfigError(
            f"data: expected samples for training and validation, got {len(train)} and {len(held)}",
            hint="Give data.shards or data.coco, and a data.validation_share above zero.",
        )
    return train, held, kept


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and there is none.
    """
    cuda = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not cuda):
        raise ConfigError(
            f"run.device: expected auto, cpu{' or cuda' if cuda else ''}, got {name!r}",
            hint="Set run.device to 'auto'.",
        )
    return torch.device("cuda" if name != "cpu" and cuda else "cpu")


def save_weights(model: nn.Module, config: TrainConfig, step: int, path: Path) -> None:
    """Writes the float16 weights with what is needed to rebuild the network around them."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    record = {
        "state": {key: value.cpu() for key, value in state.items()},
        "network": config.network.name,
        "attention": config.network.attention,
        "crop": asdict(config.crop),
        "step": step,
        "crops": step * config.optim.batch_size,
    }
    part = path.with_suffix(".part")
    torch.save(record, part)
    part.replace(path)


def load_weights(path: Path) -> dict[str, Any]:
    """Reads what :func:`save_weights` wrote; no code in the file is run.

    Raises:
        InputError: the file is not such a checkpoint.
    """
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        record["state"] = {
            key: value.float() if value.is_floating_point() else value
            for key, value in record["state"].items()
        }
    except Exception as error:
        raise InputError(
            f"expected weights written by 'picosam train' at {path}, "
            f"got: {str(error).splitlines()[0]}",
            hint="Give the weights.pt of a run's folder.",
        ) from error
    return dict(record)
