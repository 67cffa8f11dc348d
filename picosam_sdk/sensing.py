"""Prompting a sensor: the first mask under a ROI, and a result for each of many."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator

from picosam_sdk.errors import BackendTimeoutError
from picosam_sdk.interfaces import SensorBackend
from picosam_sdk.mask import Mask, Result
from picosam_sdk.types import Roi

__all__ = ["first_result", "results"]


def first_result(backend: SensorBackend, roi: Roi, timeout_s: float) -> tuple[Mask, Result]:
    """Aims, and waits for the first mask that was surely computed under this ROI.

    Raises:
        BackendTimeoutError: none came in time.
        InputError, RoiRejectedError, BackendError: see :class:`SensorBackend`.
    """
    deadline = time.monotonic() + timeout_s
    backend.aim(roi)
    while (remaining := deadline - time.monotonic()) > 0:
        result = backend.read(remaining)
        mask = result.mask
        if mask is not None and not result.settling and mask.prompt == roi:
            return mask, result
    raise BackendTimeoutError(
        f"expected a mask under {roi} within {timeout_s:g} s, got none",
        hint="Allow more time, or look at segmenter.backend.stats.",
    )


def results(
    backend: SensorBackend, rois: Roi | Iterable[Roi | None], timeout_s: float
) -> Iterator[Result]:
    """One result for each ROI, in order; a ROI alone is repeated for ever.

    None, or a ROI outside the view, is no prompt: its result has no mask.
    """
    for roi in itertools.repeat(rois) if isinstance(rois, Roi) else rois:
        backend.aim(roi if roi is not None and roi.overlaps_view() else None)
        try:
            result = backend.read(timeout_s)
        except EOFError:  # a recording is at its end
            return
        yield result
