"""The teacher, on a tiny stand-in for SAM that marks what has the colour of the prompt's centre."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from picosam_sdk.errors import ConfigError, ModelError
from picosam_sdk.training.labelling import LabelRules, label
from picosam_sdk.training.teacher import Teacher
from tests.training.fake_sam import write_decoder, write_encoder
from tests.training.teaching import DISCS, Box, disc, iou, scene


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
