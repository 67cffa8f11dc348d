"""Results as text: to the terminal, or into a file of JSON lines."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO

from picosam_sdk.config import check
from picosam_sdk.errors import PublishError
from picosam_sdk.interfaces import Context, Publisher
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.publishers.files import append_lines

__all__ = ["JsonlConfig", "JsonlPublisher", "PrintConfig", "PrintPublisher"]


@dataclass(frozen=True, slots=True)
class PrintConfig:
    """``kind = "print"``.

    Args:
        format: "text" for people, "json" for programs: one message a line.
    """

    format: Literal["text", "json"] = "text"


class PrintPublisher(Publisher):
    """Prints a line a result to standard output."""

    name: ClassVar[str] = "print"
    Config: ClassVar[type] = PrintConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._seq = 0

    @property
    def destination(self) -> str:
        return "standard output"

    def publish(self, result: Result) -> int | None:
        if self.config.format == "json":
            line = json_line(result, self.context, self._seq)
        else:
            line = _describe(result)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._seq += 1
        return len(line.encode()) + 1


@dataclass(frozen=True, slots=True)
class JsonlConfig:
    """``kind = "jsonl"``.

    Args:
        path: file that the messages are appended to, readable by its owner alone.
        max_bytes: size at which it is renamed to ``path.1`` and begun anew; 0 for never.
        files: how many such older files are kept.
    """

    path: Path
    max_bytes: int = 0
    files: int = 5

    def __post_init__(self) -> None:
        check(self.max_bytes >= 0, "max_bytes", "a size in bytes, or 0", self.max_bytes)
        check(1 <= self.files <= 1000, "files", "a number from 1 to 1000", self.files)


class JsonlPublisher(Publisher):
    """Appends a JSON message a line to a file; see :mod:`picosam_sdk.payload`."""

    name: ClassVar[str] = "jsonl"
    Config: ClassVar[type] = JsonlConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._file: TextIO | None = None
        self._size = 0
        self._seq = 0

    @property
    def destination(self) -> str:
        return f"file {self.config.path}"

    def open(self) -> None:
        self.close()
        path: Path = self.config.path
        try:
            self._file = append_lines(path)
            self._size = path.stat().st_size
        except OSError as error:
            raise PublishError(
                f"expected to append to {path}, got: {error.strerror}",
                hint="Check that its folder exists and that you may write there.",
            ) from error

    def publish(self, result: Result) -> int | None:
        if self._file is None:
            raise PublishError("expected an open publisher, got a closed one", hint="Call open().")
        line = json_line(result, self.context, self._seq) + "\n"
        if self.config.max_bytes and self._size and self._size + len(line) > self.config.max_bytes:
            self._rotate()
        self._file.write(line)
        self._file.flush()
        self._size += len(line)
        self._seq += 1
        return len(line)

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _rotate(self) -> None:
        path: Path = self.config.path
        self.close()
        for number in range(self.config.files - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))
        self.open()


def json_line(result: Result, context: Context, seq: int) -> str:
    """The message of a result as one line of ASCII, without the line's end."""
    message = encode_result(result, device=context.device, session=context.session, seq=seq)
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def _describe(result: Result) -> str:
    mask = result.mask
    name = f" {result.region}" if result.region else ""
    if mask is None:
        asked = "no prompt" if result.roi is None else "no mask"
        return f"frame {result.frame.index}{name}: {asked}"
    box = mask.bbox()
    if box is None:
        return f"frame {result.frame.index}{name}: nothing there, score {mask.score:.2f}"
    x, y, width, height = box
    settling = ", settling" if result.settling else ""
    return (
        f"frame {result.frame.index}{name}: {width} x {height} px at ({x}, {y}), "
        f"{mask.area_px} px, score {mask.score:.2f}{settling}"
    )
