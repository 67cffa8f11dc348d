"""Two made-up pictures with four red, asymmetric objects, in COCO's and LVIS's formats."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from picosam_sdk.evaluation.annotations import Dataset, read_dataset

SIZES = {139: (320, 200), 285: (150, 240)}  # id: width_px, height_px
RED, GREY = (255, 20, 20), (90, 90, 90)

L_SHAPE = [100.0, 60.0, 124.0, 60.0, 124.0, 116.0, 180.0, 116.0, 180.0, 140.0, 100.0, 140.0]
TRIANGLE = [250.0, 20.0, 310.0, 60.0, 250.0, 44.0]

OWNER = {1: 139, 2: 139, 3: 285, 4: 285}  # annotation id: picture
NAMES = {1: "person", 62: "chair", 64: "potted plant"}  # of the categories
CROWD: dict[str, Any] = {
    "segmentation": {"counts": [240 * 150 - 10, 10], "size": [240, 150]},
    "area": 10,
    "iscrowd": 1,
    "image_id": 285,
    "bbox": [149, 230, 1, 10],
    "category_id": 1,
    "id": 900100000285,
}


@dataclass(frozen=True)
class Made:
    """The files, and the true masks by annotation id."""

    images: Path
    coco: Path
    lvis: Path
    masks: dict[int, NDArray[np.bool_]]


def uncompressed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's RLE with a list of runs, as its crowds have."""
    flat = mask.ravel(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"counts": counts, "size": list(mask.shape)}


def compressed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def coco_decode(segmentation: Any, width_px: int, height_px: int) -> NDArray[np.bool_]:
    """The mask that pycocotools makes of an RLE or of polygons, bool (height_px, width_px)."""
    if isinstance(segmentation, list):
        parts = coco_mask.frPyObjects(segmentation, height_px, width_px)
        segmentation = coco_mask.merge(parts)
    with warnings.catch_warnings():  # pycocotools 2.0.11 under numpy 2
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return np.asarray(coco_mask.decode(segmentation), dtype=bool)


def bbox(mask: NDArray[np.bool_]) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return [float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)]


def _masks() -> dict[int, NDArray[np.bool_]]:
    step = np.zeros((240, 150), bool)  # at the picture's left border
    step[20:110, 0:20] = True
    step[80:110, 20:52] = True
    wedge = np.zeros((240, 150), bool)
    for row in range(130, 230):
        wedge[row, 90 : 90 + (row - 130) // 2] = True
    return {
        1: coco_decode([L_SHAPE], *SIZES[139]),
        2: coco_decode([TRIANGLE], *SIZES[139]),
        3: step,
        4: wedge,
    }


def _draw_pictures(masks: dict[int, NDArray[np.bool_]], images: Path) -> None:
    for image_id, (width_px, height_px) in SIZES.items():
        picture = np.full((height_px, width_px, 3), GREY, np.uint8)
        for number, mask in masks.items():
            if OWNER[number] == image_id:
                picture[mask] = RED
        assert cv2.imwrite(
            str(images / f"{image_id:012d}.jpg"),
            picture[:, :, ::-1],
            [
                *(cv2.IMWRITE_JPEG_QUALITY, 98),
                *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
            ],
        )


def _annotations(masks: dict[int, NDArray[np.bool_]]) -> list[dict[str, Any]]:
    return [
        {
            "segmentation": segmentation,
            "area": float(masks[number].sum()),
            "iscrowd": 0,
            "image_id": OWNER[number],
            "bbox": bbox(masks[number]),
            "category_id": category_id,
            "id": number,
        }
        for number, segmentation, category_id in (
            (1, [L_SHAPE], 64),
            (2, [TRIANGLE], 62),
            (3, uncompressed(masks[3]), 62),
            (4, compressed(masks[4]), 64),
        )
    ]


def _coco(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "info": {"description": "made up", "year": 2017},
        "licenses": [{"url": "http://example.org", "id": 4, "name": "Attribution License"}],
        "images": [
            {
                "license": 4,
                "file_name": f"{image_id:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/val2017/{image_id:012d}.jpg",
                "height": size[1],
                "width": size[0],
                "date_captured": "2013-11-21 01:34:01",
                "flickr_url": "http://example.org/1.jpg",
                "id": image_id,
            }
            for image_id, size in SIZES.items()
        ],
        "annotations": [*annotations, CROWD],
        "categories": [
            {"supercategory": "any", "id": number, "name": name} for number, name in NAMES.items()
        ],
    }


def _lvis(coco: dict[str, Any]) -> dict[str, Any]:
    """The same pictures and the first two objects, as LVIS writes them."""
    return {
        "info": {"description": "made up", "version": "v1.0"},
        "licenses": coco["licenses"],
        "images": [
            {key: value for key, value in image.items() if key != "file_name"}
            | {"neg_category_ids": [12, 61], "not_exhaustive_category_ids": [62]}
            for image in coco["images"]
        ],
        "annotations": [
            {key: value for key, value in annotation.items() if key != "iscrowd"}
            for annotation in coco["annotations"][:2]
        ],
        "categories": [
            {
                "id": number,
                "name": name.replace(" ", "_"),
                "synset": f"{name}.n.01",
                "synonyms": [name],
                "def": "a thing",
                "frequency": "f",
                "image_count": 1,
                "instance_count": 1,
            }
            for number, name in NAMES.items()
        ],
    }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    images = folder / "val2017"
    images.mkdir()
    masks = _masks()
    _draw_pictures(masks, images)
    coco = _coco(_annotations(masks))
    (folder / "instances_val2017.json").write_text(json.dumps(coco))
    (folder / "lvis_v1_val.json").write_text(json.dumps(_lvis(coco)))
    return Made(images, folder / "instances_val2017.json", folder / "lvis_v1_val.json", masks)


@pytest.fixture(scope="session")
def dataset(made: Made) -> Dataset:
    return read_dataset(made.coco, made.images)


@pytest.fixture(name="coco_decode", scope="session")
def fixture_coco_decode() -> Any:
    return coco_decode


@pytest.fixture
def edited(made: Made, tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy of the COCO file after ``edit(raw)`` and gives its path."""

    def write(edit: Callable[[dict[str, Any]], object]) -> Path:
        raw = json.loads(made.coco.read_text())
        edit(raw)
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(raw))
        return path

    return write
