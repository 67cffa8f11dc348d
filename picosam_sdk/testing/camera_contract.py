"""What every camera must do; a test class to inherit.

::

    from picosam_sdk.testing.contract import CameraContract

    class TestThermal(CameraContract):
        part = ThermalCamera

        @pytest.fixture
        def options(self):
            return {"device": 0}
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import numpy as np
import pytest

from picosam_sdk.errors import CameraError
from picosam_sdk.interfaces import Camera
from picosam_sdk.testing.part_contract import PartContract
from picosam_sdk.types import Frame

__all__ = ["CameraContract"]


class CameraContract(PartContract):
    """Tests of a camera.

    Attributes:
        length: how many frames it gives with these options; None if it does not end.
    """

    part: ClassVar[type[Camera]]
    length: ClassVar[int | None] = None

    def lose(self, camera: Any) -> None:
        """Takes away what the camera looks at, as by pulling its plug.

        A live camera's test overrides it; then the camera must say that it is lost.
        """
        pytest.skip("this camera cannot lose what it looks at")

    def test_gives_rgb_pictures(self, opened: Camera) -> None:
        for frame in self._read(opened, 2):
            image = frame.image
            assert image is not None
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.size > 0

    def test_frames_are_numbered_and_dated(self, opened: Camera) -> None:
        frames = self._read(opened, 3)
        numbers = [frame.index for frame in frames]
        stamps = [frame.timestamp_ns for frame in frames]
        assert numbers[0] >= 0
        assert numbers == sorted(set(numbers))
        assert stamps == sorted(stamps)
        assert stamps[-1] <= time.monotonic_ns()
        if not self.part.live:
            assert numbers == list(range(len(numbers))), "it is read in order and loses none"

    def test_a_frame_is_fresh(self, opened: Camera) -> None:
        began_ns = time.monotonic_ns()
        self._read(opened, 1)
        frame = self._read(opened, 1)[0]
        assert frame.timestamp_ns >= began_ns - 1e9 * self.wait_s

    def test_a_frame_stays_as_it_was(self, opened: Camera) -> None:
        first = self._read(opened, 1)[0].image
        assert first is not None
        copy = first.copy()
        self._read(opened, 2)
        assert np.array_equal(first, copy)

    def test_ends_if_it_ends(self, opened: Camera) -> None:
        if self.length is None:
            assert len(self._read(opened, 5)) == 5
            return
        count = 0
        while opened.read(self.wait_s) is not None:
            count += 1
            assert count <= self.length
        assert count == self.length
        assert opened.read(self.wait_s) is None

    def test_closed_it_gives_an_error_and_opened_again_frames(self, opened: Camera) -> None:
        self._read(opened, 1)
        opened.close()
        with pytest.raises(CameraError):
            opened.read(self.wait_s)
        opened.open()
        assert self._read(opened, 1)[0].image is not None

    def test_is_read_in_another_thread_than_it_was_opened_in(self, opened: Camera) -> None:
        frames: list[Frame] = []
        thread = threading.Thread(target=lambda: frames.extend(self._read(opened, 1)))
        thread.start()
        thread.join(self.wait_s)
        assert len(frames) == 1

    def test_says_when_it_is_lost(self, opened: Camera) -> None:
        self._read(opened, 1)
        self.lose(opened)
        deadline = time.monotonic() + self.wait_s
        error: CameraError | None = None
        while error is None and time.monotonic() < deadline:
            try:
                opened.read(0.5)
            except CameraError as caught:
                error = caught
        assert error is not None, "it went on as if nothing had happened"
        assert error.hint

    def _read(self, camera: Camera, count: int) -> list[Frame]:
        frames = [camera.read(self.wait_s) for _ in range(min(count, self.length or count))]
        given = [frame for frame in frames if frame is not None]
        assert len(given) == len(frames)
        return given
