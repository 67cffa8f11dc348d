"""Trying again: the pauses between attempts, and which errors no attempt will mend."""

from __future__ import annotations

from picosam_sdk.errors import (
    BackendError,
    CameraError,
    PicoSamError,
    PublishError,
    UnavailableError,
)

__all__ = ["Backoff", "is_permanent"]


class Backoff:
    """The pauses between attempts at something that fails, each twice as long as the one before.

    Args:
        first_s: the first pause.
        max_s: the longest.
    """

    def __init__(self, first_s: float = 0.5, max_s: float = 30.0) -> None:
        self._first_s, self._max_s = first_s, max_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """How long to wait now; the next time it is twice as long."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._max_s)
        return pause_s

    def reset(self) -> None:
        """It works again: the next pause is the first."""
        self._next_s = self._first_s


def is_permanent(error: BaseException) -> bool:
    """Whether an error in opening a part is the user's to mend, such as a missing package.

    A broker or camera that is not there may come; a wrong key stays wrong.
    """
    if isinstance(error, (PublishError, CameraError)):
        return False
    if isinstance(error, BackendError):
        return isinstance(error, UnavailableError)
    return isinstance(error, (PicoSamError, ImportError))
