"""When to start the camera again, how often, and how long to wait before."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from picosam_sdk.errors import BackendTimeoutError

__all__ = ["Watchdog"]

_HEALTHY_INFERENCES = 1000


@dataclass(slots=True)
class Watchdog:
    """Counts what went wrong lately.

    Args:
        frame_timeout_s: without a frame for so long, the camera is started again.
        inference_frames: frames without a usable inference after which it is; the network is
            then sent again, which a power-off makes necessary.
        restarts: how many attempts there are, until 1000 inferences without trouble show that
            one has helped.
        backoff_s: wait before the first attempt; doubled for each further one.
    """

    frame_timeout_s: float
    inference_frames: int
    restarts: int
    backoff_s: float
    tried: list[str] = field(default_factory=list)
    total: int = 0
    _frame_at: float = field(default_factory=time.monotonic)
    _without: int = 0
    _healthy: int = 0

    def opened(self) -> None:
        """The camera was started."""
        self._frame_at = time.monotonic()
        self._without = self._healthy = 0

    def frame(self, inference: bool) -> None:
        """A frame arrived."""
        self._frame_at = time.monotonic()
        self._without = 0 if inference else self._without + 1
        self._healthy += inference
        if self._healthy >= _HEALTHY_INFERENCES:
            self.tried.clear()

    def trouble(self) -> str:
        """Why the camera should be started again, or ""."""
        silent_s = time.monotonic() - self._frame_at
        if silent_s > self.frame_timeout_s:
            return f"no frame for {silent_s:.1f} s"
        if self._without >= self.inference_frames:
            return f"no inference in {self._without} frames"
        return ""

    def next_attempt(self, reason: str) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            BackendTimeoutError: there were enough attempts.
        """
        if len(self.tried) >= self.restarts:
            history = "; ".join([*self.tried, reason])
            raise BackendTimeoutError(
                f"the camera does not keep running after {self.restarts} restarts, each with the "
                f"network sent again: {history}",
                hint="Check cable and power, see 'dmesg', then open the camera again; "
                "docs/imx500.md lists what to look at.",
            )
        self.tried.append(reason)
        self.total += 1
        return float(self.backoff_s * 2 ** (len(self.tried) - 1))
