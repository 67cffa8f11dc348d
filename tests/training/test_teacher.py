"""The teacher, on a tiny stand-in for SAM that marks what has the colour of the prompt's centre."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from picosam_sdk.cli import teach as verb
from picosam_sdk.errors import ConfigError, InputError, ModelError
from picosam_sdk.training.data import read_shards
from picosam_sdk.training.labelling import LabelRules, label, teach
from picosam_sdk.training.shards import Photo, ShardWriter, count_photos, read_photos
from picosam_sdk.training.teacher import Teacher
from picosam_sdk.types import ImageArray
from tests.training.fake_sam import write_decoder, write_encoder

DISCS = [(96, 72, 24, (200, 30, 30)), (32, 24, 18, (30, 60, 210)), (160, 168, 20, (240, 220, 40))]
"""x, y, radius, colour: each lies on a point of the 4 x 4 grid of a 256 x 192 photograph."""


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sam")
    return write_encoder(folder / "encoder.onnx"), write_decoder(folder / "decoder.onnx")


@pytest.fixture(scope="module")
def teacher(sam: tuple[Path, Path]) -> Teacher:
    return Teacher(*sam)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Five photographs in a folder: the discs on five shades of grey."""
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    for index in range(5):
        name = f"inner/{index}.png" if index == 4 else f"{index}.png"
        (folder / name).write_bytes(png(scene(grey=100 + 5 * index)))
    return folder


class TestLabel:
    def test_box_prompts_give_the_object_in_the_box(self, teacher: Teacher) -> None:
        boxes = [(72.0, 48.0, 48.0, 48.0)]
        (item,) = label(teacher, scene(), boxes, LabelRules(grid=0))
        assert item.prompt == "box"
        assert item.iou == pytest.approx(0.95)
        assert iou(item.bits, disc(0)) > 0.97

    def test_mask_ends_at_the_grown_box(self, teacher: Teacher) -> None:
        upper_half = (72.0, 46.0, 48.0, 40.0)  # it holds the disc's centre
        (item,) = label(teacher, scene(), [upper_half], LabelRules(grid=0))
        rows = np.flatnonzero(item.bits.any(1))
        assert rows[-1] <= 46 + 40 + 0.05 * 40 + 1

    def test_points_find_every_object_and_not_the_background(self, teacher: Teacher) -> None:
        items = label(teacher, scene(), [], LabelRules())
        assert {item.prompt for item in items} == {"point"}
        assert len(items) == len(DISCS)
        for index in range(len(DISCS)):
            assert max(iou(item.bits, disc(index)) for item in items) > 0.97

    def test_an_object_with_a_box_is_not_found_again(self, teacher: Teacher) -> None:
        box = (72.0, 48.0, 48.0, 48.0)
        items = label(teacher, scene(), [box, box, (71.0, 47.0, 49.0, 50.0)], LabelRules())
        assert Counter(item.prompt for item in items) == {"box": 1, "point": len(DISCS) - 1}

    @pytest.mark.parametrize(
        "box",
        [
            (90.0, 66.0, 12.0, 12.0),
            (0.0, 0.0, 256.0, 190.0),
            (72.0, float("nan"), 48.0, 48.0),
            (300.0, 200.0, 40.0, 40.0),
            (0.0, 0.0, float("inf"), 9.0),
        ],
    )
    def test_tiny_near_full_and_impossible_boxes_give_nothing(
        self, teacher: Teacher, box: Box
    ) -> None:
        assert label(teacher, scene(), [box], LabelRules(grid=0)) == []

    def test_max_objects_keeps_a_mix_of_sizes(self, teacher: Teacher) -> None:
        discs = [
            (96, 72, 60, (200, 30, 30)),
            (32, 24, 12, (30, 60, 210)),
            (224, 24, 12, (240, 220, 40)),
        ]
        items = label(teacher, scene(discs=discs), [], LabelRules(max_objects=2))
        assert len(items) == 2
        areas = sorted(int(item.bits.sum()) for item in items)
        assert areas[0] < 600 < 8000 < areas[1]

    def test_an_unsure_teacher_is_not_believed(
        self, tmp_path: Path, sam: tuple[Path, Path]
    ) -> None:
        unsure = Teacher(sam[0], write_decoder(tmp_path / "unsure.onnx", predicted=0.5))
        assert label(unsure, scene(), [(72.0, 48.0, 48.0, 48.0)], LabelRules()) == []

    def test_a_vague_outline_is_dropped(self, tmp_path: Path, sam: tuple[Path, Path]) -> None:
        vague = Teacher(sam[0], write_decoder(tmp_path / "vague.onnx", steep=0.1))
        assert label(vague, scene(), [(72.0, 48.0, 48.0, 48.0)], LabelRules()) == []

    def test_scattered_masks_are_dropped(self, teacher: Teacher) -> None:
        red = (200, 30, 30)
        discs = [(96, 72, 16, red), (224, 120, 16, red), (32, 168, 16, red)]
        assert label(teacher, scene(discs=discs), [], LabelRules()) == []

    def test_wide_and_tall_photographs_lie_right_on_the_grid(self, teacher: Teacher) -> None:
        image = cv2.resize(scene(), (192, 512))  # twice the encoder's side, tall
        (item,) = label(teacher, image, [(54.0, 128.0, 36.0, 128.0)], LabelRules(grid=0))
        assert item.bits.shape == (256, 96)
        rows, columns = np.flatnonzero(item.bits.any(1)), np.flatnonzero(item.bits.any(0))
        assert np.allclose(
            [rows[0], rows[-1], columns[0], columns[-1]], [64, 127, 27, 44], atol=2.5
        )

    @pytest.mark.parametrize("size", [(600, 3), (3, 600), (1, 1), (40, 40)])
    def test_odd_sizes(self, teacher: Teacher, size: tuple[int, int]) -> None:
        image = cv2.resize(scene(), size, interpolation=cv2.INTER_NEAREST)
        box = (0.0, 0.0, size[0] * 0.5, size[1] * 0.5)
        assert len(label(teacher, image, [box], LabelRules())) <= len(DISCS)

    @pytest.mark.parametrize("wrong", [{"max_objects": 0}, {"grid": -1}])
    def test_rules_out_of_range(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ConfigError):
            LabelRules(**wrong)


class TestShards:
    def test_training_reads_what_the_teacher_wrote(self, teacher: Teacher, tmp_path: Path) -> None:
        photo = Photo(png(scene()), "album", "a.png", "CC0", ((72.0, 48.0, 48.0, 48.0),))
        run(teacher, [photo], tmp_path / "out", LabelRules(grid=0))
        (sample,) = read_shards([tmp_path / "out"])
        assert (sample.source, sample.picture) == ("album", "a.png")
        assert sample.image.shape == (98, 98, 3)  # one box side from the centre each way
        assert sample.bbox == (24, 24, 49, 49)
        assert iou(sample.mask > 127, disc(0)[24:122, 48:146]) > 0.98
        assert np.abs(sample.image[48, 48].astype(int) - DISCS[0][3]).max() < 25

    def test_masks_are_soft_at_the_outline_only(self, teacher: Teacher, tmp_path: Path) -> None:
        image = cv2.resize(scene(), (384, 288), interpolation=cv2.INTER_NEAREST)
        run(teacher, [Photo(png(image), "album", "a.png")], tmp_path)
        samples = read_shards([tmp_path])
        assert len(samples) == len(DISCS)
        for sample in samples:
            soft = (sample.mask > 13) & (sample.mask < 242)
            assert sample.mask.dtype == np.uint8
            assert 0 < soft.mean() < 0.15
            assert (sample.mask.min(), sample.mask.max()) == (0, 255)

    def test_a_large_crop_is_made_smaller(self, teacher: Teacher, tmp_path: Path) -> None:
        image = cv2.resize(scene(), (1024, 768), interpolation=cv2.INTER_NEAREST)
        run(teacher, [Photo(png(image), "album", "a.png")], tmp_path)
        crops = [sample.image.shape[:2] for sample in read_shards([tmp_path])]
        assert len(crops) == len(DISCS)
        assert {max(crop) for crop in crops} == {168}

    def test_json_says_where_it_comes_from(self, teacher: Teacher, tmp_path: Path) -> None:
        run(teacher, [Photo(png(scene()), "album", "a.png", "CC0")], tmp_path)
        with tarfile.open(tmp_path / "objects-000.tar") as archive:
            names = archive.getnames()
            meta = json.load(archive.extractfile(names[2]) or io.BytesIO())
        assert [Path(name).suffix for name in names] == [".webp", ".png", ".json"] * len(DISCS)
        assert {"source": "album", "image": "a.png", "licence": "CC0"}.items() <= meta.items()
        assert meta["prompt"] == "point"
        assert meta["teacher_iou"] == pytest.approx(0.95)

    def test_shards_are_finished_one_at_a_time(
        self, teacher: Teacher, album: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        with ShardWriter(out, size=5) as writer:
            seen = []
            for _ in teach(teacher, read_photos([album]), writer, LabelRules()):
                seen.append(len(list(out.glob("*.tar"))))
        assert seen == [0, 1, 1, 2, 2]  # three objects a photograph
        assert not list(out.glob("*.part"))
        assert len(read_shards([out])) == 15


class TestResume:
    def test_no_photograph_is_labelled_twice(
        self, teacher: Teacher, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded = count_encodes(monkeypatch)
        copy = tmp_path / "album2"
        copy.mkdir()
        (copy / "again.png").write_bytes((album / "0.png").read_bytes())
        photos = list(read_photos([album, copy]))
        out = tmp_path / "out"
        assert run(teacher, photos[:2], out) == [3, 3]
        assert run(teacher, photos, out) == [None, None, 3, 3, 3, None]
        assert run(teacher, photos, out) == [None] * 6
        assert len(encoded) == 5
        assert Counter(journalled(out)) == {photo.key: 1 for photo in photos}
        assert len(read_shards([out])) == 15

    def test_goes_on_after_a_kill(self, teacher: Teacher, album: Path, tmp_path: Path) -> None:
        photos = list(read_photos([album]))
        out = tmp_path / "out"
        with ShardWriter(tmp_path / "running") as writer:
            for _ in teach(teacher, photos[:3], writer, LabelRules()):
                pass
            shutil.copytree(writer.folder, out)  # what a process killed now would leave
        with (out / "objects-000.tar.part").open("ab") as file:
            file.write(b"half a sample")
        with (out / "journal.jsonl").open("a") as file:
            file.write('{"photo": "0123')
        assert run(teacher, photos, out) == [None, None, None, 3, 3]
        assert [path.name for path in out.glob("*.tar*")] == ["objects-000.tar"]
        assert len(journalled(out)) == 5
        assert len(read_shards([out])) == 15

    def test_an_error_leaves_readable_shards(
        self, teacher: Teacher, album: Path, tmp_path: Path
    ) -> None:
        def failing() -> Iterator[Photo]:
            yield from list(read_photos([album]))[:2]
            raise RuntimeError("the disk is gone")

        with ShardWriter(tmp_path) as writer, pytest.raises(RuntimeError):
            list(teach(teacher, failing(), writer, LabelRules()))
        assert len(read_shards([tmp_path])) == 6

    def test_an_undecodable_photograph_is_passed_over(
        self, teacher: Teacher, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        photos = [Photo(b"no picture", "album", "bad.jpg"), Photo(png(scene()), "album", "a.png")]
        assert run(teacher, photos, tmp_path) == [0, 3]
        assert "bad.jpg" in caplog.text

    def test_one_run_a_folder(self, tmp_path: Path) -> None:
        with ShardWriter(tmp_path), pytest.raises(InputError, match="another run"):
            ShardWriter(tmp_path)

    def test_a_foreign_journal_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "journal.jsonl").write_text('{"page": 1}\n')
        with pytest.raises(InputError, match="journal"):
            ShardWriter(tmp_path)


class TestReadPhotos:
    def test_folder(self, album: Path) -> None:
        (album / "0.json").write_text('{"boxes": [[1, 2, 3, 4]], "licence": "CC0"}')
        photos = list(read_photos([album]))
        assert [photo.picture for photo in photos] == [
            "0.png", "1.png", "2.png", "3.png", "inner/4.png",
        ]  # fmt: skip
        assert {photo.source for photo in photos} == {"album"}
        assert photos[0].boxes == ((1.0, 2.0, 3.0, 4.0),)
        assert [photo.licence for photo in photos] == ["CC0"] + ["not stated"] * 4
        assert count_photos([album]) == 5

    def test_shard(self, tmp_path: Path) -> None:
        meta = {"source": "zoo", "path": "x/y.jpg", "licence": "MIT", "boxes": [[1, 2, 30, 40]]}
        shard = tmp_path / "photos-000.tar"
        with tarfile.open(shard, "w") as archive:
            for name, data in {"7.jpg": png(scene()), "7.json": json.dumps(meta).encode()}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        (photo,) = read_photos([tmp_path])
        assert (photo.source, photo.picture, photo.licence) == ("zoo", "x/y.jpg", "MIT")
        assert photo.boxes == ((1.0, 2.0, 30.0, 40.0),)
        assert np.array_equal(photo.decode(), scene())
        assert count_photos([shard]) == 1

    def test_errors_say_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "broken.tar").write_bytes(b"x" * 2000)
        (tmp_path / "a.png").write_bytes(png(scene()))
        (tmp_path / "a.json").write_text('{"boxes": [[1, 2]]}')
        for path in ("empty", "missing", "broken.tar", "a.png"):
            with pytest.raises(InputError) as caught:
                list(read_photos([tmp_path / path]))
            assert path.split(".")[0] in str(caught.value)
            assert caught.value.hint


class TestModels:
    def test_missing_file(self, sam: tuple[Path, Path], tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none\.onnx"):
            Teacher(tmp_path / "none.onnx", sam[1])

    def test_no_onnx(self, sam: tuple[Path, Path], tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("hello")
        with pytest.raises(ModelError, match="expected an ONNX model"):
            Teacher(sam[0], tmp_path / "text.onnx")

    def test_swapped_files(self, sam: tuple[Path, Path]) -> None:
        with pytest.raises(ModelError, match="expected an encoder") as caught:
            Teacher(sam[1], sam[0])
        assert "swapped" in caught.value.hint

    def test_files_that_do_not_fit_each_other(self, sam: tuple[Path, Path], tmp_path: Path) -> None:
        small = write_encoder(tmp_path / "small.onnx", side=64)
        with pytest.raises(ModelError, match="image_embeddings") as caught:
            label(Teacher(small, sam[1]), scene(), [], LabelRules())
        assert "same model" in caught.value.hint

    def test_decoder_without_masks(self, sam: tuple[Path, Path]) -> None:
        with pytest.raises(ModelError, match="low_res_masks"):
            Teacher(sam[0], sam[0])


class TestCommand:
    def test_writes_counts_as_json(
        self,
        sam: tuple[Path, Path],
        album: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        arguments = command(sam, album, tmp_path / "out", "--limit", "2", "--json")
        assert arguments.run(arguments) == 0
        counts = json.loads(capsys.readouterr().out)
        assert (counts["photos"], counts["objects"], counts["stopped"]) == (2, 6, False)
        arguments = command(sam, album, tmp_path / "out", "--json")
        assert arguments.run(arguments) == 0
        counts = json.loads(capsys.readouterr().out)
        assert (counts["photos"], counts["photos_done_before"]) == (3, 2)
        assert counts["objects_in_all"] == len(read_shards([tmp_path / "out"])) == 15

    def test_ctrl_c_ends_after_the_photograph_in_hand(
        self,
        sam: tuple[Path, Path],
        album: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        encoded = count_encodes(monkeypatch, interrupt_at=2)
        before = signal.getsignal(signal.SIGINT)
        arguments = command(sam, album, tmp_path / "out")
        assert arguments.run(arguments) == 130
        assert len(encoded) == 2
        assert signal.getsignal(signal.SIGINT) is before
        assert "2 photographs labelled" in capsys.readouterr().out
        assert len(read_shards([tmp_path / "out"])) == 6

    def test_counts_below_one_are_wrong_usage(self, sam: tuple[Path, Path], album: Path) -> None:
        with pytest.raises(SystemExit):
            command(sam, album, album, "--limit", "0")


Box = tuple[float, float, float, float]


def scene(
    grey: int = 120, discs: list[tuple[int, int, int, tuple[int, int, int]]] = DISCS
) -> ImageArray:
    """A photograph of coloured discs on grey, uint8 (192, 256, 3)."""
    image = np.full((192, 256, 3), grey, np.uint8)
    for x, y, radius, colour in discs:
        cv2.circle(image, (x, y), radius, colour, -1)
    return image


def disc(index: int) -> np.ndarray:
    """The mask of one disc, bool (192, 256)."""
    return np.asarray((scene() == DISCS[index][3]).all(2))


def png(image: ImageArray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def run(
    teacher: Teacher, photos: list[Photo], out: Path, rules: LabelRules | None = None
) -> list[int | None]:
    with ShardWriter(out) as writer:
        return [count for _, count in teach(teacher, photos, writer, rules or LabelRules())]


def journalled(folder: Path) -> list[str]:
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)["photo"] for line in lines]


def count_encodes(monkeypatch: pytest.MonkeyPatch, interrupt_at: int = 0) -> list[ImageArray]:
    """Notes each encoded photograph; presses Ctrl-C while the given one is in hand."""
    encoded: list[ImageArray] = []
    original = Teacher.encode

    def encode(self: Teacher, image: ImageArray) -> object:
        encoded.append(image)
        if len(encoded) == interrupt_at:
            signal.raise_signal(signal.SIGINT)
        return original(self, image)

    monkeypatch.setattr(Teacher, "encode", encode)
    return encoded


def command(sam: tuple[Path, Path], photos: Path, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    files = ["--encoder", str(sam[0]), "--decoder", str(sam[1]), "-o", str(out)]
    return parser.parse_args(["teach", str(photos), *files, *more])
