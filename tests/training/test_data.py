"""Shards, COCO folders, cut-outs, the split and the draw."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from picosam_sdk import InputError
from picosam_sdk.training import data


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def png(array: np.ndarray) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def sample_files(key: str, source: str = "made", picture: str = "a.jpg") -> dict[str, bytes]:
    """Red on the left (stored BGR), the mask on the left third."""
    bgr = np.zeros((40, 60, 3), np.uint8)
    bgr[:, :20, 2] = 250
    mask = np.zeros((40, 60), np.uint8)
    mask[:, :20] = 255
    meta = {"source": source, "image": picture, "bbox": [0, 0, 20, 40], "licence": "CC0"}
    ok, webp = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert ok
    return {
        f"{key}.webp": webp.tobytes(),
        f"{key}.json": json.dumps(meta).encode(),
        f"{key}.png": png(mask),
    }


def test_a_shard_is_read_as_rgb_with_its_mask(tmp_path: Path) -> None:
    write_tar(tmp_path / "objects-000.tar", sample_files("x1") | sample_files("x.2"))
    samples = data.read_shards([tmp_path])
    assert len(samples) == 2
    first = samples[0]
    assert first.image.shape == (40, 60, 3)
    assert first.image[5, 5, 0] > 200 > 50 > first.image[5, 5, 2]
    assert first.mask[5, 5] == 255
    assert first.mask[5, 30] == 0
    assert (first.bbox, first.source, first.picture) == ((0, 0, 20, 40), "made", "a.jpg")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x.webp": b"", "x.json": b"{}"}, r"expected x.webp or .jpg, x.png and x.json"),
        (sample_files("x") | {"x.webp": b"nonsense"}, "none of them"),
        (sample_files("x") | {"x.png": png(np.zeros((3, 3), np.uint8))}, r"as large as its crop"),
    ],
)
def test_incomplete_samples_are_refused(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    shard = write_tar(tmp_path / "bad.tar", files)
    with pytest.raises(InputError, match=message):
        data.read_shards([shard])


def test_missing_and_broken_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        data.read_shards([tmp_path])
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"not a tar file at all" * 50)
    with pytest.raises(InputError, match="expected a tar shard"):
        data.read_shards([broken])


def test_the_split_keeps_a_photograph_on_one_side_and_never_changes(tmp_path: Path) -> None:
    blank = np.zeros((4, 4, 3), np.uint8)
    samples = [
        data.Sample(blank, blank[:, :, 0], (0, 0, 4, 4), f"source{i % 3}", f"{i % 100}.jpg")
        for i in range(600)
    ]
    train, held = data.split(samples, 0.2)
    names = [{(s.source, s.picture) for s in part} for part in (train, held)]
    assert not names[0] & names[1]
    assert 0.1 < len(held) / len(samples) < 0.3
    assert data.is_held_out("ecssd", "0001.jpg", 0.04) is False
    assert data.is_held_out("ecssd", "0001.jpg", 1.0) is True


def test_the_draw_is_balanced_by_source_and_by_photograph() -> None:
    blank = np.zeros((4, 4, 3), np.uint8)

    def make(source: str, picture: str, count: int) -> list[data.Sample]:
        return [data.Sample(blank, blank[:, :, 0], (0, 0, 4, 4), source, picture)] * count

    samples = (
        make("coco", "a", 9) + make("coco", "b", 1) + make("pig", "c", 50) + make("pug", "d", 5)
    )
    weights = data.balanced_weights(samples, {"coco": 0.5}, cap=0.2)
    assert weights.sum() == pytest.approx(1)
    coco, pig, pug = weights[:10].sum(), weights[10:60].sum(), weights[60:].sum()
    assert pig == pytest.approx(pug)  # one photograph each, both at the cap
    assert coco / pig == pytest.approx(0.5 / 0.2)
    assert weights[:9].sum() == pytest.approx(weights[9])  # photograph a as likely as b


def test_coco_objects_are_cut_out_around_their_box(tmp_path: Path) -> None:
    image = np.full((300, 500, 3), 40, np.uint8)
    image[100:200, 200:260] = (10, 20, 230)  # BGR: red
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), image)
    polygon = [200, 100, 260, 100, 260, 200, 200, 200]
    raw = {
        "images": [{"id": 1, "file_name": "1.png", "width": 500, "height": 300}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [200, 100, 60, 100],
             "area": 6000, "iscrowd": 0, "segmentation": [polygon]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4],
             "area": 16, "iscrowd": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]},
        ],
    }  # fmt: skip
    (tmp_path / "small.json").write_text(json.dumps(raw))
    (sample,) = data.read_coco(tmp_path / "small.json", tmp_path / "images")  # 4 px is left out
    assert sample.image.shape == (168, 168, 3)  # 200 px around the centre, shrunk
    x, y, width, height = sample.bbox
    assert (width, height) == pytest.approx((60 * 0.84, 100 * 0.84))
    cx, cy = round(x + width / 2), round(y + height / 2)
    assert sample.image[cy, cx].tolist() == [230, 20, 10]
    assert sample.mask[cy, cx] == 255
    assert (sample.mask > 127).sum() == pytest.approx(6000 * 0.84**2, rel=0.03)


def test_cutouts_keep_their_alpha(tmp_path: Path) -> None:
    folder = tmp_path / "cutouts"
    folder.mkdir()
    bgra = np.zeros((30, 20, 4), np.uint8)
    bgra[:, :10] = (0, 0, 255, 255)
    webp = cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    write_tar(folder / "cutouts-000.tar", {"a.webp": webp})
    (folder / "cutouts.tsv").write_text("id\tsource\timage\na\tecssd\t1.jpg\n")
    (cutout,) = data.read_cutouts([folder])
    assert cutout.image[3, 3].tolist() == [255, 0, 0]
    assert cutout.mask[3, 3] == 255
    assert cutout.mask[3, 15] == 0
    assert (cutout.source, cutout.picture) == ("ecssd", "1.jpg")
