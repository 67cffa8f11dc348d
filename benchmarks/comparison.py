"""Peers side by side: time for one prompt, and mIoU where weights are real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.path import picture
from benchmarks.peers import Peer, Picosam, find_peers
from benchmarks.timing import race
from picosam_sdk import Roi
from picosam_sdk.evaluation.annotations import read_dataset
from picosam_sdk.evaluation.cases import read_cases, spread
from picosam_sdk.evaluation.metrics import iou
from picosam_sdk.evaluation.protocol import Prediction

__all__ = ["measure_peers"]


def measure_peers(
    models: dict[str, Path],
    folder: Path | None,
    data: Path | None,
    rounds: int,
    objects: int,
) -> dict[str, Any]:
    """Times one prompt on a new picture of 1280 x 720, in turns, on one thread.

    Args:
        folder: of peers' weights, or None.
        data: folder with ``images`` and ``instances.json`` in COCO's format, or None.
        objects: so many objects of it, evenly spread; 0 for all.

    Returns:
        ``rows``: name, weights, parameters, ``picture_ms`` (once a picture), ``prompt_ms`` (each
        prompt), ``ms`` (both), ``times`` (how many times as long as the INT8 network), and
        ``miou`` where it was measured; ``left_out``: what, and why; ``objects``.
    """
    ours: list[Peer] = [Picosam(f"PicoSAM3, {name}", path) for name, path in models.items()]
    others, left_out = find_peers(folder)
    peers = [*ours, *others]
    image, roi = picture(), Roi(0.3, 0.1, 0.25, 0.5)
    prepared: dict[str, Any] = {}

    def prepare(peer: Peer) -> None:
        prepared[peer.name] = peer.prepare(image)

    calls: dict[str, Any] = {}
    for peer in peers:
        calls[f"{peer.name}/picture"] = lambda p=peer: prepare(p)
        calls[f"{peer.name}/prompt"] = lambda p=peer: p.ask(prepared[p.name], roi)
    times = race(calls, rounds, warm_up=1, turn_ms=20)
    rows = []
    for peer in peers:
        picture_ms, prompt_ms = (
            float(np.median(times[f"{peer.name}/{part}"])) for part in ("picture", "prompt")
        )
        rows.append({
            "name": peer.name, "weights": peer.weights, "parameters": peer.parameters,
            "picture_ms": picture_ms, "prompt_ms": prompt_ms, "ms": picture_ms + prompt_ms,
        })  # fmt: skip
    for row in rows:
        row["times"] = row["ms"] / rows[0]["ms"]
    count = 0
    if data is None:
        left_out.append("mIoU: --data names no evaluation set")
    else:
        real = [peer for peer in peers if peer.weights != "random"]
        scores, count = _score(real, data, objects)
        for row in rows:
            if row["name"] in scores:
                row["miou"] = scores[row["name"]]
    return {"rows": rows, "left_out": left_out, "objects": count}


def _score(peers: Sequence[Peer], data: Path, objects: int) -> tuple[dict[str, float], int]:
    """Mean IoU by the paper's protocol: exact boxes, in a frame of 96 x 96 px around each."""
    dataset = read_dataset(data / "instances.json", data / "images")
    chosen = spread(len(dataset.instances), objects or None)
    values: dict[str, list[float]] = {peer.name: [] for peer in peers}
    prepared: dict[str, Any] = {}
    last: Any = None
    for case in read_cases(dataset, chosen):
        if case.image is not last:
            last = case.image
            prepared = {peer.name: peer.prepare(case.image) for peer in peers}
        for peer in peers:
            logits, region, threshold = peer.ask(prepared[peer.name], case.prompt)
            shown = Prediction(logits, region, threshold, 1.0)
            values[peer.name].append(iou(shown.in_frame(case.frame), case.truth))
    return {name: float(np.mean(found)) for name, found in values.items()}, len(chosen)
