"""Training samples: crops around one object with its mask, read from tar shards or COCO folders.

A shard is a tar file in the WebDataset layout: ``<id>.webp`` or ``.jpg`` (a crop around one
object), ``<id>.png`` (its mask, 1 bit or 8 bit soft, same size) and ``<id>.json`` (``source``,
``image``, ``bbox`` as [x, y, width, height] in crop pixels).
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import InputError
from picosam_sdk.evaluation.annotations import Instance, read_dataset
from picosam_sdk.geometry import resize
from picosam_sdk.images import check_picture, load_image
from picosam_sdk.limits import CheckedMember, parse_json
from picosam_sdk.types import Box, ImageArray

_LONGEST_PX = 168
MAX_MEMBER_BYTES = 1 << 26
"""The largest file in a shard that is read: a sample is a small crop."""

_MIN_SIDE_PX = 8

__all__ = [
    "Sample",
    "balanced_weights",
    "is_held_out",
    "object_crop",
    "read_coco",
    "read_cutouts",
    "read_shards",
    "split",
]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One object.

    Args:
        image: RGB crop around the object, uint8 (H, W, 3).
        mask: uint8 (H, W), 0 to 255; between them where a teacher or an edge is unsure.
        bbox: x, y, width, height in the crop's pixels.
        source, picture: where it comes from; samples that share both show one photograph.
    """

    image: ImageArray
    mask: NDArray[np.uint8]
    bbox: tuple[float, float, float, float]
    source: str
    picture: str


def find_shards(paths: Iterable[Path]) -> list[Path]:
    """Tar files given by themselves or by their folders, in order.

    Raises:
        InputError: a path holds none.
    """
    shards: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        if not found or not all(item.is_file() for item in found):
            raise InputError(
                f"expected a .tar shard or a folder of them, found none at {path}",
                hint="Give the folder that holds objects-000.tar and its like.",
            )
        shards += found
    return shards


def read_shards(paths: Iterable[Path]) -> list[Sample]:
    """Reads and decodes every sample of the shards into memory.

    Raises:
        InputError: a shard is unreadable or a sample is incomplete.
    """
    samples: list[Sample] = []
    with ThreadPoolExecutor() as pool:
        for shard in find_shards(paths):
            samples += pool.map(_decode, _members(shard))
    return samples


def read_coco(annotations: Path, images: Path) -> list[Sample]:
    """Every object of a COCO- or LVIS-format file, its sides at least 8 px, cut out as in a shard.

    Raises:
        InputError: the file is not COCO's format, or its pictures are missing.
    """
    by_picture: dict[Path, list[Instance]] = defaultdict(list)
    for instance in read_dataset(annotations, images).instances:
        if min(instance.bbox[2:]) >= _MIN_SIDE_PX:
            by_picture[instance.image].append(instance)

    def cut(item: tuple[Path, list[Instance]]) -> list[Sample]:
        picture = load_image(item[0])
        return [
            object_crop(
                picture, i.mask().astype(np.uint8) * 255, i.bbox, annotations.stem, item[0].name
            )
            for i in item[1]
        ]

    with ThreadPoolExecutor() as pool:
        return [sample for samples in pool.map(cut, by_picture.items()) for sample in samples]


def object_crop(
    image: ImageArray,
    mask: NDArray[np.uint8],
    bbox: tuple[float, float, float, float],
    source: str,
    picture: str,
) -> Sample:
    """The part of a photograph that a sample keeps: one longer box side around the box's centre.

    Clipped to the photograph and shrunk to 168 px on its longest side, it leaves room for prompts
    that are shifted and scaled.
    """
    x, y, width, height = bbox
    cx, cy, reach = x + width / 2, y + height / 2, max(width, height)
    full_height, full_width = mask.shape
    box = Box(
        max(0, round(cx - reach)), max(0, round(cy - reach)),
        min(full_width, round(cx + reach)), min(full_height, round(cy + reach)),
    )  # fmt: skip
    scale = min(1.0, _LONGEST_PX / max(box.width, box.height))
    size = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    part = (slice(box.y0, box.y1), slice(box.x0, box.x1))
    scale_x, scale_y = size[0] / box.width, size[1] / box.height
    inner = ((x - box.x0) * scale_x, (y - box.y0) * scale_y, width * scale_x, height * scale_y)
    return Sample(resize(image[part], *size), resize(mask[part], *size), inner, source, picture)


def read_cutouts(paths: Iterable[Path]) -> list[Sample]:
    """Reads objects with alpha (``<id>.webp``, RGBA) and their table ``<folder name>.tsv``."""
    samples = []
    for shard in find_shards(paths):
        table = shard.parent / f"{shard.parent.name}.tsv"
        rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
        origin = {row[0]: (row[1], row[2]) for row in rows}
        with tarfile.open(shard, "r:", tarinfo=CheckedMember) as archive:
            for member in archive:
                key = member.name.rsplit(".", 1)[0]
                picture = _imdecode(_bytes(archive, member), cv2.IMREAD_UNCHANGED, member.name)
                rgb = np.ascontiguousarray(picture[:, :, 2::-1])
                height, width = rgb.shape[:2]
                box = (0.0, 0.0, float(width), float(height))
                alpha = np.ascontiguousarray(picture[:, :, 3])
                samples.append(Sample(rgb, alpha, box, *origin[key]))
    return samples


def split(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Divides into training and validation by photograph, the same way every time.

    Args:
        share: of the photographs that go to validation, 0 to 1.
    """
    train: list[Sample] = []
    held: list[Sample] = []
    for sample in samples:
        (held if is_held_out(sample.source, sample.picture, share) else train).append(sample)
    return train, held


def is_held_out(source: str, picture: str, share: float) -> bool:
    """Whether a photograph belongs to validation: a hash of its name, below ``share``."""
    digest = hashlib.sha256(f"{source}/{picture}".encode()).digest()
    return int.from_bytes(digest[:4]) < share * 2**32


def balanced_weights(
    samples: Sequence[Sample], shares: Mapping[str, float], cap: float = 0.03
) -> NDArray[np.float64]:
    """Probability of drawing each sample.

    Sources named in ``shares`` get that share of the draws. The others divide the rest in
    proportion to the square root of their number of photographs, at most ``cap`` each. Within a
    source every photograph is as likely as the next, whatever number of objects it shows.

    Returns:
        float64 (len(samples),), sum 1.
    """
    objects = Counter((sample.source, sample.picture) for sample in samples)
    pictures: dict[str, int] = defaultdict(int)
    for source, _ in objects:
        pictures[source] += 1
    share_of = {source: share for source, share in shares.items() if source in pictures}
    rest = {source: n**0.5 for source, n in pictures.items() if source not in share_of}
    left = max(0.0, 1 - sum(share_of.values()))
    total = sum(rest.values())
    share_of |= {source: min(cap, left * root / total) for source, root in rest.items()}
    weights = np.array(
        [share_of[s.source] / pictures[s.source] / objects[s.source, s.picture] for s in samples]
    )
    return np.asarray(weights / weights.sum())


def _members(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The files of one sample at a time: (id, {extension: bytes})."""
    try:
        with tarfile.open(shard, "r:", tarinfo=CheckedMember) as archive:
            key, parts = "", dict[str, bytes]()
            for member in archive:
                stem, _, extension = member.name.rpartition(".")
                if stem != key and parts:
                    yield key, parts
                    parts = {}
                key = stem
                parts[extension] = _bytes(archive, member) if member.isfile() else b""
            if parts:
                yield key, parts
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"expected a tar shard at {shard}, got: {error}", hint="Copy or make the shard anew."
        ) from error


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_MEMBER_BYTES:
        raise OSError(f"{member.name}: {member.size} bytes; at most {MAX_MEMBER_BYTES} are read")
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


def _decode(item: tuple[str, dict[str, bytes]]) -> Sample:
    key, parts = item
    picture = parts.get("webp") or parts.get("jpg")
    if picture is None or "png" not in parts or "json" not in parts:
        raise InputError(
            f"expected {key}.webp or .jpg, {key}.png and {key}.json in the shard, "
            f"got {sorted(parts)}",
            hint="Make the shard anew; the three files of a sample stand together.",
        )
    bgr = _imdecode(picture, cv2.IMREAD_COLOR, key)
    mask = _imdecode(parts["png"], cv2.IMREAD_GRAYSCALE, key)
    if mask.shape != bgr.shape[:2]:
        raise InputError(
            f"expected the mask of {key} to be as large as its crop {bgr.shape[:2]}, "
            f"got {mask.shape}",
            hint="Make the shard anew.",
        )
    try:
        meta: dict[str, Any] = parse_json(parts["json"])
        x, y, width, height = (float(value) for value in meta["bbox"])
        source, name = str(meta["source"]), str(meta["image"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"expected source, image and bbox in {key}.json, got: {error!r}",
            hint="Make the shard anew.",
        ) from error
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return Sample(rgb, mask, (x, y, width, height), source, name)


def _imdecode(data: bytes, flags: int, name: str) -> NDArray[np.uint8]:
    check_picture(data, Path(name))
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # above OpenCV's own limits
        picture = None
    if picture is None:
        raise InputError(
            f"expected a picture in {name}, got bytes that do not decode",
            hint="Copy or make the shard anew.",
        )
    return np.asarray(picture, dtype=np.uint8)
