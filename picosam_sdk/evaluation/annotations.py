"""Reads COCO-format and LVIS-format annotation files.

Both are a JSON object with ``images``, ``annotations`` and ``categories``. LVIS gives an image a
``coco_url`` instead of a ``file_name`` and has no ``iscrowd``; its lists of categories that are
absent from an image (``neg_category_ids`` and the like) say nothing about masks and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import rle
from picosam_sdk.errors import InputError
from picosam_sdk.evaluation.polygons import polygon_mask
from picosam_sdk.images import MAX_PIXELS
from picosam_sdk.limits import parse_json, read_limited
from picosam_sdk.types import Roi

__all__ = ["Dataset", "Instance", "bundled_dataset", "read_dataset"]

MAX_BYTES = 1 << 31
"""The longest annotation file that is read; LVIS' largest has 1.1 GB."""

_PHOTOS = Path(__file__).parent.parent / "assets" / "photos"


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One object on one picture.

    Args:
        image: the picture's file.
        size_px: the picture's width and height, as the annotation file says.
        bbox: x, y, width, height in pixels, both sides above zero.
        segmentation: polygons, each float64 (2 n,) x0, y0, x1, y1, ... in pixels; or a COCO RLE.
        area: in square pixels, as the annotation file says; None if it does not.
        category: its name, or its number as text where the file does not name it.
        id: the annotation's number.
    """

    image: Path
    size_px: tuple[int, int]
    bbox: tuple[float, float, float, float]
    segmentation: tuple[NDArray[np.float64], ...] | Mapping[str, Any]
    area: float | None
    category: str
    id: int

    @property
    def roi(self) -> Roi:
        """Its box as shares of the picture."""
        return Roi.from_pixels(*self.bbox, self.size_px)

    def mask(self) -> NDArray[np.bool_]:
        """Its pixels, bool (height_px, width_px), the same as pycocotools makes.

        Raises:
            InputError: the RLE is broken.
        """
        if isinstance(self.segmentation, tuple):
            return polygon_mask(self.segmentation, *self.size_px)
        try:
            return rle.decode(self.segmentation)
        except InputError as error:
            raise InputError(f"annotation {self.id}: {error}", hint=error.hint) from error


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The objects of an annotation file, in its order.

    Args:
        path: the annotation file.
        instances: the objects.
        crowds: how many regions were left out because ``iscrowd`` is set.
        empty: how many annotations were left out because their box has no area (COCO's own
            train2017 has some).
    """

    path: Path
    instances: tuple[Instance, ...]
    crowds: int = 0
    empty: int = 0


def read_dataset(annotations: Path, images: Path) -> Dataset:
    """Reads an annotation file and finds its pictures.

    Args:
        annotations: JSON in COCO's or LVIS's format, with a mask for every object.
        images: folder of the pictures. For a ``coco_url`` ending in ``val2017/0001.jpg`` both
            ``images/0001.jpg`` and ``images/val2017/0001.jpg`` will do.

    Raises:
        InputError: the file is no such JSON, one of its entries is broken, or pictures are missing.
    """
    raw = _read_json(annotations)
    if not images.is_dir():
        raise InputError(
            f"expected a folder of pictures at {images}, got "
            f"{'a file' if images.exists() else 'nothing'}",
            hint="Give the folder that holds the pictures named in the annotation file.",
        )
    pictures = _pictures(raw["images"], annotations)
    names = _category_names(raw)
    instances: list[Instance] = []
    paths: dict[Any, Path] = {}
    crowds = empty = 0
    for index, entry in enumerate(raw["annotations"]):
        where = f"annotation {_id_of(entry, index)} of {annotations}"
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise _not_coco(annotations, f"{where}, which has no image_id")
        if entry.get("iscrowd", 0):
            crowds += 1
            continue
        number = entry["image_id"]
        picture = pictures.get(number) if isinstance(number, int | str) else None
        if picture is None:
            raise InputError(
                f"{where}: expected the image_id of one of its {len(pictures)} images, "
                f"got {entry['image_id']!r}",
                hint="Remove the annotation, or add its image to 'images'.",
            )
        bbox = _bbox(entry.get("bbox"), picture.size_px, where)
        if min(bbox[2:]) == 0:
            empty += 1
            continue
        if entry["image_id"] not in paths:
            paths[entry["image_id"]] = _locate(images, picture.names)
        instances.append(
            Instance(
                image=paths[entry["image_id"]],
                size_px=picture.size_px,
                bbox=bbox,
                segmentation=_segmentation(entry.get("segmentation"), picture.size_px, where),
                area=_area(entry.get("area"), where),
                category=_category(entry.get("category_id", ""), names),
                id=_id_of(entry, index),
            )
        )
    if not instances:
        raise InputError(
            f"expected objects with masks in {annotations}, got none "
            f"(left out: {crowds} crowds, {empty} boxes without area)",
            hint="Check that this is the file of instance annotations, not of captions or boxes.",
        )
    _check_pictures(list(paths.values()), images)
    return Dataset(annotations, tuple(instances), crowds, empty)


def bundled_dataset() -> Dataset:
    """The objects outlined on the sample photographs, see assets/SOURCES.md."""
    return read_dataset(_PHOTOS / "instances.json", _PHOTOS)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An entry of ``images``; ``names`` are its paths inside the folder, the likeliest first."""

    names: tuple[str, ...]
    size_px: tuple[int, int]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = parse_json(read_limited(path, MAX_BYTES))
    except OSError as error:
        raise InputError(
            f"expected an annotation file at {path}, got: {error.strerror}",
            hint="Give a COCO-format or LVIS-format .json file, such as instances_val2017.json.",
        ) from error
    except ValueError as error:  # not JSON, or not even text
        raise InputError(
            f"expected JSON in {path}, got: {error}",
            hint="The file is damaged or of another kind; unpack it if it is an archive.",
        ) from error
    if not isinstance(raw, dict):
        raise _not_coco(path, f"a {type(raw).__name__}")
    for key in ("images", "annotations"):
        if not isinstance(raw.get(key), list):
            kind = f"'{key}' that is no list" if key in raw else f"only the keys {sorted(raw)[:8]}"
            raise _not_coco(path, kind)
    return raw


def _not_coco(path: Path, got: str) -> InputError:
    return InputError(
        f"expected a COCO-format object with the lists 'images' and 'annotations' in {path}, "
        f"got {got}",
        hint="Give the instance annotations (not results, captions or panoptic segments), "
        "or convert them to COCO's format.",
    )


def _pictures(entries: list[Any], path: Path) -> dict[Any, _Picture]:
    pictures = {}
    for entry in entries:
        try:
            size_px = int(entry["width"]), int(entry["height"])
            url = str(entry.get("coco_url", ""))
            names = [entry["file_name"]] if "file_name" in entry else []
            parts = (names[0] if names else url).split("/")
            names += ["/".join(parts[-2:]), parts[-1]]
            if not parts[-1] or min(size_px) < 1:
                raise ValueError("it has no file name, or no size")
            if size_px[0] * size_px[1] > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS} pixels")
            if any(_leaves(name) for name in names):
                raise ValueError("its file lies outside of the folder of pictures")
            pictures[entry["id"]] = _Picture(tuple(names), size_px)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            text = str(entry)
            raise InputError(
                f"expected images in {path} to have id, width, height and file_name or coco_url, "
                f"got {text[:120]} ({type(error).__name__}: {error})",
                hint="Add the missing fields; width and height are those of the picture's file.",
            ) from error
    return pictures


def _leaves(name: str) -> bool:
    """Whether a path leads out of its folder, or is none."""
    path = PurePath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > 1024


def _category_names(raw: dict[str, Any]) -> dict[Any, str]:
    entries = raw.get("categories")
    if not isinstance(entries, list):
        return {}
    return {
        entry["id"]: str(entry["name"])
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str) and "name" in entry
    }


def _category(number: Any, names: dict[Any, str]) -> str:
    return names.get(number, str(number)) if isinstance(number, int | str) else str(number)


def _id_of(entry: Any, index: int) -> int:
    """The annotation's number, or its place in the file where it has none."""
    number = entry.get("id") if isinstance(entry, dict) else None
    return number if isinstance(number, int) else index


def _bbox(value: Any, size_px: tuple[int, int], where: str) -> tuple[float, float, float, float]:
    numbers = _numbers(value)
    if numbers is None or len(numbers) != 4 or min(numbers[2:]) < 0:
        raise InputError(
            f"{where}: expected a bbox [x, y, width, height] of finite numbers in pixels, "
            f"got {value!r}",
            hint="COCO boxes are a corner and a size, not two corners; correct the annotation.",
        )
    x, y, width, height = numbers.tolist()
    if min(width, height) > 0 and not Roi.from_pixels(x, y, width, height, size_px).overlaps_view():
        raise InputError(
            f"{where}: expected a bbox on its picture of {size_px[0]} x {size_px[1]} px, "
            f"got {value}",
            hint="The box belongs to another picture or to another size of it.",
        )
    return x, y, width, height


def _area(value: Any, where: str) -> float | None:
    if value is None:
        return None
    numbers = _numbers([value])
    if numbers is None or numbers[0] < 0:
        raise InputError(
            f"{where}: expected an area in square pixels, got {value!r}",
            hint="Correct it, or leave 'area' out: the mask is counted then.",
        )
    return float(numbers[0])


def _segmentation(
    value: Any, size_px: tuple[int, int], where: str
) -> tuple[NDArray[np.float64], ...] | Mapping[str, Any]:
    width_px, height_px = size_px
    if isinstance(value, dict):
        if value.get("size") == [height_px, width_px] and isinstance(
            value.get("counts"), str | list
        ):
            return value
        raise InputError(
            f"{where}: expected an RLE with 'counts' and a 'size' of {[height_px, width_px]} "
            f"(height, width), got size {value.get('size')!r}, keys {sorted(value)}",
            hint="The mask belongs to another size of the picture; make it anew.",
        )
    polygons = value if isinstance(value, list) else []
    arrays = [_numbers(polygon) for polygon in polygons]
    kept = [
        array for array in arrays if array is not None and len(array) >= 6 and len(array) % 2 == 0
    ]
    if not kept or len(kept) < len(polygons):
        text = repr(value)
        raise InputError(
            f"{where}: expected an RLE or a list of polygons [[x0, y0, x1, y1, x2, y2, ...], ...] "
            f"of finite numbers in the segmentation, got {text[:100]}",
            hint="A polygon has at least three points; files with boxes only cannot be used.",
        )
    return tuple(kept)


def _numbers(value: Any) -> NDArray[np.float64] | None:
    """A flat list of finite numbers as an array, or None if it is anything else."""
    if not isinstance(value, list):
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim == 1 and np.isfinite(array).all() else None


def _locate(folder: Path, names: tuple[str, ...]) -> Path:
    candidates = [folder / name for name in names]
    try:
        return next((path for path in candidates if path.is_file()), candidates[0])
    except OSError as error:  # such as a name that is too long
        raise InputError(
            f"expected a picture in {folder}, got: {error}", hint="Correct its file_name."
        ) from error


def _check_pictures(paths: list[Path], folder: Path) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f"expected the {len(paths)} annotated pictures in {folder}, got "
            f"{len(paths) - len(missing)}; {len(missing)} missing, the first is {missing[0].name}",
            hint="Give the folder that these pictures are in, or download the missing ones.",
        )
