"""To and from what others use: a detector's boxes, ``supervision.Detections``, COCO's JSON.

Nothing here is imported by the rest of the SDK. ``supervision`` is needed by
:func:`to_detections` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from picosam_sdk.errors import InputError, MissingExtraError
from picosam_sdk.mask import Mask
from picosam_sdk.rle import decode
from picosam_sdk.types import Roi, size_of

__all__ = ["masks_from_coco", "rois_from_xyxy", "to_coco", "to_detections"]


def rois_from_xyxy(boxes: Any, image: Any) -> list[Roi]:
    """ROIs from a detector's boxes.

    Args:
        boxes: float (N, 4) of x0, y0, x1, y1 in pixels, such as ``Detections.xyxy``; or an
            object that has such an ``xyxy``.
        image: the picture, or its size as ``(width_px, height_px)``.

    Raises:
        InputError: another shape, a value that is not finite, or a box without area.
    """
    array = np.asarray(getattr(boxes, "xyxy", boxes), dtype=np.float64)
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(
            f"expected boxes (N, 4) of x0, y0, x1, y1, got shape {array.shape}",
            hint="Pass detections.xyxy.",
        )
    size_px = size_of(image)
    return [Roi.from_pixels(x0, y0, x1 - x0, y1 - y0, size_px) for x0, y0, x1, y1 in array.tolist()]


def to_detections(masks: Sequence[Mask]) -> Any:
    """``supervision.Detections`` of masks: tight boxes, bits as large as the frame, scores.

    Empty masks are left out. ``data["index"]`` says which mask each row was.

    Raises:
        MissingExtraError: supervision is not installed.
        InputError: the masks belong to frames of several sizes.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError("supervision", "supervision") from error
    if len({mask.size_px for mask in masks}) > 1:
        raise InputError(
            f"expected masks of one frame size, got {sorted({mask.size_px for mask in masks})}",
            hint="Convert the masks of each picture alone.",
        )
    rows = [(index, mask, mask.bbox()) for index, mask in enumerate(masks)]
    found = [(index, mask, box) for index, mask, box in rows if box is not None]
    if not found:
        return supervision.Detections.empty()
    return supervision.Detections(
        xyxy=np.array([[x, y, x + w, y + h] for _, _, (x, y, w, h) in found], dtype=np.float64),
        mask=np.stack([mask.paste() for _, mask, _ in found]),
        confidence=np.array([mask.score for _, mask, _ in found], dtype=np.float32),
        data={"index": np.array([index for index, _, _ in found])},
    )


def to_coco(
    masks: Iterable[Mask], *, image_id: int, category_id: int = 1, first_id: int = 1
) -> list[dict[str, Any]]:
    """COCO annotations of masks, each with RLE, box, area and score; empty masks are left out."""
    annotations: list[dict[str, Any]] = []
    for mask in masks:
        box = mask.bbox()
        if box is not None:
            annotations.append(
                {
                    "id": first_id + len(annotations),
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": mask.rle(),
                    "bbox": list(box),
                    "area": mask.area_px,
                    "iscrowd": 0,
                    "score": mask.score,
                }
            )
    return annotations


def masks_from_coco(annotations: Iterable[Mapping[str, Any]]) -> list[Mask]:
    """Masks of COCO annotations whose ``segmentation`` is compressed RLE, as :func:`to_coco` makes.

    Raises:
        InputError: an annotation has no RLE; ``picosam evaluate`` reads polygons, too.
    """
    masks = []
    for annotation in annotations:
        encoded = annotation.get("segmentation")
        if not isinstance(encoded, Mapping):
            raise InputError(
                f"expected an annotation with RLE, got {type(encoded).__name__}",
                hint="Polygons: picosam_sdk.evaluation.annotations.read_dataset reads both.",
            )
        masks.append(Mask.from_bits(decode(encoded), score=float(annotation.get("score", 1.0))))
    return masks
