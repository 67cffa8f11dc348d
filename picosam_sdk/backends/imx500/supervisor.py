"""Keeps a camera session running: opens it, and opens it again as the watchdog allows."""

from __future__ import annotations

import time
from collections.abc import Callable

from picosam_sdk.backends.imx500.camera import Arrival, CameraOptions, CameraSession
from picosam_sdk.backends.imx500.watchdog import Watchdog
from picosam_sdk.errors import BackendError, BackendTimeoutError, ModelError, UnavailableError

__all__ = ["Supervisor"]


class Supervisor:
    """Owner of the session.

    Args:
        options: what to open.
        watchdog: when to stop trying.
        arrived: called for each frame of the session that is in use.
    """

    def __init__(
        self,
        options: CameraOptions,
        watchdog: Watchdog,
        arrived: Callable[[CameraSession, Arrival], None],
    ) -> None:
        self.session: CameraSession | None = None
        self.state = "opening"
        """opening, streaming, restarting, failed or closed."""
        self._options, self._watchdog, self._arrived = options, watchdog, arrived

    def open(self, trouble: str = "") -> None:
        """Opens the camera, in as many attempts as the watchdog allows.

        Args:
            trouble: what is wrong with the session that is open; "" for the first opening.

        Raises:
            UnavailableError, ModelError: trying again would not help.
            BackendTimeoutError: it did not help.
        """
        try:
            while True:
                if trouble:
                    self._pause(trouble)
                try:
                    self._open_once()
                    return
                except BackendError as error:
                    # A camera that was there may come back; one that never was will not.
                    if isinstance(error, UnavailableError) and not trouble:
                        raise
                    trouble = str(error)
        except (BackendTimeoutError, UnavailableError, ModelError):
            self.state = "failed"
            raise

    def close(self) -> None:
        self.state = "closed"
        self._drop()
        self._arrived = _ignore  # or owner and supervisor would hold each other until a collection

    def _pause(self, trouble: str) -> None:
        """Closes what is open and waits; raises if there were enough attempts."""
        self.state = "restarting"
        left = self._drop()
        time.sleep(self._watchdog.next_attempt(trouble + (f" ({left})" if left else "")))

    def _open_once(self) -> None:
        session = CameraSession(self._options, self._pass)
        self.session = session
        try:
            session.open()
        except BaseException:
            self._drop()
            raise
        self.state = "streaming"
        self._watchdog.opened()

    def _pass(self, session: CameraSession, arrival: Arrival) -> None:
        if session is self.session:
            self._arrived(session, arrival)

    def _drop(self) -> str:
        session, self.session = self.session, None
        return session.close() if session is not None else ""


def _ignore(_session: CameraSession, _arrival: Arrival) -> None:
    """For a frame that comes while the camera is being closed."""
