"""Photographs of coloured discs for the teacher's tests, and the steps these share."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from picosam_sdk.cli import teach as verb
from picosam_sdk.training.labelling import LabelRules, teach
from picosam_sdk.training.shards import Photo, ShardWriter
from picosam_sdk.training.teacher import Teacher
from picosam_sdk.types import ImageArray

Box = tuple[float, float, float, float]


DISCS = [(96, 72, 24, (200, 30, 30)), (32, 24, 18, (30, 60, 210)), (160, 168, 20, (240, 220, 40))]
"""x, y, radius, colour: each lies on a point of the 4 x 4 grid of a 256 x 192 photograph."""


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
