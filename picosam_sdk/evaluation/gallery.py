"""The best, median and worst objects of an evaluation, as pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.evaluation.annotations import Dataset
from picosam_sdk.evaluation.cases import Case, read_cases
from picosam_sdk.evaluation.metrics import Evaluation
from picosam_sdk.evaluation.protocol import Model, Prediction, predict_boxes
from picosam_sdk.geometry import paste, region_of, resize
from picosam_sdk.types import Box, ImageArray, size_of

__all__ = ["caption", "choose", "draw", "pictures"]

PANEL_PX, GAP_PX = 320, 6
FILL, OUTLINE, PROMPT = (20, 120, 255), (255, 214, 10), (255, 255, 255)


def choose(ious: NDArray[np.float64], count: int) -> dict[str, list[int]]:
    """Places of the ``best``, ``median`` and ``worst`` objects, at most ``count`` of each.

    Fewer where there are few, so that the three groups share none if there are three or more.
    """
    order = np.argsort(ious, kind="stable").tolist()
    count = max(1, min(count, len(order) // 3))
    start = (len(order) - count) // 2
    return {
        "best": order[::-1][:count],
        "median": order[start : start + count],
        "worst": order[:count],
    }


def pictures(
    model: Model, dataset: Dataset, evaluation: Evaluation, places: list[int]
) -> Iterator[tuple[int, ImageArray]]:
    """Predicts some objects of an evaluation once more, with their exact boxes, and draws them.

    Returns:
        Pairs of a place and its picture (see :func:`draw`), in any order.
    """
    chosen = tuple(evaluation.instances[place] for place in places)
    cases = read_cases(dataclasses.replace(dataset, instances=chosen), range(len(chosen)))
    for case, prediction in predict_boxes(model, cases):
        yield places[case.index], draw(case, prediction)


def draw(case: Case, prediction: Prediction) -> ImageArray:
    """An object twice: with its prompt box; and with the predicted mask and the true outline.

    Returns:
        uint8 (PANEL_PX, 2 * PANEL_PX + GAP_PX, 3), the paper's frame with some of what surrounds
        it.
    """
    width_px, height_px = size_of(case.image)
    view = region_of(case.frame, width_px, height_px).grow(0.12).to_pixels(width_px, height_px)
    scale = PANEL_PX / max(view.width, view.height)
    size = max(1, round(view.width * scale)), max(1, round(view.height * scale))

    def enlarged(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        part = mask[view.y0 : view.y1, view.x0 : view.x1].astype(np.uint8) * 255
        return np.asarray(resize(part, *size) > 127)

    plain = resize(case.image[view.y0 : view.y1, view.x0 : view.x1], *size).copy()
    predicted = paste(
        prediction.logits, prediction.region, width_px, height_px, prediction.threshold
    )
    marked = plain.copy()
    inside = enlarged(predicted)
    marked[inside] = (0.45 * marked[inside] + 0.55 * np.array(FILL)).astype(np.uint8)
    outline, _ = cv2.findContours(
        enlarged(case.mask).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(marked, outline, -1, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.drawContours(marked, outline, -1, OUTLINE, 2, cv2.LINE_AA)
    _draw_prompt(plain, case, view, scale)
    gap = np.full((PANEL_PX, GAP_PX, 3), 255, np.uint8)
    return np.hstack([_on_square(plain), gap, _on_square(marked)])


def _draw_prompt(panel: ImageArray, case: Case, view: Box, scale: float) -> None:
    x, y, width, height = (
        side * extent
        for side, extent in zip(
            dataclasses.astuple(case.prompt), size_of(case.image) * 2, strict=True
        )
    )
    start = round((x - view.x0) * scale), round((y - view.y0) * scale)
    end = round((x + width - view.x0) * scale), round((y + height - view.y0) * scale)
    for color, thickness in (((0, 0, 0), 4), (PROMPT, 2)):
        cv2.rectangle(panel, start, end, color, thickness, cv2.LINE_AA)


def _on_square(panel: ImageArray) -> ImageArray:
    canvas = np.full((PANEL_PX, PANEL_PX, 3), 242, np.uint8)
    height, width = panel.shape[:2]
    top, left = (PANEL_PX - height) // 2, (PANEL_PX - width) // 2
    canvas[top : top + height, left : left + width] = panel
    return canvas


def caption(evaluation: Evaluation, place: int) -> dict[str, Any]:
    """What is known of an object, as JSON can hold it."""
    instance = evaluation.instances[place]
    return {
        "id": instance.id,
        "picture": instance.image.name,
        "category": instance.category,
        "iou": float(evaluation.ious[place]),
        "score": float(evaluation.scores[place]),
        "side_px": float(evaluation.areas[place] ** 0.5),
        "competitors": int(evaluation.competitors[place]),
    }
