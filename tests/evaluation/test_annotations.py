"""Annotation files: both formats, every kind of mask, every kind of damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picosam_sdk import InputError
from picosam_sdk.evaluation.annotations import read_dataset
from picosam_sdk.evaluation.polygons import polygon_mask

Edit = Callable[[dict[str, Any]], object]


def test_coco_objects_come_in_order_without_crowds(made: Any) -> None:
    dataset = read_dataset(made.coco, made.images)
    assert [instance.id for instance in dataset.instances] == [1, 2, 3, 4]
    assert [instance.category for instance in dataset.instances] == [
        "potted plant", "chair", "chair", "potted plant",
    ]  # fmt: skip
    assert dataset.crowds == 1
    assert dataset.empty == 0
    first = dataset.instances[0]
    assert first.image == made.images / "000000000139.jpg"
    assert first.bbox == (100, 60, 80, 80)
    assert first.size_px == (320, 200)
    assert first.area == made.masks[1].sum()


def test_polygons_and_both_kinds_of_rle_give_the_true_masks(made: Any) -> None:
    for instance in read_dataset(made.coco, made.images).instances:
        mask = instance.mask()
        assert mask.dtype == np.bool_
        assert np.array_equal(mask, made.masks[instance.id])


@pytest.mark.parametrize("folder", ["val2017", "."])
def test_lvis_finds_its_pictures_by_their_url(made: Any, folder: str) -> None:
    dataset = read_dataset(made.lvis, made.images.parent / folder)
    assert [instance.image.name for instance in dataset.instances] == ["000000000139.jpg"] * 2
    assert all(instance.image.is_file() for instance in dataset.instances)
    assert dataset.instances[0].category == "potted_plant"
    assert np.array_equal(dataset.instances[0].mask(), made.masks[1])


def test_several_polygons_are_one_object(made: Any, edited: Any) -> None:
    halves = [[0, 0, 10, 0, 10, 10, 0, 10], [5, 0, 20, 0, 20, 10, 5, 10]]
    path = edited(lambda raw: raw["annotations"][0].update(segmentation=halves))
    mask = read_dataset(path, made.images).instances[0].mask()
    assert mask.sum() == mask[:10, :20].sum() == 200


def test_boxes_without_area_are_left_out_and_counted(made: Any, edited: Any) -> None:
    path = edited(lambda raw: raw["annotations"][1].update(bbox=[5, 5, 3, 0]))
    dataset = read_dataset(path, made.images)
    assert [instance.id for instance in dataset.instances] == [1, 3, 4]
    assert dataset.empty == 1


def test_what_may_be_missing(made: Any, edited: Any) -> None:
    def edit(raw: dict[str, Any]) -> None:
        del raw["categories"]
        for annotation in raw["annotations"]:
            del annotation["area"], annotation["id"], annotation["iscrowd"]
        raw["annotations"].pop()

    dataset = read_dataset(edited(edit), made.images)
    assert [instance.id for instance in dataset.instances] == [0, 1, 2, 3]
    assert {instance.area for instance in dataset.instances} == {None}
    assert dataset.instances[0].category == "64"


def annotation(**values: Any) -> Edit:
    return lambda raw: raw["annotations"][0].update(values)


BROKEN: dict[str, tuple[Edit, str]] = {
    "no annotations": (lambda raw: raw.pop("annotations"), "'images' and 'annotations'"),
    "images no list": (lambda raw: raw.update(images={}), "'images' that is no list"),
    "image without size": (lambda raw: raw["images"][0].pop("width"), "width, height"),
    "image without name": (
        lambda raw: (raw["images"][0].pop("file_name"), raw["images"][0].pop("coco_url")),
        "file_name or coco_url",
    ),
    "image no object": (lambda raw: raw["images"].append(7), "got 7"),
    "annotation no object": (lambda raw: raw["annotations"].insert(0, [1]), "no image_id"),
    "unknown image": (annotation(image_id=7), "one of its 2 images, got 7"),
    "bbox missing": (lambda raw: raw["annotations"][0].pop("bbox"), "bbox .* got None"),
    "bbox short": (annotation(bbox=[1, 2, 3]), r"bbox .* got \[1, 2, 3\]"),
    "bbox of corners": (annotation(bbox=[90, 90, -10, 20]), "bbox .* got"),
    "bbox NaN": (annotation(bbox=[1, 2, float("nan"), 4]), "finite numbers .* nan"),
    "bbox of text": (annotation(bbox=["a", 2, 3, 4]), "finite numbers"),
    "bbox elsewhere": (annotation(bbox=[500, 10, 20, 20]), "on its picture of 320 x 200 px"),
    "area negative": (annotation(area=-3), "area .* got -3"),
    "segmentation missing": (lambda raw: raw["annotations"][0].pop("segmentation"), "got None"),
    "segmentation empty": (annotation(segmentation=[]), r"polygons .* got \[\]"),
    "polygon flat": (annotation(segmentation=[1, 2, 3, 4, 5, 6]), "polygons"),
    "polygon of two points": (annotation(segmentation=[[1, 2, 3, 4]]), "polygons"),
    "polygon odd": (annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "polygons"),
    "polygon infinite": (annotation(segmentation=[[1, 2, 3, 4, 5, float("inf")]]), "finite"),
    "rle of another size": (
        annotation(segmentation={"size": [320, 200], "counts": [64000]}),
        r"'size' of \[200, 320\]",
    ),
    "rle without counts": (annotation(segmentation={"size": [200, 320]}), "'counts'"),
    "all crowds": (
        lambda raw: [entry.update(iscrowd=1) for entry in raw["annotations"]],
        "got none .*5 crowds",
    ),
    "pictures missing": (
        lambda raw: raw["images"][0].update(file_name="gone.jpg", coco_url=""),
        "the 2 annotated pictures in .*val2017, got 1; 1 missing, the first is gone.jpg",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_say_what_is_wrong(name: str, made: Any, edited: Any) -> None:
    edit, message = BROKEN[name]
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(edited(edit), made.images)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON"),
        (b"<xml/>", "expected JSON"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "expected JSON"),
        (b"[]", "got a list"),
        (b'{"shapes": []}', r"only the keys \['shapes'\]"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, made: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(path, made.images)
    assert caught.value.hint


def test_paths_of_the_wrong_kind_are_refused(made: Any, tmp_path: Path) -> None:
    for path, images, message in (
        (tmp_path / "none.json", made.images, "annotation file at .*none.json, got"),
        (tmp_path, made.images, "annotation file at .*, got"),
        (made.coco, tmp_path / "none", "folder of pictures at .*none, got nothing"),
        (made.coco, made.coco, "folder of pictures at .*json, got a file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_dataset(path, images)
        assert caught.value.hint


def test_a_broken_rle_names_its_annotation(made: Any, edited: Any) -> None:
    short = {"size": [200, 320], "counts": [5, 5]}
    path = edited(lambda raw: raw["annotations"][0].update(segmentation=short))
    instance = read_dataset(path, made.images).instances[0]
    with pytest.raises(InputError, match=r"^annotation 1: .*10 pixels"):
        instance.mask()


@given(
    width_px=st.integers(1, 40),
    height_px=st.integers(1, 40),
    points=st.lists(
        st.lists(st.tuples(*[st.floats(-20, 60)] * 2), min_size=3, max_size=8),
        min_size=1,
        max_size=3,
    ),
    whole=st.booleans(),
)
def test_polygons_are_filled_as_pycocotools_does(
    coco_decode: Any,
    width_px: int,
    height_px: int,
    points: list[list[tuple[float, float]]],
    whole: bool,
) -> None:
    polygons = [np.array(part, np.float64).ravel() for part in points]
    if whole:  # vertices on pixel corners, repeated ones among them
        polygons = [np.round(part) for part in polygons]
    expected = coco_decode([part.tolist() for part in polygons], width_px, height_px)
    assert np.array_equal(polygon_mask(polygons, width_px, height_px), expected)


@pytest.mark.data
def test_masks_of_coco_are_those_of_pycocotools(data_dir: Path, coco_decode: Any) -> None:
    folder = data_dir / "eval" / "coco-dev"
    raw = json.loads((folder / "instances.json").read_text())
    dataset = read_dataset(folder / "instances.json", folder / "images")
    entries = [entry for entry in raw["annotations"] if not entry["iscrowd"]]
    assert len(entries) == len(dataset.instances)
    for entry, instance in zip(entries, dataset.instances, strict=True):
        expected = coco_decode(entry["segmentation"], *instance.size_px)
        assert np.array_equal(instance.mask(), expected)


def test_a_file_name_may_hold_folders(made: Any, edited: Any, tmp_path: Path) -> None:
    shutil.copytree(made.images, tmp_path / "flat")
    path = edited(
        lambda raw: [
            image.update(file_name=f"some/where/{image['file_name']}") for image in raw["images"]
        ]
    )
    dataset = read_dataset(path, tmp_path / "flat")
    assert {instance.image.parent for instance in dataset.instances} == {tmp_path / "flat"}
