"""Measures how many frames a written ROI takes to reach the masks."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.camera import Arrival
from picosam_sdk.backends.imx500.outputs import Outputs, input_tensor
from picosam_sdk.errors import BackendError, BackendTimeoutError
from picosam_sdk.types import Roi

__all__ = ["SettleReport", "calibrate_settle"]

LEFT, RIGHT = Roi(0.05, 0.3, 0.35, 0.4), Roi(0.6, 0.3, 0.35, 0.4)
_MIN_CONTRAST = 3.0


@dataclass(frozen=True, slots=True)
class SettleReport:
    """What was measured.

    Args:
        delays: for each change of the ROI, frames exposed after it whose mask was still the
            old ROI's.
        watched: "input tensor" or "mask".
        contrast: how much the two ROIs differ, in units of the noise between frames.
    """

    delays: tuple[int, ...]
    watched: str
    contrast: float

    @property
    def settle_frames(self) -> int:
        """What to give as ``settle_frames``: the longest delay and one frame to spare."""
        return max(self.delays) + 1

    def as_json(self) -> dict[str, Any]:
        return {
            "delays": list(self.delays),
            "settle_frames": self.settle_frames,
            "watched": self.watched,
            "contrast": round(self.contrast, 1),
        }


def calibrate_settle(
    backend: Imx500Backend,
    rois: tuple[Roi, Roi] = (LEFT, RIGHT),
    *,
    changes: int = 12,
    frames: int = 30,
    timeout_s: float = 10.0,
) -> SettleReport:
    """Flashes between two ROIs and watches when what the network sees, or its mask, follows.

    The camera must stand still and see different things in the two ROIs.

    Args:
        backend: an open sensor; with ``input_tensor=True`` its input is watched, which is
            surer than the mask.
        rois: the two, as shares of the view.
        changes: how often to change.
        frames: frames that are watched after each change; more than any delay.
        timeout_s: for each change.

    Raises:
        BackendError: the two ROIs cannot be told apart, or a delay is as long as ``frames``.
        BackendTimeoutError: the sensor gave no inferences.
    """
    arrivals: queue.SimpleQueue[tuple[int, NDArray[np.float32] | None, bool]] = queue.SimpleQueue()
    size = backend.card.crop.size_px

    def observe(arrival: Arrival, outputs: Outputs | None) -> None:
        seen = input_tensor(arrival.metadata, size)
        values = seen if seen is not None else outputs.logits if outputs is not None else None
        values = None if values is None else np.asarray(values, np.float32)
        arrivals.put((arrival.timestamp_ns, values, seen is not None))

    def watch(roi: Roi) -> list[NDArray[np.float32] | None]:
        """What the frames show that were exposed after this ROI was written, in order."""
        deadline = time.monotonic() + timeout_s
        backend.aim(None)
        backend.aim(roi)
        written_ns = backend.writes()[-1].written_ns
        shown: list[NDArray[np.float32] | None] = []
        while len(shown) < frames:
            try:
                timestamp_ns, values, _ = arrivals.get(
                    timeout=max(0.0, deadline - time.monotonic())
                )
            except queue.Empty:
                raise BackendTimeoutError(
                    f"expected {frames} frames within {timeout_s:g} s, got {len(shown)}",
                    hint="Allow more time, or look at the backend's stats.",
                ) from None
            if timestamp_ns > written_ns:
                shown.append(values)
        return shown

    backend.observer = observe
    try:
        ends = [watch(roi) for roi in rois]
        references = [_last(end) for end in ends]
        noise = max(_distance(_last(end[:-2]), _last(end)) for end in ends)
        contrast = _distance(*references) / max(noise, 1e-3)
        if contrast < _MIN_CONTRAST:
            raise BackendError(
                f"expected two ROIs that look different, got a contrast of {contrast:.1f} times "
                "the noise",
                hint="Fix the camera, and put different things into the view's left and right.",
            )
        delays = []
        for change in range(changes):
            new, old = references[change % 2], references[1 - change % 2]
            delays.append(_delay(watch(rois[change % 2]), new, old))
    finally:
        backend.observer = None
    if max(delays) >= frames - 1:
        raise BackendError(
            f"expected the ROI to take effect within {frames} frames, but it did not",
            hint="See whether the ROI is written at all: look at the backend's stats.",
        )
    watched = "input tensor" if references[0].ndim == 3 else "mask"
    return SettleReport(tuple(delays), watched, contrast)


def _delay(
    shown: list[NDArray[np.float32] | None],
    new: NDArray[np.float32],
    old: NDArray[np.float32],
) -> int:
    """How many of the frames pass until the last one that still shows the old ROI."""
    still_old = [
        index
        for index, values in enumerate(shown, 1)
        if values is not None and _distance(values, old) < _distance(values, new)
    ]
    return max(still_old, default=0)


def _last(shown: list[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    for values in reversed(shown):
        if values is not None:
            return values
    raise BackendTimeoutError(
        f"expected inferences, got {len(shown)} frames without any",
        hint="Look at the backend's stats for what is odd about its outputs.",
    )


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).mean())
