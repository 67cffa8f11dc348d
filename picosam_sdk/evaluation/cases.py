"""The objects of an annotation file made ready for a model: prompt, frame, truth, competitors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.evaluation.annotations import Dataset, Instance
from picosam_sdk.evaluation.frame import truth_in_frame
from picosam_sdk.geometry import crop_box
from picosam_sdk.images import load_image
from picosam_sdk.types import PAPER_RULE, Box, ImageArray, Roi, size_of

__all__ = ["MAX_JITTER", "Case", "inner_point", "jittered", "read_cases", "spread"]

MAX_JITTER = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One object, ready to be predicted and scored.

    Args:
        index: its place in the dataset.
        instance: the object itself.
        image: the whole picture, uint8 (H, W, 3).
        prompt: the box that stands for it.
        frame: the pixels of the paper's crop.
        mask: the true mask of the whole picture, bool (H, W).
        truth: the same in the paper's frame, bool (SIZE, SIZE).
        competitors: other objects whose box has its centre inside the frame.
    """

    index: int
    instance: Instance
    image: ImageArray
    prompt: Roi
    frame: Box
    mask: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    competitors: int


def read_cases(
    dataset: Dataset, chosen: Iterable[int], *, jitter: float = 0.0, seed: int = 0
) -> Iterator[Case]:
    """The chosen objects, picture by picture, so that each picture is read once.

    Args:
        chosen: places in ``dataset.instances``.
        jitter: level of the paper's box perturbation, 0 to 1; see :func:`jittered`.
        seed: of the jitter; an object's box depends on it and on the annotation's id only.

    Raises:
        InputError: a picture or mask is unusable, or the jitter is out of range.
    """
    if not 0 <= jitter <= MAX_JITTER:
        raise InputError(
            f"expected a jitter from 0 to {MAX_JITTER:g}, got {jitter}",
            hint="It is a share of the box's size: 0.2 for the paper's 20 %.",
        )
    everyone: dict[Path, list[Instance]] = defaultdict(list)
    for instance in dataset.instances:
        everyone[instance.image].append(instance)
    by_picture: dict[Path, list[int]] = defaultdict(list)
    for index in chosen:
        by_picture[dataset.instances[index].image].append(index)
    for path, indices in by_picture.items():
        size_px = dataset.instances[indices[0]].size_px
        image = load_image(path)
        if size_of(image) != size_px:
            raise InputError(
                f"expected {path} to have the {size_px[0]} x {size_px[1]} px of its annotations, "
                f"got {image.shape[1]} x {image.shape[0]} px",
                hint="Use the original pictures, neither scaled nor turned.",
            )
        centers = np.array([_center(instance) for instance in everyone[path]])
        for index in indices:
            instance = dataset.instances[index]
            rng = np.random.default_rng((seed, abs(instance.id)))
            prompt = jittered(instance.roi, jitter, rng)
            frame = crop_box(prompt, *size_px, PAPER_RULE)
            mask = instance.mask()
            own = _is_inside(np.array(_center(instance)), frame)
            yield Case(
                index=index,
                instance=instance,
                image=image,
                prompt=prompt,
                frame=frame,
                mask=mask,
                truth=truth_in_frame(mask, frame),
                competitors=int(_is_inside(centers, frame).sum()) - int(own),
            )


def jittered(roi: Roi, level: float, rng: np.random.Generator) -> Roi:
    """A box as a careless hand would draw it, by the paper's definition.

    The centre moves uniformly by up to ``level / 2`` of the box's side in each direction, each side
    is multiplied by a Gaussian of mean 1 and sigma ``level / 2``. A box without area, or wholly
    outside the picture, is drawn again.
    """
    if level == 0:
        return roi
    cx, cy = roi.center
    while True:
        move_x, move_y = rng.uniform(-level / 2, level / 2, 2)
        scale_x, scale_y = rng.normal(1, level / 2, 2)
        if min(scale_x, scale_y) <= 0:
            continue
        width, height = roi.width * scale_x, roi.height * scale_y
        moved = Roi(
            cx + move_x * roi.width - width / 2,
            cy + move_y * roi.height - height / 2,
            width,
            height,
        )
        if moved.overlaps_view():
            return moved


def inner_point(mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """The point inside a mask that is farthest from its edge and from the picture's.

    Returns:
        x, y in pixels, the middle of a pixel; None if the mask is empty.
    """
    bordered = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(bordered, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    if distance[row, column] == 0:
        return None
    return float(column) - 0.5, float(row) - 0.5  # less the border, plus half a pixel


def spread(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of the numbers 0 to ``count - 1``, evenly spaced.

    Raises:
        InputError: the limit is below 1.
    """
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 1:
        raise InputError(
            f"expected a limit of at least 1 object, got {limit}",
            hint="Leave it out to evaluate all objects.",
        )
    return [(2 * i + 1) * count // (2 * limit) for i in range(limit)]


def _center(instance: Instance) -> tuple[float, float]:
    x, y, width, height = instance.bbox
    return x + width / 2, y + height / 2


def _is_inside(points: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Which points (..., 2) of x, y lie in a box."""
    low, high = np.array((box.x0, box.y0)), np.array((box.x1, box.y1))
    return np.asarray(((points >= low) & (points < high)).all(axis=-1))
