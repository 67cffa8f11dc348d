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


def whole_path(rounds: int = 400, **options: Any) -> dict[str, float]:
    """Times ``segment(image, roi)`` and the bare run of the network on the same crop.

    The picture is a bundled photograph enlarged to 1280 x 720. Runs alternate, so that noise
    meets both alike; figures are medians.

    Args:
        rounds: runs of each.
        options: of ``Segmenter``.

    Returns:
        ``network_ms``, ``whole_path_ms`` and their ``ratio``; the whole path also with the mask
        pasted to full size, ``with_paste_ms`` and ``with_paste_ratio``.
    """
    import cv2

    photo = sample_photos()[0]
    image = cv2.resize(load_image(photo.path), (1280, 720), interpolation=cv2.INTER_LINEAR)
    roi = Roi(0.3, 0.1, 0.4, 0.7)
    times: dict[str, list[int]] = {"network": [], "whole": [], "paste": []}
    with Segmenter(**options) as segmenter:
        box = crop_box(roi, 1280, 720, segmenter.card.crop)
        batch = np.ascontiguousarray(crop(image, box, segmenter.card.crop.size_px)[None])
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
        "with_paste_ms": round(paste, 3),
        "with_paste_ratio": round(paste / network, 3),
    }
