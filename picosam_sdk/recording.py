"""Recordings of runs: what was asked for, what came of it, when; pictures only if granted.

A recording is a folder::

    meta.json          format, version, device, session, when it began
    recording.jsonl    a line of JSON for each result
    frames/            pictures, if the user granted them

Each line holds the result's message (see :mod:`picosam_sdk.payload`), and what the message rounds
or leaves out, so that a replay is exact: see :func:`line_of`. docs/recording.md says how it is
made and used.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.images import MAX_PIXELS
from picosam_sdk.limits import parse_json, read_limited
from picosam_sdk.mask import Mask, Result
from picosam_sdk.payload import decode_mask
from picosam_sdk.types import Frame, Gaze, Roi

__all__ = ["FORMAT", "LINES", "META", "VERSION", "Entry", "Recording", "line_of"]

FORMAT = "picosam-recording"
VERSION = 1
META = "meta.json"
LINES = "recording.jsonl"

_LONGEST_LINE = 4_000_000
_LONGEST_META = 1_000_000
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading a line that somebody changed may raise."""

_LARGEST_SIDE_PX = 1024
"""Of logits: ten times what the network gives."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One result of a recording, without its mask, which is read when it is asked for.

    Args:
        number: of its line, from 0.
        t_ns: when its frame was exposed, since the beginning of the recording.
        prompt: what it was prompted with. If the prompt was withheld from the recording, as
            those made from gaze are without its grant, the ROI in force of the mask. None: there
            was no prompt.
        region: name of what was watched.
        roi_age_ns, gaze: as they were when the frame was exposed; the gaze's time is relative
            to the frame's. Age and gaze are None where there were none.
        image: file of the picture; None if it was not recorded.
        offset: where its line begins, in bytes.
    """

    number: int
    t_ns: int
    prompt: Roi | None
    region: str
    roi_age_ns: int | None
    gaze: Gaze | None
    image: Path | None
    offset: int


class Recording:
    """A recording, read from its folder.

    A last line that was cut off, as by a loss of power, is left out; so are other lines that
    cannot be read, and they are counted in ``damaged``.

    Args:
        folder: where it is.

    Raises:
        InputError: it is none, or of a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = _read_meta(folder)
        self.damaged = 0
        self.entries: list[Entry] = []
        try:
            self._index()
        except OSError as error:
            raise InputError(
                f"expected a recording in {folder}, got: {error.strerror}",
                hint=f"Check its file {LINES}.",
            ) from error

    def result(self, entry: Entry, timestamp_ns: int) -> Result:
        """The result of an entry as it was recorded, without its picture.

        Args:
            entry: of this recording.
            timestamp_ns: when the frame is said to be exposed now, on the monotonic clock.

        Raises:
            InputError: the line is damaged.
        """
        with (self.folder / LINES).open("rb") as file:
            file.seek(entry.offset)
            line = file.readline(_LONGEST_LINE)
        try:
            record = json.loads(line)
            return _result(record, entry, timestamp_ns)
        except _DAMAGE as error:
            raise InputError(
                f"expected a result in line {entry.number + 1} of {self.folder / LINES}, "
                f"got: {error!r}",
                hint="The recording was changed or damaged after it was opened.",
            ) from error

    def _index(self) -> None:
        with (self.folder / LINES).open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                offset = file.tell() - len(line)
                whole = line.endswith(b"\n")
                if not whole and len(line) < _LONGEST_LINE:
                    break  # the end was cut off
                try:
                    if not whole:
                        raise ValueError("a line without end")
                    self.entries.append(self._entry(json.loads(line), offset))
                except _DAMAGE:
                    self.damaged += 1

    def _entry(self, record: Mapping[str, Any], offset: int) -> Entry:
        mask, ages_ns = record["mask"], record["ages_ns"]
        roi = record["roi"]
        if roi is None and mask is not None and mask["prompt"] is None:
            roi = mask["roi"]  # its prompt was withheld
        age_ns = ages_ns.get("roi")
        if age_ns is not None:
            age_ns = int(age_ns) - int(ages_ns.get("frame", 0))
        image = record["image"]
        return Entry(
            number=len(self.entries),
            t_ns=int(record["t_ns"]),
            prompt=None if roi is None else _roi(roi),
            region=str(record["message"]["region"]),
            roi_age_ns=age_ns,
            gaze=_gaze(record["gaze"]),
            # A name alone: a recording from a stranger must not point out of its folder.
            image=None if image is None else self.folder / "frames" / Path(str(image)).name,
            offset=offset,
        )


def line_of(
    result: Result,
    message: Mapping[str, Any],
    *,
    began_ns: int,
    logits: bool = True,
    image: str | None = None,
) -> dict[str, Any]:
    """What a line holds.

    Args:
        result: as far as the egress policy let it through.
        message: of :func:`picosam_sdk.payload.encode_result`.
        began_ns: when the recording began, on the monotonic clock.
        logits: whether the network's output is kept exactly, and not only its sign. That takes
            about 12 kB instead of 1.
        image: name of the picture's file in ``frames``.

    Returns:
        Ready for JSON. ``t_ns`` is relative to the beginning of the recording, the gaze's to
        the frame. Numbers of ``roi`` and ``mask`` are exact, those of ``message`` rounded.
    """
    mask, gaze, frame_ns = result.mask, result.gaze, result.frame.timestamp_ns
    line: dict[str, Any] = {
        "t_ns": frame_ns - began_ns,
        "roi": None if result.roi is None or _is_nothing(mask) else _numbers(result.roi),
        "mask": None,
        "gaze": None,
        "ages_ns": dict(result.ages_ns),
        "timings_ms": {key: round(value, 3) for key, value in result.timings_ms.items()},
        "image": image,
        "message": message,
    }
    if mask is not None:
        line["mask"] = {
            "roi": _numbers(mask.roi),
            "prompt": None if mask.prompt is None else _numbers(mask.prompt),
            "score": mask.score,
            "threshold": mask.threshold,
            "logits": _encode(mask.logits) if logits else None,
        }
    if gaze is not None:
        line["gaze"] = {
            "x": gaze.x if math.isfinite(gaze.x) else None,
            "y": gaze.y if math.isfinite(gaze.y) else None,
            "t_ns": gaze.timestamp_ns - frame_ns,
            "confidence": gaze.confidence if math.isfinite(gaze.confidence) else 0.0,
            "worn": gaze.worn,
        }
    return line


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = parse_json(read_limited(path, _LONGEST_META))
        found, version = meta.get("format"), meta.get("v")
    except OSError as error:
        raise InputError(
            f"expected a recording in {folder}, got: {error.strerror}: {path.name}",
            hint="Give the folder that 'picosam record' wrote.",
        ) from error
    except (AttributeError, ValueError, RecursionError) as error:
        raise InputError(
            f"expected a recording in {folder}, but its {META} cannot be read",
            hint="Give the folder that 'picosam record' wrote.",
        ) from error
    if found != FORMAT or version != VERSION:
        raise InputError(
            f"expected a {FORMAT} of version {VERSION} in {folder}, got {found!r} {version!r}",
            hint="Update the SDK if the recording is newer.",
        )
    return dict(meta)


def _result(record: Mapping[str, Any], entry: Entry, timestamp_ns: int) -> Result:
    mask, message = record["mask"], record["message"]
    ages_ns = {str(key): int(value) for key, value in record["ages_ns"].items()}
    gaze = entry.gaze
    return Result(
        frame=Frame(None, timestamp_ns, entry.number),
        mask=None if mask is None else _mask(mask, message),
        roi=entry.prompt,
        timings_ms={str(key): float(value) for key, value in record["timings_ms"].items()},
        ages_ns=ages_ns,
        settling=bool(message["settling"]),
        region=entry.region,
        gaze=None if gaze is None else _shifted(gaze, timestamp_ns),
    )


def _shifted(gaze: Gaze, by_ns: int) -> Gaze:
    return Gaze(gaze.x, gaze.y, gaze.timestamp_ns + by_ns, gaze.confidence, gaze.worn)


def _mask(mask: Mapping[str, Any], message: Mapping[str, Any]) -> Mask:
    width_px, height_px = (int(value) for value in message["size_px"])
    if width_px * height_px > MAX_PIXELS:
        raise ValueError(f"a frame of {width_px} x {height_px}")
    prompt = None if mask["prompt"] is None else _roi(mask["prompt"])
    threshold = float(mask["threshold"])
    if mask["logits"] is not None:
        logits = _decode(mask["logits"])
    else:
        hard = decode_mask(message)
        if hard is None:
            raise ValueError("a mask without logits and without bits")
        logits = hard.logits + np.float32(threshold)
    return Mask(
        logits, _roi(mask["roi"]), float(mask["score"]), (width_px, height_px), prompt, threshold
    )


def _gaze(value: Mapping[str, Any] | None) -> Gaze | None:
    if value is None:
        return None
    x, y = (math.nan if value[key] is None else float(value[key]) for key in "xy")
    return Gaze(x, y, int(value["t_ns"]), float(value["confidence"]), bool(value["worn"]))


def _encode(logits: NDArray[np.float32]) -> dict[str, Any]:
    """Logits as deflated float32, little-endian, row by row, in base64."""
    packed = zlib.compress(np.ascontiguousarray(logits, "<f4").tobytes())
    return {"size": list(logits.shape), "zf32": base64.b64encode(packed).decode("ascii")}


def _decode(encoded: Mapping[str, Any]) -> NDArray[np.float32]:
    height, width = (int(value) for value in encoded["size"])
    if not (0 < height <= _LARGEST_SIDE_PX and 0 < width <= _LARGEST_SIDE_PX):
        raise ValueError(f"logits of {height} x {width}")
    count = 4 * height * width
    try:
        packed = base64.b64decode(encoded["zf32"], validate=True)
        data = zlib.decompressobj().decompress(packed, count)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"logits: {error}") from error
    if len(data) != count:
        raise ValueError(f"logits: expected {count} bytes, got {len(data)}")
    return np.frombuffer(data, "<f4").reshape(height, width).astype(np.float32)


def _is_nothing(mask: Mask | None) -> bool:
    """Whether a point was prompted with, and no object found there.

    Then the ROI is one of those that were tried, and as a box it might find one.
    """
    return mask is not None and mask.score == 0 and not (mask.logits > mask.threshold).any()


def _roi(values: Any) -> Roi:
    x, y, width, height = (float(value) for value in values)
    return Roi(x, y, width, height)


def _numbers(roi: Roi) -> list[float]:
    return [float(value) for value in (roi.x, roi.y, roi.width, roi.height)]
