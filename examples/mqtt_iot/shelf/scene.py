"""Makes a film of a shelf on which things are put and taken away, and writes down what happens.

Usage: scene.py FOLDER [--fps 16] [--seed 1]

The folder receives ``shelf.mp4`` and ``truth.json``: for each change, the frame from which on a
thing stands there or is gone. The things are cut out of the SDK's photographs. What makes it hard
is meant to: a poster of a cat and a row of books are part of the empty shelf; an arm brings and
takes things, and reaches in twice without doing anything; the lamp is dimmed while some places are
empty; the picture is noisy and shakes by half a pixel.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from picosam_sdk import load_image
from picosam_sdk.evaluation.annotations import bundled_dataset

SIZE_PX = (640, 360)
PLACES = {  # where things stand: x of the middle, y of the board's upper edge, in pixels
    "top_left": (200, 156),
    "top_right": (433, 156),
    "bottom_left": (200, 317),
    "bottom_right": (433, 317),
}
HEIGHT_PX = {"cup": 86, "cup with saucer": 110, "astronaut": 114, "helmet": 74, "rocket": 120}
PLAN = (  # seconds, place, the thing that stands there from then on; "" none; "..." a mere reach
    (4.0, "top_left", "cup"),
    (6.0, "bottom_right", "helmet"),
    (8.0, "top_right", "..."),
    (10.0, "bottom_left", "astronaut"),
    (12.5, "top_left", "cup with saucer"),
    (15.0, "bottom_right", ""),
    (17.5, "top_right", "rocket"),
    (19.5, "bottom_left", ""),
    (21.5, "bottom_right", "..."),
    (23.5, "top_left", ""),
    (25.5, "bottom_right", "cup"),
    (27.5, "top_right", ""),
)
SECONDS = 30.0
REACH_S = 0.6  # the arm's way in, and again its way out
DIMMED_S = (16.0, 17.0)  # while the lamp is dimmed by a fifth, and becomes warmer
SLEEVE, HAND = (62, 74, 110), (205, 160, 132)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Thing:
    """Colours, float32 (h, w, 3), and opacity, 0 to 1, of something that can stand on a shelf."""

    color: NDArray[np.float32]
    alpha: NDArray[np.float32]


def make_things() -> dict[str, Thing]:
    """The photographs' objects, at the size that they have on the shelf."""
    things = {}
    for instance in bundled_dataset().instances:
        if instance.category not in HEIGHT_PX:
            continue
        x, y, width, height = (round(value) for value in instance.bbox)
        photo = load_image(instance.image)[y : y + height, x : x + width].astype(np.float32)
        bits = instance.mask()[y : y + height, x : x + width].astype(np.float32)
        size = (
            round(width * HEIGHT_PX[instance.category] / height),
            HEIGHT_PX[instance.category],
        )
        alpha = cv2.resize(bits, size, interpolation=cv2.INTER_AREA)[..., None]
        color = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        things[instance.category] = Thing(color, alpha)
    return things


def make_shelf(rng: np.random.Generator) -> Picture:
    """The empty shelf: a wall, two boards, a poster and some books."""
    coarse = rng.normal(0, 6, (14, 24)).astype(np.float32)
    wall = cv2.resize(coarse, SIZE_PX, interpolation=cv2.INTER_CUBIC)[..., None] + [196, 190, 176]
    poster = load_image(next(i.image for i in bundled_dataset().instances if i.category == "eye"))
    wall[26:126, 373:524] = cv2.resize(poster, (151, 100), interpolation=cv2.INTER_AREA)
    for _, board in (PLACES["top_left"], PLACES["bottom_left"]):
        grain = rng.normal(0, 1, (18, 60)).astype(np.float32)
        wood = cv2.resize(grain, (SIZE_PX[0], 18), interpolation=cv2.INTER_CUBIC)[..., None]
        wall[board : board + 18] = wood * [9, 8, 6] + [142, 101, 62]
        wall[board + 18 : board + 28] *= np.linspace(0.7, 1, 10)[:, None, None]  # its shadow
        for left in range(26, 126, 20):  # books, the last of which reaches into a place
            top = board - int(rng.integers(64, 100))
            wall[top:board, left : left + 18] = rng.uniform(40, 190, 3)
            wall[top + 8 : top + 11, left + 3 : left + 15] = 220
    shelf: Picture = np.clip(wall, 0, 255).astype(np.uint8)
    return shelf


def put(picture: Picture, thing: Thing, middle_x: float, bottom_y: float, margin: int = 16) -> None:
    """Draws a thing with a soft shadow behind it."""
    height, width = (size + 2 * margin for size in thing.alpha.shape[:2])
    x, y = round(middle_x - width / 2), round(bottom_y - height + margin)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, SIZE_PX[0]), min(y + height, SIZE_PX[1])
    if x1 <= x0 or y1 <= y0:
        return
    around = ((margin, margin), (margin, margin), (0, 0))
    alpha, color = np.pad(thing.alpha, around), np.pad(thing.color, around)
    shade = 1 - 0.3 * cv2.GaussianBlur(np.roll(alpha[..., 0], (3, 6), (0, 1)), (0, 0), 5)
    part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    behind = picture[y0:y1, x0:x1] * shade[part][..., None]
    picture[y0:y1, x0:x1] = (behind + alpha[part] * (color[part] - behind)).astype(np.uint8)


class Scene:
    """Draws the shelf at any time; ``draw`` is to be called in the order of time."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._shelf, self._things = make_shelf(self._rng), make_things()
        grain = self._rng.normal(0, 3, (SIZE_PX[1], SIZE_PX[0], 1)).round()
        self._grain = grain.astype(np.int8).repeat(3, axis=2)

    def draw(self, t: float) -> Picture:
        """The picture at a time in s, RGB."""
        picture = self._shelf.copy()
        standing, moves = dict.fromkeys(PLACES, ""), []
        for when, place, name in PLAN:
            after = standing[place] if name == "..." else name
            if abs(t - when) < REACH_S:
                moves.append((place, (t - when) / REACH_S, standing[place], after))
            if t >= when:
                standing[place] = after
        for place, name in standing.items():
            if name:
                put(picture, self._things[name], *PLACES[place])
        for move in moves:
            self._reach(picture, *move)
        return self._through_the_camera(picture, t)

    def _reach(self, picture: Picture, place: str, phase: float, before: str, after: str) -> None:
        """An arm from the right, which brings what is put down, and takes what is taken."""
        away = 600 * phase**2  # how far the hand still, or again, has to go
        x, y = PLACES[place][0] + away, PLACES[place][1] + 0.28 * away
        carried = after if phase < 0 else before if not after else ""
        if carried and before != after:
            put(picture, self._things[carried], x, y)
        hand = (round(x) + 30, round(y) - 60)
        shoulder = (hand[0] + 600, hand[1] + 173)
        cv2.line(picture, (hand[0] + 27, hand[1] + 7), shoulder, SLEEVE, 50, cv2.LINE_AA)
        cv2.line(picture, hand, (hand[0] + 40, hand[1] + 11), HAND, 32, cv2.LINE_AA)

    def _through_the_camera(self, picture: Picture, t: float) -> Picture:
        dimmed = np.clip((t - DIMMED_S[0]) / (DIMMED_S[1] - DIMMED_S[0]), 0, 1)
        light = 1 - dimmed * np.array([0.17, 0.20, 0.26, 0])
        shake = np.array([[1, 0, 0], [0, 1, 0.0]])
        shake[:, 2] = self._rng.normal(0, 0.5, 2)
        moved = cv2.warpAffine(picture, shake, SIZE_PX, borderMode=cv2.BORDER_REPLICATE)
        noise = np.roll(self._grain, self._rng.integers(0, 300, 2), axis=(0, 1))
        seen: Picture = cv2.add(cv2.multiply(moved, light), noise, dtype=cv2.CV_8U)
        return seen


def truth(fps: int) -> list[dict[str, Any]]:
    """What an observer would say: frame, region, and enter, leave or change."""
    events, standing = [], dict.fromkeys(PLACES, "")
    for when, place, name in PLAN:
        if name != "...":
            kind = "leave" if not name else "change" if standing[place] else "enter"
            standing[place] = name
            events.append({"frame": round(when * fps), "region": place, "event_type": kind})
    return events


def make_scene(folder: Path, fps: int = 16, seed: int = 1) -> None:
    """Writes the film and what happens in it."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = Scene(seed)
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    film = cv2.VideoWriter(str(folder / "shelf.mp4"), codec, fps, SIZE_PX)
    frames = range(round(SECONDS * fps))
    for index in tqdm(frames, unit="frame", desc="making the film", leave=False, disable=None):
        film.write(scene.draw(index / fps)[..., ::-1])
    film.release()
    (folder / "truth.json").write_text(json.dumps({"fps": fps, "events": truth(fps)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the two files go")
    parser.add_argument("--fps", type=int, default=16, help="frames a second (default: 16)")
    parser.add_argument("--seed", type=int, default=1, help="of noise and textures (default: 1)")
    args = parser.parse_args()
    make_scene(args.folder, args.fps, args.seed)
    print(f"wrote {args.folder}/shelf.mp4 and truth.json")


if __name__ == "__main__":
    main()
