"""Teaching in bulk: shards that training reads, resuming, reading photographs, the command."""

from __future__ import annotations

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

from picosam_sdk.errors import InputError
from picosam_sdk.training.data import read_shards
from picosam_sdk.training.labelling import LabelRules, teach
from picosam_sdk.training.shards import Photo, ShardWriter, count_photos, read_photos
from picosam_sdk.training.teacher import Teacher
from tests.training.teaching import (
    DISCS,
    command,
    count_encodes,
    disc,
    iou,
    journalled,
    png,
    run,
    scene,
)


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
