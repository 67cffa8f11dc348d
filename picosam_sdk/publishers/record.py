"""Writes recordings; :mod:`picosam_sdk.recording` says what is in them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO

from picosam_sdk.config import check
from picosam_sdk.errors import ConfigError, InputError, PublishError
from picosam_sdk.images import save_image
from picosam_sdk.interfaces import Context, Publisher
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.publishers.files import append_lines, private_folder
from picosam_sdk.recording import FORMAT, LINES, META, VERSION, line_of

__all__ = ["RecordConfig", "RecordPublisher"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """``kind = "record"``.

    Args:
        path: folder of the recording; it is made, and must not hold another recording.
        each_run: each run makes a folder of its own in ``path``, named after its time.
        frames: also keep the pictures, which needs ``egress = { grants = ["pixels"] }``.
        format: of pictures: "png" keeps them exactly, "jpg" takes a fifth of the space.
        logits: keep the network's output exactly, about 12 kB a result; else masks are hard
            bits, and a result takes about 1 kB.
        max_bytes: stop recording, and say so, when it has grown to this; 0 for no limit.
    """

    path: Path
    each_run: bool = False
    frames: bool = False
    format: Literal["png", "jpg"] = "png"
    logits: bool = True
    max_bytes: int = 0

    def __post_init__(self) -> None:
        check(self.max_bytes >= 0, "max_bytes", "a size in bytes, or 0", self.max_bytes)


class RecordPublisher(Publisher):
    """Writes what it is given into a folder that only its owner can read.

    A line is in the file as soon as ``publish`` returns, and a picture before its line: what was
    published survives the end of the program, however it ends.
    """

    name: ClassVar[str] = "record"
    Config: ClassVar[type] = RecordConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._folder: Path = config.path
        self._file: TextIO | None = None
        self._began_ns = 0
        self._seq = self._bytes = self._images = 0

    @property
    def destination(self) -> str:
        return f"folder {self.config.path}"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"pixels"}) if self.config.frames else frozenset()

    @property
    def stats(self) -> Mapping[str, Any]:
        return {"results": self._seq, "images": self._images, "bytes": self._bytes,
                "full": self._full}  # fmt: skip

    def open(self) -> None:
        self.close()
        try:
            if not self._began_ns:
                self._begin()
            self._file = append_lines(self._folder / LINES)
        except OSError as error:
            self.close()
            raise PublishError(
                f"expected to write a recording to {self._folder}, got: {error.strerror}",
                hint="Check that you may write there, and that there is space.",
            ) from error

    def publish(self, result: Result) -> int | None:
        if self._file is None:
            raise PublishError("expected an open publisher, got a closed one", hint="Call open().")
        if self._full:
            return None
        image, image_bytes = self._save_image(result)
        context = self.context
        message = encode_result(
            result, device=context.device, session=context.session, seq=self._seq
        )
        line = line_of(
            result, message, began_ns=self._began_ns, logits=self.config.logits, image=image
        )
        text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
        self._file.write(text)
        self._file.flush()
        self._seq += 1
        self._images += int(image is not None)
        self._bytes += len(text) + image_bytes
        if self._full:
            _LOG.warning("the recording in %s is full: it has %d bytes", self._folder, self._bytes)
        return len(text) + image_bytes

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                pass  # the disk is full or gone; what is there stays readable
            finally:
                file.close()

    @property
    def _full(self) -> bool:
        return 0 < self.config.max_bytes <= self._bytes

    def _begin(self) -> None:
        folder: Path = self.config.path
        if self.config.each_run:
            now = datetime.now().strftime("%Y%m%d-%H%M%S")
            folder = folder / f"{now}-{self.context.session[:4] or os.getpid()}"
        private_folder(folder)
        if any(folder.iterdir()):
            raise ConfigError(
                f"path: expected an empty folder for a recording, got {folder}, "
                "which has something in it",
                hint="Give another folder, or set each_run = true.",
            )
        if self.config.frames:
            (folder / "frames").mkdir(mode=0o700)
        began_ns = time.monotonic_ns()
        meta = {
            "format": FORMAT, "v": VERSION, "device": self.context.device,
            "session": self.context.session, "began": datetime.now(UTC).isoformat(),
            "began_unix_ns": time.time_ns(), "frames": self.config.frames,
            "logits": self.config.logits,
        }  # fmt: skip
        number = os.open(folder / META, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(json.dumps(meta, indent=2) + "\n")
        self._folder, self._began_ns = folder, began_ns

    def _save_image(self, result: Result) -> tuple[str | None, int]:
        """Writes the picture, if there is one and it was granted whole: name and bytes."""
        image = result.frame.image
        if not self.config.frames or image is None or result.image_grant != "pixels":
            return None, 0
        name = f"{self._seq:08d}.{self.config.format}"
        path = self._folder / "frames" / name
        try:
            save_image(image, path)
            return name, path.stat().st_size
        except (InputError, OSError) as error:
            raise PublishError(
                f"expected to write a picture to {path}, got: {error}",
                hint="Check that there is space.",
            ) from error
