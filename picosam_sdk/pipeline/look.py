"""One look through the camera or sensor: what the two ways of looking have in common."""

from __future__ import annotations

import gc
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from picosam_sdk.egress import forget_frames
from picosam_sdk.mask import Mask
from picosam_sdk.retrying import Backoff
from picosam_sdk.stats import PartStats
from picosam_sdk.types import Frame, Prompt, Roi

__all__ = ["Ask", "Ended", "Eye", "Look", "Watch", "recover"]

_log = logging.getLogger(__name__)

_OPENING_S = 330.0
"""How long opening a camera may take: a sensor's network is uploaded within 300 s."""

Ask = Callable[[], "Prompt | None"]
"""Asks the chain of ROI sources."""


class Ended(Exception):  # noqa: N818 - it is no error
    """There are no more frames, or the loop was asked to stop."""


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one frame.

    Args:
        frame: as the camera or sensor gave it.
        mask: None if there was no prompt.
        roi: the ROI that was asked for; of a point, the box of the object that was found there.
        prompt: the prompt that the mask answers.
        timings_ms: how long each step took.
        ages_ns: what the sensor itself says of ages.
        settling: as in :class:`picosam_sdk.mask.Result`.
    """

    frame: Frame
    mask: Mask | None = None
    roi: Roi | None = None
    prompt: Prompt | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    ages_ns: Mapping[str, int] = field(default_factory=dict)
    settling: bool = False


class Watch:
    """Between the loop and who watches it: that it is to stop, and by when it must show life.

    Args:
        wait: waits for so many seconds, or until the loop is to stop, which is what it returns.
        expect: told within how many seconds the loop will show life again.
    """

    def __init__(self, wait: Callable[[float], bool], expect: Callable[[float], None]) -> None:
        self.wait, self.expect = wait, expect


class Eye(ABC):
    """Where frames and masks come from. Used by the loop's thread."""

    @abstractmethod
    def open(self) -> None:
        """Opens camera and backend for the first time.

        Raises:
            PicoSamError: one of them cannot be opened.
        """

    @abstractmethod
    def look(self, ask: Ask) -> Look | None:
        """Asks for a prompt, and looks; None if nothing came this time.

        Camera and backend are opened again here when they fail; it waits for that.

        Raises:
            Ended: see there.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes both; may be called more than once."""


def recover(
    what: str,
    error: Exception,
    close: Callable[[], None],
    open_again: Callable[[], None],
    stats: PartStats,
    backoff: Backoff,
    watch: Watch,
) -> None:
    """Closes what failed and opens it again, as often as it takes, with pauses that grow.

    Raises:
        Ended: the loop is to stop.
    """
    forget_frames(error)  # which hold what failed: it shall be gone before the next one opens
    stats.error(error)
    if stats.state != "lost":
        _log.warning("the %s failed and is opened again: %s", what, stats.last_error)
    stats.state = "lost"
    while True:
        try:
            close()
        except Exception as failure:  # a plugin's own code
            forget_frames(failure)
            stats.error(failure)
        pause_s = backoff.pause_s()
        watch.expect(pause_s + _OPENING_S)
        if watch.wait(pause_s):
            raise Ended
        gc.collect()  # cameras are full of cycles, which would keep their buffers for a while
        try:
            open_again()
        except Exception as failure:
            stats.error(failure)
            continue
        stats.count("restarts")
        return
