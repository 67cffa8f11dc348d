"""The results of a recording, without pictures and without a network."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.errors import (
    BackendError,
    BackendTimeoutError,
    CameraError,
    InputError,
    UnavailableError,
)
from picosam_sdk.interfaces import SensorBackend
from picosam_sdk.mask import Result
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.pacing import Pacer
from picosam_sdk.recording import Recording
from picosam_sdk.types import CropRule, Roi

__all__ = ["ReplayBackend"]


class ReplayBackend(SensorBackend):
    """Gives the recorded masks again, each under the ROI that it was computed under.

    Where it is aimed changes nothing: what was recorded was looked at then. With the ROI source
    "replay" prompts and masks belong together again.

    Args:
        path: folder of the recording.
        realtime: results come as they were recorded; else as fast as they are read.
        loop: begins again at the end.

    Raises:
        UnavailableError: there is no recording there, or it is empty.
    """

    name: ClassVar[str] = "replay"

    def __init__(self, path: str | Path, realtime: bool = True, loop: bool = False) -> None:
        try:
            recording = Recording(Path(path))
        except InputError as error:
            raise UnavailableError(str(error), hint=error.hint) from error
        if not recording.entries:
            raise UnavailableError(
                f"expected results in the recording {path}, got none", hint="Record again."
            )
        self._recording, self._realtime, self._loop = recording, realtime, loop
        self.card = ModelCard(name="replay", network="replay", crop=CropRule())
        self._next = self._round = self._unreadable = 0
        self._pacer = Pacer(0)
        self._closed = False

    def aim(self, roi: Roi | None) -> None:
        self._check_open()
        if roi is not None and not roi.overlaps_view():
            roi.to_pixels(1, 1)  # raises

    def read(self, timeout_s: float) -> Result:
        """The next recorded result.

        Raises:
            EOFError: there are no more.
            BackendTimeoutError, BackendError: see :class:`SensorBackend`.
        """
        self._check_open()
        entries = self._recording.entries
        while True:
            if self._next == len(entries):
                if not self._loop or self._unreadable >= len(entries):
                    raise EOFError("the recording is at its end")
                self._next, self._round = 0, self._round + 1
            entry = entries[self._next]
            self._wait(timeout_s)
            self._next += 1
            try:
                result = self._recording.result(entry, time.monotonic_ns())
            except InputError:
                self._unreadable += 1
                continue
            return _again(result, entry.number + self._round * len(entries))

    def close(self) -> None:
        self._closed = True
        self._pacer.close()

    @property
    def stats(self) -> dict[str, Any]:
        return {"results": len(self._recording.entries), "damaged": self._recording.damaged,
                "unreadable": self._unreadable}  # fmt: skip

    def info(self) -> dict[str, Any]:
        return {"recording": str(self._recording.folder), **self._recording.meta}

    def _wait(self, timeout_s: float) -> None:
        """Waits until the next result is due."""
        if not self._realtime:
            return
        entries, number = self._recording.entries, self._next
        passed_ns = entries[number].t_ns - entries[number - 1].t_ns if number else 0
        try:
            self._pacer.wait(timeout_s, max(0, passed_ns) / 1e9)
        except CameraError as error:
            self._check_open()
            raise BackendTimeoutError(str(error), hint=error.hint) from error

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("expected an open backend, got a closed one",
                               hint="Make a new one.")  # fmt: skip


def _again(result: Result, index: int) -> Result:
    """The result as this sensor gives it: with a number of its own, and ages of now."""
    ages_ns = {"frame": max(0, time.monotonic_ns() - result.frame.timestamp_ns)}
    if "roi_write" in result.ages_ns:
        ages_ns["roi"] = result.ages_ns["roi_write"]
    return replace(result, frame=replace(result.frame, index=index), ages_ns=ages_ns)
