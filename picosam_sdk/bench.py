"""What a ROI costs on top of the bare network: both timed in one run, taking turns."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.images import load_image
from picosam_sdk.samples import sample_photos
from picosam_sdk.segmenter import Segmenter
from picosam_sdk.types import Roi

__all__ = ["whole_path"]

ROI_SIZES_PX = {
    "roi_100_px": (100, 100),
    "roi_300_px": (300, 300),
    "roi_600_px": (600, 600),
    "roi_600x150_px": (600, 150),
    "roi_150x600_px": (150, 600),
}
"""Width and height of each ROI."""


def whole_path(rounds: int = 300, **options: Any) -> dict[str, Any]:
    """Times ``segment(image, roi)`` and the bare run of the network on the same crop.

    The picture is a bundled photograph enlarged to 1280 x 720, the ROIs are :data:`ROI_SIZES_PX`.
    Runs take turns, so that noise meets both alike; figures are medians. The message and all else
    that ``make bench`` measures is not in it.

    Args:
        rounds: runs of each, per ROI.
        options: of ``Segmenter``.

    Returns:
        For each ROI, such as "roi_300_px": ``network_ms``, ``whole_path_ms``, their
        ``ratio``, and ``with_paste_ratio``, which counts the mask's pasting to full size too.
    """
    import cv2

    image = cv2.resize(load_image(sample_photos()[0].path), (1280, 720))
    with Segmenter(**options) as segmenter:
        return {
            name: _one_roi(segmenter, image, Roi.from_pixels(340, 60, *size_px, image), rounds)
            for name, size_px in ROI_SIZES_PX.items()
        }


def _one_roi(segmenter: Segmenter, image: Any, roi: Roi, rounds: int) -> dict[str, float]:
    rule = segmenter.card.crop
    box = crop_box(roi, image.shape[1], image.shape[0], rule)
    batch = np.ascontiguousarray(crop(image, box, rule.size_px)[None])
    times: dict[str, list[int]] = {"network": [], "whole": [], "paste": []}
    for number in range(rounds + 20):
        began = time.perf_counter_ns()
        segmenter.backend.infer(batch)
        ran = time.perf_counter_ns()
        mask = segmenter.segment(image, roi)
        segmented = time.perf_counter_ns()
        mask.paste()
        pasted = time.perf_counter_ns()
        if number >= 20:  # the first runs warm the caches
            times["network"].append(ran - began)
            times["whole"].append(segmented - ran)
            times["paste"].append(pasted - ran)
    network, whole, paste = (statistics.median(values) / 1e6 for values in times.values())
    return {
        "network_ms": round(network, 3),
        "whole_path_ms": round(whole, 3),
        "ratio": round(whole / network, 3),
        "with_paste_ratio": round(paste / network, 3),
    }
