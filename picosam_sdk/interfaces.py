"""What a plugin implements: abstract base classes, one a role."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.mask import Result
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.types import ImageArray, Roi

__all__ = ["Backend", "HostBackend", "SensorBackend"]


class Backend(ABC):
    """Something that runs the network. Its constructor takes the options of ``Segmenter``."""

    name: ClassVar[str]
    """What the user writes in ``Segmenter(backend=...)``."""

    card: ModelCard
    """The card of the model that it runs."""

    @classmethod
    def unavailable(cls) -> str:
        """Why this backend cannot run on this machine, or "" if it can. Must be cheap."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds. May be called more than once."""

    def info(self) -> dict[str, Any]:
        """Facts for ``picosam doctor``."""
        return {}


class HostBackend(Backend):
    """A backend that is handed crops by the host."""

    @abstractmethod
    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Runs the network on a batch.

        Args:
            crops: RGB, uint8 (N, S, S, 3), S being ``card.crop.size_px``; N at least 1.

        Returns:
            Logits float32 (N, S, S), and the predicted IoU of each mask, float32 (N,), 0 to 1.
            Both stay valid until the next call.

        Raises:
            InputError: the batch has another shape or dtype.
            BackendError: the run failed.
        """


class SensorBackend(Backend):
    """A backend that is the camera: it is told where to look, and its masks are read."""

    @abstractmethod
    def aim(self, roi: Roi | None) -> None:
        """Prompts the sensor.

        The ROI may take effect some frames later; every mask says which ROI it was computed
        under. If an earlier ROI has not given a mask yet, the new one waits for that; of several
        that wait, the newest counts.

        Args:
            roi: as shares of the sensor's view; None for no prompt, which gives no masks.

        Raises:
            InputError: the ROI lies wholly outside the view; from then on there is no prompt.
            RoiRejectedError: the sensor did not take it; from then on there is no prompt.
            BackendError: the backend is closed.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> Result:
        """The next result; each is given once, and one that nobody read yields to a newer one.

        Its mask is None where there was no prompt.

        Raises:
            BackendTimeoutError: none came in time, or the sensor could not be revived.
            RoiRejectedError: a ROI that waited was not taken.
            BackendError: the backend is closed.
        """

    @property
    def stats(self) -> dict[str, Any]:
        """Counts and states since it was opened."""
        return {}
