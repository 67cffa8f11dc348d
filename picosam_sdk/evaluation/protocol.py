"""The paper's evaluation protocol (PicoSAM3, arXiv 2603.11917), for any model and crop rule.

Each object is prompted with its box, exact or jittered. The model is shown the crop that its own
card asks for, but every model is scored in the same frame: the paper's crop of the prompt box
(grown by 10 %, squared, clipped), resized to 96 x 96 px; see :mod:`picosam_sdk.evaluation.frame`.

The frame belongs to the box that the model was given: a jittered box moves the frame with it, and
what it leaves outside of the object cannot be found and is not counted, as with the authors' own
scripts.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import BackendError, InputError
from picosam_sdk.evaluation.annotations import Dataset, Instance
from picosam_sdk.evaluation.frame import SIZE, shapes_in_frame, to_frame, truth_in_frame
from picosam_sdk.evaluation.metrics import Evaluation, iou
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.images import load_image
from picosam_sdk.mask import Mask
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.types import PAPER_RULE, Box, ImageArray, Roi, size_of

__all__ = [
    "Model",
    "PointModel",
    "evaluate",
    "evaluate_points",
    "inner_point",
    "jittered",
    "spread",
]

BATCH = 16
MAX_JITTER = 1.0

Progress = Callable[[int], object]
"""Called with the number of objects done since the last call."""


class Model(Protocol):
    """What :func:`evaluate` needs: any HostBackend, or two attributes of the same kind."""

    @property
    def card(self) -> ModelCard: ...

    def infer(self, crops: ImageArray, /) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


class PointModel(Protocol):
    """What :func:`evaluate_points` needs: any Segmenter."""

    @property
    def card(self) -> ModelCard: ...

    def segment(self, image: Any, /, *, point: tuple[float, float]) -> Mask: ...


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One object, ready to be predicted and scored.

    Args:
        index: its place in the dataset.
        image: the whole picture, uint8 (H, W, 3).
        prompt: the box that stands for it.
        frame: the pixels of the paper's crop.
        mask: the true mask of the whole picture, bool (H, W).
        truth: the same in the paper's frame, bool (SIZE, SIZE).
        competitors: other objects whose box has its centre inside the frame.
    """

    index: int
    image: ImageArray
    prompt: Roi
    frame: Box
    mask: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    competitors: int


def evaluate(
    model: Model,
    dataset: Dataset,
    *,
    jitter: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Prompts a model with every object's box and scores its masks.

    Args:
        jitter: level of the paper's box perturbation, 0 to 1; see :func:`jittered`.
        limit: evaluate only this many objects, spread evenly over the file.
        seed: of the jitter; an object's box depends on it and on the annotation's id only.

    Raises:
        InputError: a picture or mask is unusable, or an argument is out of range.
        BackendError: the model failed, or its values are not finite.
    """
    if not 0 <= jitter <= MAX_JITTER:
        raise InputError(
            f"expected a jitter from 0 to {MAX_JITTER:g}, got {jitter}",
            hint="It is a share of the box's size: 0.2 for the paper's 20 %.",
        )
    rule = model.card.crop
    threshold = _logit(model.card.threshold)

    def answer(cases: Sequence[Case]) -> Iterator[tuple[float, float]]:
        boxes = [crop_box(case.prompt, *size_of(case.image), rule) for case in cases]
        crops = [
            crop(case.image, box, rule.size_px) for case, box in zip(cases, boxes, strict=True)
        ]
        logits, scores = model.infer(np.stack(crops))
        if not (np.isfinite(logits).all() and np.isfinite(scores).all()):
            raise BackendError(
                f"expected finite logits and scores from the model '{model.card.name}', "
                "got NaN or infinite ones",
                hint="Its training may have diverged; export an earlier checkpoint.",
            )
        for case, box, values, score in zip(cases, boxes, logits, scores, strict=True):
            predicted = to_frame(values, box, case.frame) > threshold
            yield iou(predicted, case.truth), float(score)

    protocol = {"prompt": "box", "jitter": jitter, "seed": seed}
    return _run(dataset, model.card, answer, protocol, limit=limit, progress=progress)


def evaluate_points(
    model: PointModel,
    dataset: Dataset,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Prompts a model with a point inside every object and scores its masks.

    The point is :func:`inner_point`. The frame is that of the object's true box, which the model
    is not told. What a mask covers outside of that frame counts as wrongly predicted.
    """

    def answer(cases: Sequence[Case]) -> Iterator[tuple[float, float]]:
        for case in cases:
            point = inner_point(case.mask)
            if point is None:
                raise InputError(
                    f"annotation {dataset.instances[case.index].id}: expected a mask with pixels "
                    "to point at, got an empty one",
                    hint="Remove the annotation, or evaluate with box prompts.",
                )
            mask = model.segment(case.image, point=point)
            region = mask.roi.to_pixels(*size_of(case.image))
            predicted = to_frame(mask.logits, region, case.frame) > mask.threshold
            frame = case.frame
            inside = mask.paste()[frame.y0 : frame.y1, frame.x0 : frame.x1]
            outside_px = mask.area_px - np.count_nonzero(inside)
            outside = outside_px * SIZE**2 / (frame.width * frame.height)
            yield iou(predicted, case.truth, outside), mask.score

    return _run(dataset, model.card, answer, {"prompt": "point"}, limit=limit, progress=progress)


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


def _run(
    dataset: Dataset,
    card: ModelCard,
    answer: Callable[[Sequence[Case]], Iterable[tuple[float, float]]],
    protocol: dict[str, Any],
    *,
    limit: int | None,
    progress: Progress | None,
) -> Evaluation:
    """Scores the chosen objects; ``answer`` gives each case's IoU and predicted IoU."""
    chosen = spread(len(dataset.instances), limit)
    place = {index: i for i, index in enumerate(chosen)}
    prompts: list[Roi] = [dataset.instances[index].roi for index in chosen]
    names = ("iou", "score", "area", "box", "ellipse")
    values = {name: np.zeros(len(chosen), np.float64) for name in names}
    competitors = np.zeros(len(chosen), np.int64)
    cases = _cases(dataset, chosen, protocol.get("jitter", 0.0), protocol.get("seed", 0))
    while batch := list(islice(cases, BATCH)):
        for case, (value, score) in zip(batch, answer(batch), strict=True):
            i = place[case.index]
            area = dataset.instances[case.index].area
            values["iou"][i], values["score"][i] = value, score
            values["area"][i] = np.count_nonzero(case.mask) if area is None else area
            box, ellipse = shapes_in_frame(case.prompt, case.frame, *size_of(case.image))
            values["box"][i], values["ellipse"][i] = iou(box, case.truth), iou(ellipse, case.truth)
            competitors[i] = case.competitors
            prompts[i] = case.prompt
        if progress is not None:
            progress(len(batch))
    return Evaluation(
        instances=tuple(dataset.instances[index] for index in chosen),
        prompts=tuple(prompts),
        ious=values["iou"],
        scores=values["score"],
        areas=values["area"],
        competitors=competitors,
        baselines={"box": values["box"], "ellipse": values["ellipse"]},
        model=_describe_model(card),
        protocol={
            **protocol,
            "frame": dataclasses.asdict(PAPER_RULE),
            "annotations": dataset.path.name,
            "objects": len(dataset.instances),
            "limit": limit,
            "crowds_left_out": dataset.crowds,
            "empty_boxes_left_out": dataset.empty,
        },
    )


def _cases(dataset: Dataset, chosen: Iterable[int], jitter: float, seed: int) -> Iterator[Case]:
    """The chosen objects, picture by picture, so that each picture is read once."""
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
                image=image,
                prompt=prompt,
                frame=frame,
                mask=mask,
                truth=truth_in_frame(mask, frame),
                competitors=int(_is_inside(centers, frame).sum()) - int(own),
            )


def _center(instance: Instance) -> tuple[float, float]:
    x, y, width, height = instance.bbox
    return x + width / 2, y + height / 2


def _is_inside(points: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Which points (..., 2) of x, y lie in a box."""
    low, high = np.array((box.x0, box.y0)), np.array((box.x1, box.y1))
    return np.asarray(((points >= low) & (points < high)).all(axis=-1))


def _describe_model(card: ModelCard) -> dict[str, Any]:
    fields = ("name", "version", "network", "quantization", "threshold", "sha256")
    return {name: getattr(card, name) for name in fields} | {"crop": dataclasses.asdict(card.crop)}


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
