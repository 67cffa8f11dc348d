"""Help for tests of recordings: making one, and comparing masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from picosam_sdk import Context, Mask, Result
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.recording import Recording

__all__ = ["record", "same"]

CONTEXT = Context(device="desk", session="s1")


def record(folder: Path, results: Iterable[Result], **options: Any) -> Recording:
    publisher = RecordPublisher(RecordConfig(folder, **options), CONTEXT)
    publisher.open()
    for result in results:
        publisher.publish(result)
    publisher.close()
    return Recording(folder)


def same(one: Mask | None, other: Mask | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        np.array_equal(one.logits, other.logits)
        and (one.roi, one.prompt, one.score) == (other.roi, other.prompt, other.score)
        and (one.size_px, one.threshold) == (other.size_px, other.threshold)
    )
