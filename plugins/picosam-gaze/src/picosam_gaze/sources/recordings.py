"""Reads recorded gaze: exports of Pupil Cloud and Neon Player, and our own recordings."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from picosam_gaze.source import GazeSourceError
from picosam_gaze.sources.place import INVISIBLE_PX, NEON_PX, place
from picosam_sdk.limits import parse_json, read_limited
from picosam_sdk.recording import LINES, META, Recording
from picosam_sdk.types import Gaze

__all__ = ["MAX_BYTES", "GazeRecording", "load_gaze", "recording_file"]

_TIME, _X, _Y = "timestamp [ns]", "gaze x [px]", "gaze y [px]"
MAX_BYTES = 1 << 30
"""The longest file of gaze that is read; an hour at 200 Hz has about 70 MB."""

_LONGEST_INFO = 1 << 20
_NO = {"0", "0.0", "false"}
_ROUNDED_NS = 1_000_000
"""Ages in messages are rounded to 0.1 ms."""


@dataclass(frozen=True, slots=True, eq=False)
class GazeRecording:
    """Recorded gaze, in order of time.

    Args:
        times_ns: when, on the recording's own clock, int64 (N,), rising strictly.
        places: x, y as shares of the scene camera's view, float64 (N, 2), NaN where lost.
        confidences: float64 (N,).
        worn: bool (N,).
        start_ns: when the recording starts on its clock: its first frame, or its first gaze.
        view_px: width and height of the scene camera's picture, if known.
        malformed: lines that could not be read.
    """

    times_ns: NDArray[np.int64]
    places: NDArray[np.float64]
    confidences: NDArray[np.float64]
    worn: NDArray[np.bool_]
    start_ns: int
    view_px: tuple[int, int] | None
    malformed: int

    def __len__(self) -> int:
        return len(self.times_ns)

    def gaze(self, number: int, timestamp_ns: int | None = None) -> Gaze:
        """One sample, at the recording's own time or at another."""
        x, y = (float(value) for value in self.places[number])
        time_ns = int(self.times_ns[number]) if timestamp_ns is None else timestamp_ns
        return Gaze(x, y, time_ns, float(self.confidences[number]), bool(self.worn[number]))

    def samples(self) -> list[Gaze]:
        """All samples, at the recording's own times."""
        return [self.gaze(number) for number in range(len(self))]


def load_gaze(
    path: Path, view_px: tuple[int, int] | None = None, *, keep_blinks: bool = False
) -> GazeRecording:
    """Reads recorded gaze.

    Args:
        path: a folder with ``gaze.csv`` (and ``world_timestamps.csv``, ``info.json``) as Pupil
            Cloud and Neon Player export them, or that file; or the folder of a recording of ours;
            or a file of JSON lines from the publisher "jsonl". Gaze in the latter two was mapped
            to the camera's view already, and is there once a frame at most.
        view_px: size of the scene camera; if None, that of the glasses that info.json tells of.
        keep_blinks: whether gaze during a blink counts; otherwise the eye is lost meanwhile.

    Raises:
        GazeSourceError: there is no such recording, it holds no gaze, or the size is not known.
        InputError: a recording of ours is damaged, or of a newer version.
    """
    folder = path if path.is_dir() else path.parent
    file = recording_file(path)
    if file is None:
        raise GazeSourceError(
            f"expected a recording with gaze.csv or {LINES} at {path}, found none",
            hint="Give the folder of one recording, as exported.",
        )
    if file.stat().st_size > MAX_BYTES:
        raise GazeSourceError(
            f"expected a file of at most {MAX_BYTES} bytes, got {file}, which is longer",
            hint="Divide the recording.",
        )
    if file.suffix == ".csv":
        size_px = view_px or _glasses_px(folder, path)
        rows = _csv_rows(file, size_px, keep_blinks)
        return _recording(rows, file, size_px, _first_frame_ns(folder))
    if file.name == LINES and (folder / META).is_file():
        recording = Recording(folder)
        start_ns = recording.entries[0].t_ns if recording.entries else None
        return _recording(_recorded_rows(recording), file, view_px, start_ns)
    return _recording(_message_rows(file), file, view_px, None)


def recording_file(path: Path) -> Path | None:
    """The file that holds the gaze of a recording, or None if there is none.

    In one that does not end in ".csv", gaze lies in the segmented camera's view.
    """
    files = [path] if not path.is_dir() else [path / "gaze.csv", path / LINES]
    return next((file for file in files if file.is_file()), None)


Row: TypeAlias = tuple[int, float, float, float, bool]
"""When, x, y, confidence, worn."""


def _recording(
    rows: Iterator[Row | None], file: Path, view_px: tuple[int, int] | None, start_ns: int | None
) -> GazeRecording:
    good: list[Row] = []
    malformed = 0
    try:
        for row in rows:
            if row is None:
                malformed += 1
            else:
                good.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GazeSourceError(
            f"expected recorded gaze in {file}, got: {error}", hint="Export the recording again."
        ) from error
    if not good:
        raise GazeSourceError(
            f"expected gaze in {file}, found none ({malformed} lines are malformed)",
            hint="Check that this recording was made with an eye tracker, and was granted gaze.",
        )
    times = np.array([row[0] for row in good], np.int64)
    times, first = np.unique(times, return_index=True)  # in order, the first of duplicates
    values = np.array([row[1:] for row in good], np.float64)[first]
    if start_ns is None or start_ns > times[-1]:
        start_ns = int(times[0])
    return GazeRecording(
        times_ns=times,
        places=values[:, :2],
        confidences=values[:, 2],
        worn=values[:, 3] > 0,
        start_ns=start_ns,
        view_px=view_px,
        malformed=malformed,
    )


def _csv_rows(file: Path, size_px: tuple[int, int], keep_blinks: bool) -> Iterator[Row | None]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in (_TIME, _X, _Y) if name not in header]
        if missing:
            raise GazeSourceError(
                f"expected the columns {_TIME}, {_X} and {_Y} in {file}, missing: {missing}",
                hint="Export the recording as 'Timeseries Data'.",
            )
        columns = {name: header.index(name) for name in header}
        for cells in reader:
            yield _csv_row(cells, columns, size_px, keep_blinks)


def _csv_row(
    cells: list[str], columns: dict[str, int], size_px: tuple[int, int], keep_blinks: bool
) -> Row | None:
    def cell(name: str) -> str:
        column = columns.get(name)
        return "" if column is None or column >= len(cells) else cells[column].strip()

    try:
        time_ns = int(cell(_TIME))
        x, y = (float(cell(name) or math.nan) for name in (_X, _Y))
    except ValueError:
        return None
    if not 0 <= time_ns < 2**63:
        return None
    if cell("blink id") and not keep_blinks:
        x = math.nan
    x, y = place(x, y, size_px)
    return time_ns, x, y, 1.0, cell("worn").lower() not in _NO


def _first_frame_ns(folder: Path) -> int | None:
    """When the scene video starts, so that gaze and video are replayed from the same moment."""
    try:
        with (folder / "world_timestamps.csv").open(newline="", encoding="utf-8-sig") as lines:
            return int(next(csv.DictReader(lines))[_TIME])
    except (OSError, StopIteration, KeyError, ValueError, TypeError, csv.Error):
        return None


def _glasses_px(folder: Path, path: Path) -> tuple[int, int]:
    """The size of the scene camera of the glasses that info.json names."""
    try:
        info = parse_json(read_limited(folder / "info.json", _LONGEST_INFO))
    except (OSError, ValueError):
        info = None
    if isinstance(info, dict):
        if "module_serial_number" in info:
            return NEON_PX
        if "glasses_serial_number" in info:
            return INVISIBLE_PX
    raise GazeSourceError(
        f"expected to learn the size of the scene camera from info.json beside {path}, found none",
        hint="Set view_px: [1600, 1200] for Neon, [1088, 1080] for Pupil Invisible.",
    )


def _recorded_rows(recording: Recording) -> Iterator[Row | None]:
    """The gaze of each result; one that prompted several frames has the same time in all."""
    yield from itertools.repeat(None, recording.damaged)
    for entry in recording.entries:
        if entry.gaze is not None:
            gaze = entry.gaze
            x, y = place(gaze.x, gaze.y)
            time_ns = entry.t_ns + gaze.timestamp_ns
            good = abs(time_ns) < 2**63
            yield (time_ns, x, y, gaze.confidence, gaze.worn) if good else None


def _message_rows(file: Path) -> Iterator[Row | None]:
    """The gaze of each message; several frames may have been prompted by one and the same."""
    last: Row | None = None
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                message = parse_json(line)
                row = None if message.get("gaze") is None else _message_row(message)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                yield None
                continue
            if row is None:
                continue
            again = last is not None and row[1:] == last[1:] and row[0] - last[0] < _ROUNDED_NS
            last = row
            if not again:
                yield row


def _message_row(message: dict[str, Any]) -> Row:
    """When the frame was exposed, plus the time to the result, less the age of the gaze then."""
    x, y = (float(value) for value in message["gaze"])
    ages_ms = message["ages_ms"]
    since_ms = float(ages_ms.get("frame", 0.0)) - float(ages_ms["gaze"])
    time_ns = int(message["timestamp_ns"]) + int(since_ms * 1e6)
    if not 0 <= time_ns < 2**63:
        raise ValueError("out of range")
    x, y = place(x, y)
    return time_ns, x, y, 1.0, True
