"""Which ROI a mask was computed under: the record of every ROI that was written to the sensor.

The sensor does not say which ROI an inference used, and a written ROI takes some frames to reach
the network. So the frames that were exposed after the write are counted: the first
``settle_frames`` of them may still belong to the ROI before, those after it do not. Frames that
were exposed before the write and arrive after it never count.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from picosam_sdk.types import Box, Roi

__all__ = ["RoiLedger", "RoiWrite"]

_PATIENCE_FRAMES = 30


@dataclass(frozen=True, slots=True)
class RoiWrite:
    """One write.

    Args:
        prompt: what was asked for, as shares of the view.
        box: what was written, in pixels of the sensor.
        written_ns: when the driver had taken it, on the monotonic clock, which is also the
            clock of the frames' time stamps.
        sensor_ns: time stamp of the newest frame at that moment, None before the first.
    """

    prompt: Roi
    box: Box
    written_ns: int
    sensor_ns: int | None


class RoiLedger:
    """The ROI in force, and those before.

    Args:
        settle_frames: frames after a write whose masks may belong to the ROI before.
    """

    def __init__(self, settle_frames: int) -> None:
        self.settle_frames = settle_frames
        self.current: RoiWrite | None = None
        self.writes: deque[RoiWrite] = deque(maxlen=64)
        self._frames_after = 0
        self._answered = False

    def record(self, write: RoiWrite) -> None:
        """A ROI was written."""
        self.current = write
        self.writes.append(write)
        self._frames_after = 0
        self._answered = False

    def reprompt(self, prompt: Roi) -> None:
        """Another prompt leads to the box that is in force already."""
        if self.current is not None:
            now = self.current
            self.current = RoiWrite(prompt, now.box, now.written_ns, now.sensor_ns)

    def clear(self) -> None:
        """There is no prompt any more, or nobody knows which ROI is in force."""
        self.current = None

    def frame(self, timestamp_ns: int, inference: bool) -> bool:
        """Counts a frame; returns whether its outputs belong to the current ROI for sure."""
        if self.current is None or timestamp_ns <= self.current.written_ns:
            return False
        self._frames_after += 1
        settled = self._frames_after > self.settle_frames
        self._answered = self._answered or (settled and inference)
        return settled

    @property
    def busy(self) -> bool:
        """Whether the current ROI has not given a mask yet, and another had better wait."""
        limit = self.settle_frames + _PATIENCE_FRAMES
        return self.current is not None and not self._answered and self._frames_after <= limit
