"""The contract of backends, over the CPU, the emulated sensor and, with --hardware, a real one.

On a Raspberry Pi with an AI Camera: ``python -m pytest tests/test_contract.py --hardware
network.rpk``.
"""

from __future__ import annotations

import pytest

from picosam_sdk import Segmenter
from picosam_sdk.testing.contract import BackendContract


class TestOnnx(BackendContract):
    placement_px = 1.0

    def open(self) -> Segmenter:
        return Segmenter("onnx")


class TestEmulatedSensor(BackendContract):
    def open(self) -> Segmenter:
        return Segmenter("imx500-emulated", fps=None, upload_s=0.0, settle_frames=2)


@pytest.mark.hardware
class TestSensor(BackendContract):
    network = ""

    @pytest.fixture(autouse=True)
    def _network(self, request: pytest.FixtureRequest) -> None:
        type(self).network = request.config.getoption("--hardware")

    def open(self) -> Segmenter:
        return Segmenter("imx500", model=self.network)
