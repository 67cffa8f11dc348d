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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import BackendError
from picosam_sdk.evaluation.annotations import Dataset
from picosam_sdk.evaluation.cases import Case, inner_point, read_cases, spread
from picosam_sdk.evaluation.frame import SIZE, shapes_in_frame, to_frame
from picosam_sdk.evaluation.metrics import Evaluation, iou
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.mask import Mask
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.types import PAPER_RULE, Box, ImageArray, Roi, size_of

__all__ = [
    "Model",
    "PointModel",
    "Prediction",
    "Progress",
    "evaluate",
    "evaluate_points",
    "predict_boxes",
    "predict_points",
]

BATCH = 16

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
class Prediction:
    """A model's answer to one case.

    Args:
        logits: float32 (h, w).
        region: the pixels of the picture that they cover.
        threshold: a logit; above it a pixel belongs to the mask.
        score: IoU that the model predicts for its mask.
        outside: area of the mask outside of the case's frame that counts against it, in pixels
            of the frame.
    """

    logits: NDArray[np.float32]
    region: Box
    threshold: float
    score: float
    outside: float = 0.0

    def in_frame(self, frame: Box) -> NDArray[np.bool_]:
        """The mask inside a frame, bool (SIZE, SIZE)."""
        return to_frame(self.logits, self.region, frame) > self.threshold


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
        jitter, seed: of the boxes, see :func:`picosam_sdk.evaluation.cases.read_cases`.
        limit: evaluate only this many objects, spread evenly over the file.

    Raises:
        InputError: a picture or mask is unusable, or an argument is out of range.
        BackendError: the model failed, or its values are not finite.
    """
    chosen = spread(len(dataset.instances), limit)
    pairs = predict_boxes(model, read_cases(dataset, chosen, jitter=jitter, seed=seed))
    protocol = {"prompt": "box", "jitter": jitter, "seed": seed, "limit": limit}
    return _score(dataset, model.card, chosen, pairs, protocol, progress)


def evaluate_points(
    model: PointModel,
    dataset: Dataset,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Prompts a model with a point inside every object and scores its masks.

    The point is :func:`picosam_sdk.evaluation.cases.inner_point`. The frame is that of the
    object's true box, which the model is not told. What a mask covers outside of that frame counts
    as wrongly predicted. Where the true mask has no pixel (some of COCO's polygons are smaller than
    one), the point is the middle of the box.
    """
    chosen = spread(len(dataset.instances), limit)
    pairs = predict_points(model, read_cases(dataset, chosen))
    return _score(dataset, model.card, chosen, pairs, {"prompt": "point", "limit": limit}, progress)


def predict_boxes(model: Model, cases: Iterable[Case]) -> Iterator[tuple[Case, Prediction]]:
    """A model's answers to boxes, computed in batches; see :func:`evaluate`."""
    rule, threshold = model.card.crop, model.card.threshold_logit
    cases = iter(cases)
    while batch := list(islice(cases, BATCH)):
        boxes = [crop_box(case.prompt, *size_of(case.image), rule) for case in batch]
        crops = [
            crop(case.image, box, rule.size_px) for case, box in zip(batch, boxes, strict=True)
        ]
        logits, scores = model.infer(np.stack(crops))
        if not (np.isfinite(logits).all() and np.isfinite(scores).all()):
            raise BackendError(
                f"expected finite logits and scores from the model '{model.card.name}', "
                "got NaN or infinite ones",
                hint="Its training may have diverged; export an earlier checkpoint.",
            )
        for case, box, values, score in zip(batch, boxes, logits, scores, strict=True):
            yield case, Prediction(values, box, threshold, float(score))


def predict_points(model: PointModel, cases: Iterable[Case]) -> Iterator[tuple[Case, Prediction]]:
    """A model's answers to points; see :func:`evaluate_points`."""
    for case in cases:
        box, frame = case.prompt.to_pixels(*size_of(case.image)), case.frame
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        mask = model.segment(case.image, point=inner_point(case.mask) or middle)
        inside = mask.paste()[frame.y0 : frame.y1, frame.x0 : frame.x1]
        outside_px = mask.area_px - np.count_nonzero(inside)
        yield (
            case,
            Prediction(
                logits=mask.logits,
                region=mask.roi.to_pixels(*size_of(case.image)),
                threshold=mask.threshold,
                score=mask.score,
                outside=float(outside_px * SIZE**2 / (frame.width * frame.height)),
            ),
        )


def _score(
    dataset: Dataset,
    card: ModelCard,
    chosen: Sequence[int],
    pairs: Iterable[tuple[Case, Prediction]],
    protocol: dict[str, Any],
    progress: Progress | None,
) -> Evaluation:
    """Scores predictions of the chosen objects, which may come in any order."""
    place = {index: i for i, index in enumerate(chosen)}
    prompts: list[Roi] = [dataset.instances[index].roi for index in chosen]
    names = ("iou", "clipped", "score", "area", "box", "ellipse")
    values = {name: np.zeros(len(chosen), np.float64) for name in names}
    competitors = np.zeros(len(chosen), np.int64)
    for case, prediction in pairs:
        i = place[case.index]
        size_px, area = size_of(case.image), case.instance.area
        predicted = prediction.in_frame(case.frame)
        box, ellipse = shapes_in_frame(case.prompt, case.frame, *size_px)
        grown, _ = shapes_in_frame(case.prompt.grow(PAPER_RULE.padding), case.frame, *size_px)
        values["iou"][i] = iou(predicted, case.truth, prediction.outside)
        values["clipped"][i] = iou(predicted & grown, case.truth)
        values["score"][i] = prediction.score
        values["area"][i] = np.count_nonzero(case.mask) if area is None else area
        values["box"][i], values["ellipse"][i] = iou(box, case.truth), iou(ellipse, case.truth)
        competitors[i] = case.competitors
        prompts[i] = case.prompt
        if progress is not None:
            progress(1)
    return Evaluation(
        instances=tuple(dataset.instances[index] for index in chosen),
        prompts=tuple(prompts),
        ious=values["iou"],
        clipped_ious=values["clipped"] if protocol["prompt"] == "box" else None,
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
            "crowds_left_out": dataset.crowds,
            "empty_boxes_left_out": dataset.empty,
        },
    )


def _describe_model(card: ModelCard) -> dict[str, Any]:
    fields = ("name", "version", "network", "quantization", "threshold", "sha256")
    return {name: getattr(card, name) for name in fields} | {"crop": dataclasses.asdict(card.crop)}
