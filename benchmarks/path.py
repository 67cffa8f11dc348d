"""What a ROI costs: the whole path and its stages against the bare network."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from picosam_sdk import Frame, Roi, Segmenter, load_image
from picosam_sdk.geometry import crop, crop_box
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.samples import sample_photos

__all__ = ["STAGES", "measure_path", "picture"]

STAGES = ("crop", "network", "mask", "encode", "paste")
"""Cutting out and resizing; the run, which normalises inside its graph; checking and wrapping;
the message as JSON with its RLE; the mask at the picture's size."""

SIDE_PX = 300
SIDES_PX = (100, 300, 600)
BATCHES = (1, 4, 16)

_REPEATS = 4
"""A turn's first is not counted: it finds the caches as another network has left them."""


def picture(size_px: tuple[int, int] = (1280, 720)) -> Any:
    """A bundled photograph, enlarged: uint8 (H, W, 3)."""
    return cv2.resize(load_image(sample_photos()[0].path), size_px)


def measure_path(models: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Times all stages for each network, number of threads, batch, and size of the ROI, in turns.

    Returns:
        ``rows``: network, threads, batch, side_px, ``bare_ms`` (the network alone), a
        figure for each of :data:`STAGES`, ``whole_ms`` (all of them), all per ROI, and ratios to
        the bare network: ``segment_ratio`` (what ``segment`` does), ``encode_ratio`` (with the
        message), ``whole_ratio``; ``whole_best_ratio`` is that of the fastest runs.
    """
    image = picture()
    threads = [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]
    rows = []
    for count in threads:  # apart: idle threads of a network wait busily for a while
        cases = [(name, batch, SIDE_PX) for name in models for batch in BATCHES]
        if count == 1:
            cases += [(name, 1, side) for name in models for side in SIDES_PX if side != SIDE_PX]
        runs = [_Run(models[name], count, batch, side, image) for name, batch, side in cases]
        for number in range(rounds + 2):
            for run in runs:
                for repeat in range(_REPEATS):
                    run.turn(keep=number >= 2 and repeat > 0)  # the first ones warm the caches
        for (name, batch, side), run in zip(cases, runs, strict=True):
            head = {"network": name, "threads": count, "batch": batch, "side_px": side}
            rows.append({**head, **run.row()})
            run.segmenter.close()
    return {"rows": rows}


class _Run:
    """One network with one number of threads on one number of ROIs."""

    def __init__(self, model: Path, threads: int, batch: int, side_px: int, image: Any) -> None:
        self.segmenter = Segmenter(model=model, threads=threads)
        self._image, self._batch = image, batch
        self._frame = Frame(image, time.monotonic_ns(), 0)
        self._rois = [
            Roi.from_pixels(340 + 7 * number, 60 + number, side_px, side_px, image)
            for number in range(batch)
        ]
        rule = self.segmenter.card.crop
        boxes = [crop_box(roi, image.shape[1], image.shape[0], rule) for roi in self._rois]
        self._crops = np.stack([crop(image, box, rule.size_px) for box in boxes])
        self._times: dict[str, list[float]] = defaultdict(list)

    def turn(self, keep: bool) -> None:
        """The bare network, then the whole path."""
        now = time.perf_counter_ns
        began = now()
        self.segmenter.backend.infer(self._crops)
        ran = now()
        if self._batch == 1:
            masks = [self.segmenter.segment(self._image, self._rois[0])]
        else:
            masks = self.segmenter.segment_many(self._image, self._rois)
        segmented = now()
        for seq, (mask, roi) in enumerate(zip(masks, self._rois, strict=True)):
            result = Result(frame=self._frame, mask=mask, roi=roi)
            message = encode_result(result, device="bench", session="0", seq=seq)
            json.dumps(message, separators=(",", ":"))
        encoded = now()
        for mask in masks:
            mask.paste()
        pasted = now()
        if not keep:
            return
        inner = self.segmenter.timings_ms
        for name in ("crop", "network"):
            self._times[name].append(inner[name] / self._batch)
        rest_ms = (segmented - ran) / 1e6 - inner["crop"] - inner["network"]
        for name, value_ms in (("bare", (ran - began) / 1e6), ("mask", rest_ms),
                               ("segment", (segmented - ran) / 1e6),
                               ("encode", (encoded - segmented) / 1e6),
                               ("paste", (pasted - encoded) / 1e6),
                               ("whole", (pasted - ran) / 1e6)):  # fmt: skip
            self._times[name].append(value_ms / self._batch)

    def row(self) -> dict[str, float]:
        """Medians; of the ratios, too, each of one turn's neighbours, so that noise cancels."""
        times = {name: np.array(values) for name, values in self._times.items()}
        bare = times["bare"]
        encoded = times["segment"] + times["encode"]
        found = {f"{name}_ms": np.median(times[name]) for name in ("bare", *STAGES, "whole")}
        ratios = {"segment": times["segment"], "encode": encoded, "whole": times["whole"]}
        found |= {f"{name}_ratio": np.median(values / bare) for name, values in ratios.items()}
        found["bare_best_ms"] = bare.min()
        found["whole_best_ratio"] = times["whole"].min() / bare.min()
        return {name: float(value) for name, value in found.items()}
