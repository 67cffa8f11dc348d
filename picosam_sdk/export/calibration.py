"""Crops to quantize with: what the model will see, and others to compare the result on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import HostBackend
from picosam_sdk.training.augment import plain_view
from picosam_sdk.training.data import find_shards, is_held_out, read_shards
from picosam_sdk.types import CropRule, ImageArray, Roi

__all__ = ["Agreement", "Crops", "compare", "read_crops"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Network inputs.

    Args:
        images: uint8 (N, S, S, 3).
        masks: what the model should answer, bool (N, S, S); None where that is not known.
    """

    images: ImageArray
    masks: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much an INT8 model's answers are those of its float model.

    Args:
        crops: how many they were compared on.
        mask_iou: mean IoU of the one's masks with the other's.
        score_error: mean absolute difference of the predicted IoU.
        miou_float, miou_int8: mean IoU with the true masks; None where there are none.
    """

    crops: int
    mask_iou: float
    score_error: float
    miou_float: float | None = None
    miou_int8: float | None = None


def read_crops(
    paths: Sequence[Path], rule: CropRule, count: int, seed: int = 0
) -> tuple[Crops, Crops]:
    """Draws crops at random from training shards or photographs.

    Args:
        paths: .tar shards, pictures, or folders of the ones or the others. Photographs are
            prompted with random boxes, and so have no true masks.
        rule: of the model.
        count: how many of each, at most.

    Returns:
        Crops to calibrate on, and crops of other photographs to check the result on.

    Raises:
        InputError: a path holds neither, or all crops are of one photograph.
    """
    rng = np.random.default_rng(seed)
    shards, pictures = _sort_paths(paths)
    drawn = list(_of_shards(shards, rule, 3 * count, rng))
    drawn += _of_pictures(pictures, rule, 3 * count, rng)
    order = rng.permutation(len(drawn))
    parts = [[drawn[i] for i in order if drawn[i][0] is held][:count] for held in (False, True)]
    if not all(parts):
        raise InputError(
            f"expected crops of at least two photographs, got {len(drawn)} of one",
            hint="Give some hundred photographs or a training shard for calibration.",
        )
    return _stack(parts[0]), _stack(parts[1])


def compare(one: HostBackend, other: HostBackend, crops: Crops, batch: int = 16) -> Agreement:
    """Runs a float and an INT8 model on the same crops."""
    ious: list[NDArray[np.float64]] = []
    errors: list[NDArray[np.float64]] = []
    truths: list[NDArray[np.float64]] = []
    for start in range(0, len(crops.images), batch):
        part = slice(start, start + batch)
        (a, score_a), (b, score_b) = one.infer(crops.images[part]), other.infer(crops.images[part])
        ious.append(_iou(a > 0, b > 0))
        errors.append(np.abs(score_a.astype(np.float64) - score_b))
        if crops.masks is not None:
            truths.append(np.stack([_iou(m > 0, crops.masks[part]) for m in (a, b)], 1))
    miou = np.concatenate(truths).mean(0) if truths else (None, None)
    return Agreement(
        crops=len(crops.images),
        mask_iou=float(np.concatenate(ious).mean()),
        score_error=float(np.concatenate(errors).mean()),
        miou_float=None if miou[0] is None else float(miou[0]),
        miou_int8=None if miou[1] is None else float(miou[1]),
    )


_Drawn = tuple[bool, ImageArray, NDArray[np.bool_] | None]
"""Whether it is for checking, the crop, its mask."""


def _sort_paths(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Shards and pictures among files and folders."""
    shards: list[Path] = []
    pictures: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found = [item for item in inside if item.suffix.lower() in PICTURES and item.is_file()]
        if path.suffix == ".tar" or any(item.suffix == ".tar" for item in inside):
            shards += find_shards([path])
        elif found:
            pictures += found
        else:
            raise InputError(
                f"expected training shards (.tar) or pictures at {path}, found none",
                hint="Give a folder of photographs, or the shards that the model was trained on.",
            )
    return shards, pictures


def _of_shards(
    shards: Sequence[Path], rule: CropRule, count: int, rng: np.random.Generator
) -> Iterator[_Drawn]:
    for shard in shards:  # one at a time: a whole training set may not fit into memory
        samples = read_shards([shard])
        for i in rng.permutation(len(samples))[: -(-count // len(shards))]:
            image, target = plain_view(samples[i], rule)
            held = is_held_out(samples[i].source, samples[i].picture, 0.5)
            yield held, image, target > 127


def _of_pictures(
    pictures: Sequence[Path], rule: CropRule, count: int, rng: np.random.Generator
) -> Iterator[_Drawn]:
    for number, index in enumerate(rng.permutation(len(pictures))[:count]):
        image = load_image(pictures[index])
        height, width = image.shape[:2]
        for _ in range(-(-count // len(pictures))):
            sides = rng.uniform(0.2, 1.0, 2)
            corner = rng.uniform(0, 1 - sides)
            box = crop_box(Roi(*corner, *sides), width, height, rule)
            yield number % 2 == 1, crop(image, box, rule.size_px), None


def _stack(drawn: Sequence[_Drawn]) -> Crops:
    masks = [mask for _, _, mask in drawn if mask is not None]
    images = np.stack([image for _, image, _ in drawn])
    return Crops(images, np.stack(masks) if len(masks) == len(drawn) else None)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of each pair of masks (N, S, S); 1 where both are empty."""
    union = (a | b).sum((1, 2))
    both = (a & b).sum((1, 2))
    return np.where(union == 0, 1.0, both / np.maximum(union, 1))
