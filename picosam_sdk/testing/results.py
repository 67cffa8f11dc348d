"""Results as a pipeline might give them, for the contracts and for tests of parts."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from picosam_sdk.mask import Mask, Result
from picosam_sdk.types import Frame, Gaze, ImageArray, Roi

__all__ = ["SIZE_PX", "a_mask", "a_result", "odd_results"]

SIZE_PX = (320, 240)
_ROI = Roi(0.25, 0.25, 0.5, 0.5)


def a_mask(
    x: float = 0.5, y: float = 0.5, side: float = 0.2, roi: Roi = _ROI, score: float = 0.9
) -> Mask:
    """A square object as a network might see it: soft at its edges, 96 x 96 logits.

    Args:
        x, y, side: centre and side of the square, as shares of the view.
        roi: the ROI in force.
        score: what the network expects.
    """
    places = (np.arange(96, dtype=np.float32) + 0.5) / 96
    columns = np.abs(roi.x + places * roi.width - x)
    rows = np.abs(roi.y + places * roi.height - y)
    inside = side / 2 - np.maximum(columns[None, :], rows[:, None])
    logits = np.clip(inside / (roi.width / 96) * 2, -8, 8).astype(np.float32)
    return Mask(logits=logits, roi=roi, score=score, size_px=SIZE_PX, prompt=roi)


def a_result(
    index: int = 0,
    *,
    mask: Mask | None = None,
    grants: Collection[str] = (),
    timestamp_ns: int | None = None,
    **changes: Any,
) -> Result:
    """A result with a mask; it is as young as a result is.

    Args:
        index: of the frame.
        mask: :func:`a_mask` if None.
        grants: what else it carries: "pixels", "cutout" or "redacted", and "gaze".
        timestamp_ns: of the frame; 20 ms ago if None.
        changes: other fields of Result.
    """
    mask = mask or a_mask()
    timestamp_ns = time.monotonic_ns() - 20_000_000 if timestamp_ns is None else timestamp_ns
    image_grant = next((grant for grant in ("pixels", "cutout", "redacted") if grant in grants), "")
    gaze = Gaze(0.5, 0.5, timestamp_ns) if "gaze" in grants else None
    fields: dict[str, Any] = {
        "frame": Frame(_picture(mask, image_grant), timestamp_ns, index),
        "mask": mask, "roi": mask.prompt, "timings_ms": {"network": 5.0},
        "ages_ns": {"frame": 20_000_000}, "gaze": gaze, "image_grant": image_grant,
    }  # fmt: skip
    return Result(**{**fields, **changes})


def odd_results(grants: Collection[str] = ()) -> dict[str, Result]:
    """Results that a part meets on a bad day, by what is odd about them."""
    empty = Mask.from_bits(np.zeros((96, 96), bool), _ROI, 0.1, SIZE_PX, _ROI)
    full = Mask.from_bits(np.ones((96, 96), bool), Roi(0, 0, 1, 1), 1.0, SIZE_PX)
    wild = Mask.from_bits(np.indices((96, 96)).sum(0) % 2, _ROI, 0.5, SIZE_PX, _ROI)
    lost = Gaze(float("nan"), float("nan"), 0, confidence=0.0, worn=False)
    return {
        "no prompt": replace(_bare(0, grants), roi=None),
        "prompt without mask": _bare(1, grants),
        "empty mask": a_result(2, mask=empty, grants=grants),
        "whole view, no prompt of its own": a_result(3, mask=full, grants=grants),
        "chessboard": a_result(4, mask=wild, grants=grants),
        "settling": a_result(5, grants=grants, settling=True),
        "region of many letters": a_result(6, grants=grants, region='Ähre "№ 7"\n\\ ' + "x" * 99),
        "gaze lost": a_result(7, grants=grants, gaze=lost),
        "frame of long ago": a_result(8, grants=grants, timestamp_ns=1),
    }


def _bare(index: int, grants: Collection[str]) -> Result:
    return replace(a_result(index, grants=grants), mask=None, ages_ns={}, timings_ms={})


def _picture(mask: Mask, image_grant: str) -> ImageArray | None:
    if not image_grant:
        return None
    image = np.full((mask.size_px[1], mask.size_px[0], 3), 90, np.uint8)
    image[::2] = 70
    return mask.cutout(image) if image_grant == "cutout" else image
