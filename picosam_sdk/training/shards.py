"""Photographs in, labelled tar shards out; nothing is lost or done twice when a run is cut off.

The writer keeps a journal, one JSON line a photograph, with the length of the open shard after
it. A run that was killed goes on from there: the shard is cut back to the last journalled length.
A photograph is known by the hash of its bytes, wherever it lies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import cv2
import numpy as np

from picosam_sdk.errors import InputError
from picosam_sdk.images import MAX_PIXELS, check_picture
from picosam_sdk.limits import CheckedMember, parse_json, read_limited
from picosam_sdk.types import ImageArray

__all__ = ["MAX_MEMBER_BYTES", "Photo", "ShardWriter", "count_photos", "read_photos"]

MAX_MEMBER_BYTES = 1 << 28
"""The largest file, in a shard or beside it, that is read."""

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph to be labelled, not yet decoded.

    Args:
        data: bytes of the picture file.
        source: the collection it belongs to.
        picture: its name in the collection.
        licence: of the picture; "not stated" if unknown.
        boxes: known objects, (x, y, width, height) in its pixels.
    """

    data: bytes = field(repr=False)
    source: str
    picture: str
    licence: str = "not stated"
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def key(self) -> str:
        """Hash of the bytes, 16 hexadecimal digits: the same picture has the same key."""
        return hashlib.sha256(self.data).hexdigest()[:16]

    def decode(self) -> ImageArray:
        """The picture, uint8 RGB (H, W, 3).

        Raises:
            InputError: the bytes are no picture, or one above picosam_sdk.images.MAX_PIXELS.
        """
        if self.data[:2] == b"BM":
            _check_bitmap(self.data, self.picture)
        else:
            check_picture(self.data, Path(self.picture))
        try:
            bgr = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # above OpenCV's own limits
            bgr = None
        if bgr is None:
            raise InputError(
                f"expected a picture in {self.picture}, got bytes that do not decode",
                hint="Copy the photograph anew, or leave it out.",
            )
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_photos(paths: Iterable[Path]) -> Iterator[Photo]:
    """Photographs of tar shards (``<id>.jpg`` and ``<id>.json``), folders and single files.

    A folder that holds .tar files stands for these; otherwise for the pictures in it and in its
    folders, whose boxes may stand beside them in ``<name>.json``.

    Raises:
        InputError: a path holds no photograph, or a shard or its JSON is unreadable.
    """
    for path in paths:
        for file in _files(path):
            if file.suffix == ".tar":
                yield from _read_tar(file)
            else:
                base = path if path.is_dir() else path.parent
                side = file.with_suffix(".json")
                meta = _file_bytes(side) if side.is_file() else b"{}"
                yield _photo(
                    _file_bytes(file), meta, base.resolve().name, file.relative_to(base).as_posix()
                )


def count_photos(paths: Iterable[Path]) -> int:
    """How many photographs :func:`read_photos` would give."""
    total = 0
    for path in paths:
        for file in _files(path):
            if file.suffix == ".tar":
                total += sum(Path(name).suffix.lower() in PICTURES for name in _names(file))
            else:
                total += 1
    return total


class ShardWriter:
    """Writes samples into ``objects-000.tar``, ``objects-001.tar``... and keeps the journal.

    The open shard is called ``objects-NNN.tar.part``; it is renamed when it is full and on
    :meth:`close`, so every ``.tar`` can be read while the run goes on.

    Args:
        folder: made if missing; a journal in it is continued.
        size: samples a shard, about; a photograph's objects stay together.
    """

    def __init__(self, folder: Path, size: int = 500) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.size = size
        self.done: set[str] = set()
        self.objects = 0
        self._held = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._journal = (folder / "journal.jsonl").open("a", encoding="utf-8")
        try:
            self._lock()
            ends = self._read_journal()
        except InputError:
            self._journal.close()
            raise
        finished = [int(path.stem[8:]) for path in folder.glob("objects-*.tar")]
        self._number = max(finished, default=-1) + 1
        for part in folder.glob("objects-*.tar.part"):
            end, self._held = ends.get(part.stem, (0, 0))
            if not 0 < end <= part.stat().st_size or part.stem != self._name():
                part.unlink()
                self._held = 0
            else:
                self._file = part.open("r+b")
                self._file.truncate(end)
                self._file.seek(end)
                self._end = end

    def add(self, photo: Photo, samples: Sequence[Mapping[str, bytes]]) -> None:
        """Writes a photograph's samples ({extension: bytes} each) and marks it as done."""
        if self._file is None:
            self._file = (self.folder / f"{self._name()}.part").open("wb")
            self._end = 0
        for index, parts in enumerate(samples):
            for extension, data in parts.items():
                info = tarfile.TarInfo(f"{photo.key}_{index}.{extension}")
                info.size = len(data)
                self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
                self._file.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        self._file.flush()
        self._held += len(samples)
        self.objects += len(samples)
        self.done.add(photo.key)
        line = {
            "photo": photo.key,
            "objects": len(samples),
            "shard": self._name(),
            "end": self._file.tell(),
            "source": photo.source,
            "image": photo.picture,
        }
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        self._end = self._file.tell()
        if self._held >= self.size:
            self._finish()

    def close(self) -> None:
        """Finishes the open shard."""
        if not self._journal.closed:
            self._finish()
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"expected to write to {self.folder} alone, but another run writes to it",
                hint="Wait for that run to end, or give another folder with -o.",
            ) from error

    def _name(self) -> str:
        return f"objects-{self._number:03d}.tar"

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.seek(self._end)  # a photograph that was broken off half way is dropped
        self._file.truncate()
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.close()
        self._file = None
        part = self.folder / f"{self._name()}.part"
        if self._held:
            part.rename(self.folder / self._name())
            self._number += 1
        else:
            part.unlink()
        self._held = 0

    def _read_journal(self) -> dict[str, tuple[int, int]]:
        """Fills ``done``; returns of each shard its length in bytes and number of samples."""
        path = self.folder / "journal.jsonl"
        ends: dict[str, tuple[int, int]] = {}
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
            if not line.endswith(b"\n"):
                break  # cut off while it was written: that photograph is labelled again
            try:
                entry = parse_json(line)
                shard, end, objects = str(entry["shard"]), int(entry["end"]), int(entry["objects"])
                ends[shard] = (end, ends.get(shard, (0, 0))[1] + objects)
                self.done.add(str(entry["photo"]))
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise InputError(
                    f"expected a journal of labelled photographs in {path}, got: {line[:80]!r}",
                    hint="Write to another folder, or remove the journal and the shards beside it.",
                ) from error
            self.objects += objects
            whole += len(line)
        if path.is_file():
            with path.open("r+b") as file:
                file.truncate(whole)
        return ends


def _files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix.lower() in PICTURES | {".tar"}:
        return [path]
    if path.is_dir():
        files = sorted(path.glob("*.tar")) or sorted(
            file for file in path.rglob("*") if file.suffix.lower() in PICTURES
        )
        if files:
            return files
    raise InputError(
        f"expected photographs (.jpg, .png, .webp) or .tar shards of them, found none at {path}",
        hint="Give a folder of pictures, or one that holds photos-000.tar and its like.",
    )


def _open_tar(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r:", tarinfo=CheckedMember)  # "r:": nothing is unpacked
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"expected a tar shard at {file}, got: {error}", hint="Copy or make the shard anew."
        ) from error


def _read_tar(file: Path) -> Iterator[Photo]:
    """Pairs each picture with the JSON of the same id, before or after it."""
    with _open_tar(file) as archive:
        members = {m.name: m for m in _entries(archive, file) if m.isfile()}
        for name, member in members.items():
            if Path(name).suffix.lower() not in PICTURES:
                continue
            side = members.get(str(Path(name).with_suffix(".json")))
            meta = _bytes(archive, side) if side else b"{}"
            yield _photo(_bytes(archive, member), meta, file.stem, name)


def _names(file: Path) -> list[str]:
    with _open_tar(file) as archive:
        return [member.name for member in _entries(archive, file)]


def _entries(archive: tarfile.TarFile, file: Path) -> list[tarfile.TarInfo]:
    try:
        return archive.getmembers()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _unreadable(f"a tar shard at {file}", error) from error


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    try:
        if member.size > MAX_MEMBER_BYTES:
            raise OSError(f"{member.size} bytes, of which at most {MAX_MEMBER_BYTES} are read")
        opened = archive.extractfile(member)
        return opened.read() if opened is not None else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _unreadable(f"{member.name} in a tar shard", error) from error


def _file_bytes(path: Path) -> bytes:
    try:
        return read_limited(path, MAX_MEMBER_BYTES)
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _unreadable(what: str, error: Exception) -> InputError:
    return InputError(
        f"expected {what} that can be read, got: {error}", hint="Copy or make the shard anew."
    )


def _check_bitmap(data: bytes, name: str) -> None:
    """Of a .bmp file with the usual header; what OpenCV makes of the others is not known."""
    width_px, height_px = (int.from_bytes(data[at : at + 4], "little", signed=True)
                           for at in (18, 22))  # fmt: skip
    plain = len(data) > 54 and int.from_bytes(data[14:18], "little") >= 40
    if not plain or abs(width_px) * abs(height_px) > MAX_PIXELS:
        raise InputError(
            f"expected a bitmap of at most {MAX_PIXELS} pixels in {name}, "
            f"got {width_px} x {height_px} or an old header",
            hint="Convert it to PNG, or leave it out.",
        )


def _photo(data: bytes, meta: bytes, source: str, name: str) -> Photo:
    try:
        fields: dict[str, Any] = parse_json(meta)
        boxes = tuple(
            (float(x), float(y), float(w), float(h)) for x, y, w, h in fields.get("boxes", ())
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"expected JSON with boxes as [[x, y, width, height], ...] beside {name}, got: {error}",
            hint="Mend the .json, or leave it out to prompt that photograph automatically.",
        ) from error
    return Photo(
        data,
        str(fields.get("source", source)),
        str(fields.get("path", name)),
        str(fields.get("licence", "not stated")),
        boxes,
    )
