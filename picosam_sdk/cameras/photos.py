"""A folder of photographs as a camera."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.config import check
from picosam_sdk.errors import CameraError, InputError
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import Camera, Context
from picosam_sdk.pacing import Pacer
from picosam_sdk.samples import sample_photos
from picosam_sdk.types import Frame, ImageArray

__all__ = ["PhotosCamera", "PhotosConfig"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PhotosConfig:
    """``kind = "photos"``.

    Args:
        path: a folder of JPEG, PNG and WebP files, shown in the order of their names, or one such
            file; None shows the photographs that come with the SDK.
        repeat: frames that each is shown for.
        fps: frames a second; 0 for as fast as they are read.
        loop: begins again at the end.
    """

    path: Path | None = None
    repeat: int = 1
    fps: float = 0.0
    loop: bool = False

    def __post_init__(self) -> None:
        check(self.repeat >= 1, "repeat", "a number of frames of at least 1", self.repeat)
        check(0 <= self.fps <= 1000, "fps", "a rate from 0 to 1000", self.fps)


class PhotosCamera(Camera):
    """Shows one photograph after the other; one that cannot be read is left out and counted."""

    name: ClassVar[str] = "photos"
    Config: ClassVar[type] = PhotosConfig
    live: ClassVar[bool] = False

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._pacer = Pacer(0)
        self._paths: list[Path] = []
        self._next = 0
        self._shown: ImageArray | None = None
        self._left = 0
        self._index = 0
        self._unreadable = 0

    def open(self) -> None:
        self._paths = _photos(self.config.path)
        self._pacer = Pacer(self.config.fps)
        self._next = self._left = self._index = self._unreadable = 0
        self._shown = None

    def read(self, timeout_s: float) -> Frame | None:
        if not self._paths:
            raise CameraError("expected an open camera, got a closed one", hint="Call open().")
        if self._left == 0 and not self._load():
            return None
        self._pacer.wait(timeout_s)
        self._left -= 1
        frame = Frame(self._shown, time.monotonic_ns(), self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        self._pacer.close()
        self._paths = []
        self._shown = None

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"photos": len(self._paths), "unreadable": self._unreadable}

    def _load(self) -> bool:
        """Turns to the next photograph that can be read; False at the end."""
        failed_in_a_row = 0
        while True:
            if self._next == len(self._paths):
                if not self.config.loop:
                    return False
                self._next = 0
            path = self._paths[self._next]
            self._next += 1
            try:
                self._shown = load_image(path)
            except InputError as error:
                self._unreadable += 1
                failed_in_a_row += 1
                _LOG.warning("left out: %s", error)
                if failed_in_a_row >= len(self._paths):
                    raise CameraError(
                        f"expected photographs that can be read, got none of "
                        f"{len(self._paths)}; the last: {error}",
                        hint="Check the files of that folder.",
                    ) from error
                continue
            self._left = self.config.repeat
            return True


def _photos(path: Path | None) -> list[Path]:
    if path is None:
        return [photo.path for photo in sample_photos()]
    if path.is_file():
        return [path]
    try:
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
    except OSError as error:
        raise CameraError(
            f"expected a folder of photographs, got {path}: {error.strerror}",
            hint="Check the path; relative ones start at the current directory.",
        ) from error
    if not found:
        raise CameraError(
            f"expected photographs ({', '.join(_SUFFIXES)}) in {path}, got none",
            hint="Give a folder that has some.",
        )
    return found
