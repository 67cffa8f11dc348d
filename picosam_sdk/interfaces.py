"""What a plugin implements: abstract base classes, one a role."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.modelcard import ModelCard
from picosam_sdk.types import ImageArray

__all__ = ["Backend", "HostBackend"]


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
