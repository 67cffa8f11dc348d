"""Stand-ins for tests: a backend whose answer can be read off the picture."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import CropRule, HostBackend, ModelCard, hookimpl
from picosam_sdk.types import ImageArray


class RedBackend(HostBackend):
    """Says that red pixels are the object; sure of itself where red is pure."""

    name: ClassVar[str] = "red"

    def __init__(self, padding: float = 0.1, square: bool = False) -> None:
        self.card = ModelCard(
            name="red", network="lite", crop=CropRule(size_px=96, padding=padding, square=square)
        )
        self.batches: list[int] = []
        self.closed = False

    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(len(crops))
        values = crops.astype(np.float32)
        logits = (values[..., 0] - values[..., 1] - 100) / 20
        share = (logits > 0).mean((1, 2))
        return logits, np.where(share > 0, 0.9, 0.1).astype(np.float32)

    def close(self) -> None:
        self.closed = True


class RedPlugin:
    """A plugin that offers it."""

    @staticmethod
    @hookimpl
    def picosam_backends() -> list[type[HostBackend]]:
        return [RedBackend]


def red_scene(width_px: int = 320, height_px: int = 200) -> tuple[ImageArray, NDArray[np.bool_]]:
    """A grey picture with a red, asymmetric L; and where it is."""
    image = np.full((height_px, width_px, 3), 90, np.uint8)
    truth = np.zeros((height_px, width_px), bool)
    truth[60:140, 100:124] = True
    truth[116:140, 100:180] = True
    image[truth] = (255, 20, 20)
    return image, truth
