"""How cost grows: with the number of ROIs, the size of the picture, the number of publishers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.path import picture
from benchmarks.pipelines import configuration, measured_run, rates
from benchmarks.timing import race, summary
from picosam_sdk import Roi, Segmenter

__all__ = ["measure_scaling"]

_COUNTS = (1, 2, 4, 8, 16)
_SIZES = {
    "640 x 480": (640, 480), "1280 x 720": (1280, 720),
    "1920 x 1080": (1920, 1080), "3840 x 2160": (3840, 2160),
}  # fmt: skip
_ROI = '[[roi]]\nkind = "fixed"\nbox = [0.3, 0.2, 0.4, 0.6]\n'


def measure_scaling(rounds: int, seconds: float) -> dict[str, Any]:
    """Measures all three.

    Args:
        rounds: of the first two.
        seconds: for each pipeline of the third, at 30 frames a second.

    Returns:
        ``rois``: ``count``, ``ms`` for all, ``each_ms``; ``sizes``: ``size``, ``ms`` for a ROI
        that covers a third of the width, and for 300 px; ``publishers``: ``count``, ``cpu``
        (cores), ``fps``, ``rss_mb``, each writing JSON lines.
    """
    image = picture()
    with Segmenter() as segmenter:
        many = {
            str(count): lambda c=count: segmenter.segment_many(
                image, [Roi.from_pixels(340 + 7 * n, 60 + n, 300, 300, image) for n in range(c)]
            )
            for count in _COUNTS
        }
        rois = [
            {"count": int(name), **summary(values), "each_ms": summary(values)["ms"] / int(name)}
            for name, values in race(many, rounds, turn_ms=10).items()
        ]
        sized: dict[str, Any] = {}
        for name, size_px in _SIZES.items():
            view = picture(size_px)
            share = Roi(1 / 3, 0.1, 1 / 3, 0.7)
            fixed = Roi.from_pixels(100, 60, 300, 300, view)
            sized[f"{name}/share"] = lambda v=view, r=share: segmenter.segment(v, r)
            sized[f"{name}/fixed"] = lambda v=view, r=fixed: segmenter.segment(v, r)
        times = race(sized, rounds, turn_ms=10)
    sizes = [
        {"size": name, "third_ms": summary(times[f"{name}/share"])["ms"],
         "fixed_ms": summary(times[f"{name}/fixed"])["ms"]}
        for name in _SIZES
    ]  # fmt: skip
    return {"rois": rois, "sizes": sizes, "publishers": _publishers(seconds)}


def _publishers(seconds: float) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="picosam-bench") as name:
        folder = Path(name)
        for count in range(5):
            publishers = "".join(
                f'[[publish]]\nkind = "jsonl"\npath = "{folder / f"{count}-{number}.jsonl"}"\n'
                for number in range(count)
            )
            config = configuration(folder, _ROI, fps=30, publishers=publishers)
            rows.append({"count": count, **rates(measured_run(config, seconds))})
    return rows
