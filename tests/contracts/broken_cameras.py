"""Cameras that are each wrong in one way, and the test of the contract that must notice it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from picosam_sdk import Camera, CameraError, Frame
from picosam_sdk.testing.contract import CameraContract


class GoodCamera(Camera):
    name = "good"
    live = True
    frames = 0
    is_open = False
    lost = False

    def open(self) -> None:
        self.frames, self.is_open, self.lost = 0, True, False

    def read(self, timeout_s: float) -> Frame | None:
        if not self.is_open or self.lost:
            raise CameraError("gone", hint="Plug it in.")
        self.frames += 1
        return Frame(self.picture(), time.monotonic_ns(), self.frames - 1)

    def picture(self) -> Any:
        return np.full((4, 6, 3), self.frames % 256, np.uint8)

    def close(self) -> None:
        self.is_open = False


class CameraCase(CameraContract):
    part = GoodCamera

    def lose(self, camera: Any) -> None:
        camera.lost = True


class BrokenGray(CameraCase):
    fails = "test_gives_rgb_pictures"

    class part(GoodCamera):  # noqa: N801
        def picture(self) -> Any:
            return np.zeros((4, 6), np.uint8)


class BrokenNumbers(CameraCase):
    fails = "test_frames_are_numbered_and_dated"

    class part(GoodCamera):  # noqa: N801
        def read(self, timeout_s: float) -> Frame | None:
            return Frame(self.picture(), time.monotonic_ns(), 0)


class BrokenWallClock(CameraCase):
    fails = "test_a_frame_is_fresh"

    class part(GoodCamera):  # noqa: N801
        def read(self, timeout_s: float) -> Frame | None:
            self.frames += 1
            return Frame(self.picture(), self.frames, self.frames)


class BrokenBuffer(CameraCase):
    fails = "test_a_frame_stays_as_it_was"

    class part(GoodCamera):  # noqa: N801
        buffer = np.zeros((4, 6, 3), np.uint8)

        def picture(self) -> Any:
            self.buffer[:] = self.frames % 256
            return self.buffer


class BrokenEnd(CameraCase):
    fails = "test_ends_if_it_ends"
    length = 3


class BrokenAfterClose(CameraCase):
    fails = "test_closed_it_gives_an_error_and_opened_again_frames"

    class part(GoodCamera):  # noqa: N801
        def close(self) -> None:
            pass


class BrokenThread(CameraCase):
    fails = "test_is_read_in_another_thread_than_it_was_opened_in"
    wait_s = 1.0

    class part(GoodCamera):  # noqa: N801
        def open(self) -> None:
            super().open()
            self.owner = threading.get_ident()

        def read(self, timeout_s: float) -> Frame | None:
            if threading.get_ident() != self.owner:
                return None
            return super().read(timeout_s)


class BrokenLoss(CameraCase):
    fails = "test_says_when_it_is_lost"
    wait_s = 0.2

    def lose(self, camera: Any) -> None:
        """It shows its last picture for ever."""


@dataclass
class _Thawed:
    key: int = 0


class BrokenConfig(CameraCase):
    fails = "test_has_a_name_and_a_frozen_configuration"

    class part(GoodCamera):  # noqa: N801
        Config = _Thawed


@dataclass(frozen=True)
class _Lax:
    no_such_key: int = 0


class BrokenKeys(CameraCase):
    fails = "test_an_unknown_key_is_refused"

    class part(GoodCamera):  # noqa: N801
        Config = _Lax


class BrokenConstructor(CameraCase):
    fails = "test_constructing_opens_nothing"

    class part(GoodCamera):  # noqa: N801
        def __init__(self, config: Any, context: Any) -> None:
            super().__init__(config, context)
            self.stop = threading.Event()
            threading.Thread(target=self.stop.wait, args=(60,), daemon=True).start()

        def close(self) -> None:
            super().close()
            self.stop.set()


class BrokenClose(CameraCase):
    fails = "test_may_be_closed_unopened_and_more_than_once"

    class part(GoodCamera):  # noqa: N801
        def close(self) -> None:
            super().close()
            assert self.frames >= 0
            del self.frames


class BrokenTidiness(CameraCase):
    fails = "test_leaves_neither_thread_nor_file_behind"
    wait_s = 0.2

    class part(GoodCamera):  # noqa: N801
        def open(self) -> None:
            super().open()
            threading.Thread(target=time.sleep, args=(3,), daemon=True).start()


class BrokenStats(CameraCase):
    fails = "test_its_numbers_fit_into_json"

    class part(GoodCamera):  # noqa: N801
        @property
        def stats(self) -> Any:
            return {"shape": np.int64(3)} if self.is_open else {}
