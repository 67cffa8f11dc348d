"""Makes a clip as glasses would record it: a wall of photographs, a moving head, a gaze, the truth.

Usage: clip.py FOLDER [--seconds 12] [--fps 20] [--seed 1]

The folder receives ``scene.mp4``, and, as Pupil Labs Neon exports it, ``gaze.csv`` and
``world_timestamps.csv``; and ``truth.json``, which says for each frame what is fixated, if
anything, with the object's mask as COCO RLE. The photographs are the SDK's samples, the outlines
those of its ``instances.json``; the movement and the gaze are synthetic: fixations of 3 s
with drift and noise, saccades of some 40 ms between them, the head following the gaze slowly.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from picosam_sdk import load_image, rle
from picosam_sdk.evaluation.annotations import bundled_dataset
from picosam_sdk.evaluation.cases import inner_point

SIZE_PX = (1280, 720)
WALL_PX = (2200, 1400)
GAZE_HZ = 200
FOV_DEG = (82.0, 52.0)
PX_PER_DEG = SIZE_PX[0] / FOV_DEG[0]
SACCADE_S = 0.04
NOISE_DEG = 0.15
START_UNIX_NS = 1_750_000_000_000_000_000
ORDER = ("cup", "helmet", "astronaut", "cup")
PLACES = {
    "coffee.jpg": (180, 120, 1.4),
    "astronaut.jpg": (1180, 90, 1.15),
    "chelsea.jpg": (240, 860, 1.4),
    "rocket.jpg": (1150, 770, 1.3),
}
"""Left and top edge on the wall in pixels, and the scale, of each photograph."""


@dataclass(frozen=True)
class Target:
    """An object on the wall: its mask there, bool (h, w), and a point well inside it."""

    name: str
    bits: NDArray[np.bool_]
    point: tuple[float, float]


def make_wall(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Target]]:
    """The wall with its photographs, uint8 (h, w, 3) RGB, and the objects on it."""
    coarse = rng.normal(0, 9, (WALL_PX[1] // 40, WALL_PX[0] // 40)).astype(np.float32)
    shade = cv2.resize(coarse, WALL_PX, interpolation=cv2.INTER_CUBIC)[..., None]
    wall = np.clip(np.array([176, 168, 152]) + shade, 0, 255).astype(np.uint8)
    objects: list[Target] = []
    for instance in bundled_dataset().instances:
        left, top, scale = PLACES[instance.image.name]
        photo = load_image(instance.image)
        to_wall = np.array([[scale, 0, left], [0, scale, top]])
        place: Any = {"dsize": WALL_PX, "flags": cv2.INTER_LINEAR}
        cv2.warpAffine(photo, to_wall, dst=wall, borderMode=cv2.BORDER_TRANSPARENT, **place)
        bits = cv2.warpAffine(instance.mask().astype(np.uint8), to_wall, **place)
        place_in = inner_point(bits > 0)
        objects.append(Target(instance.category, bits.astype(bool), place_in or (0.0, 0.0)))
    by_name = {target.name: target for target in objects}
    return wall, [by_name[name] for name in ORDER]


def plan_gaze(
    targets: list[Target], seconds: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Samples of the gaze: time in s, where on the wall in pixels, and the fixated target."""
    share = seconds / len(targets)
    samples: list[dict[str, Any]] = []
    drift = np.zeros(2)
    for number in range(int(seconds * GAZE_HZ)):
        t = number / GAZE_HZ
        index = min(int(t / share), len(targets) - 1)
        here = np.array(targets[index].point)
        since = t - index * share
        flying = index > 0 and since < SACCADE_S
        if flying:
            before = np.array(targets[index - 1].point)
            step = since / SACCADE_S
            here = before + (here - before) * (3 * step**2 - 2 * step**3)
            drift[:] = 0
        drift += rng.normal(0, 0.15, 2) - 0.02 * drift
        point = here + drift + rng.normal(0, NOISE_DEG * PX_PER_DEG, 2)
        samples.append({"t": t, "at": point, "fixation": None if flying else index})
    return samples


def head_pose(t: float, looked_at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The wall to the camera at a time, float64 (2, 3): a head that sways and breathes."""
    angle = 0.02 * np.sin(2 * np.pi * 0.3 * t) + 0.01 * np.sin(2 * np.pi * 1.1 * t)
    zoom = 1.0 + 0.03 * np.sin(2 * np.pi * 0.15 * t)
    sway = np.array([12 * np.sin(2 * np.pi * 0.7 * t), 9 * np.sin(2 * np.pi * 0.9 * t + 1)])
    center = looked_at + sway
    half = np.array(SIZE_PX) / 2
    center = np.clip(center, half * 1.12, np.array(WALL_PX) - half * 1.12)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, half - turn @ center])


def make_clip(folder: Path, seconds: float = 12.0, fps: int = 20, seed: int = 1) -> None:
    """Writes the clip's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    wall, targets = make_wall(rng)
    samples = plan_gaze(targets, seconds, rng)
    video = cv2.VideoWriter(
        str(folder / "scene.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), fps, SIZE_PX
    )
    looked_at = np.array(targets[0].point)
    grain = (
        rng.normal(0, 2.5, (SIZE_PX[1], SIZE_PX[0], 1)).round().astype(np.int8).repeat(3, axis=2)
    )
    poses, truth = [], []
    for index in tqdm(range(int(seconds * fps)), unit="frame", desc="making the clip", leave=False):
        t = index / fps
        sample = samples[min(int(t * GAZE_HZ), len(samples) - 1)]
        looked_at = looked_at + 0.12 * (sample["at"] - looked_at)
        pose = head_pose(t, looked_at)
        frame = cv2.warpAffine(wall, pose, SIZE_PX, flags=cv2.INTER_LINEAR)
        noise = np.roll(grain, rng.integers(0, 500, 2), axis=(0, 1))
        video.write(cv2.add(frame[..., ::-1], noise, dtype=cv2.CV_8U))
        poses.append(pose)
        truth.append(_truth(sample, targets, pose))
    video.release()
    _write_gaze(folder, samples, poses, fps)
    (folder / "truth.json").write_text(
        json.dumps({"size_px": SIZE_PX, "fps": fps, "frames": truth})
    )


def _truth(sample: dict[str, Any], targets: list[Target], pose: NDArray[np.float64]) -> Any:
    if sample["fixation"] is None:
        return None
    target = targets[sample["fixation"]]
    bits = cv2.warpAffine(target.bits.astype(np.uint8), pose, SIZE_PX, flags=cv2.INTER_NEAREST)
    return {"name": target.name, "fixation": sample["fixation"], "rle": rle.encode(bits)}


def _write_gaze(folder: Path, samples: list[dict[str, Any]], poses: list[Any], fps: int) -> None:
    with (folder / "gaze.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp [ns]", "gaze x [px]", "gaze y [px]", "worn", "fixation id"])
        for sample in samples:
            pose = poses[min(round(sample["t"] * fps), len(poses) - 1)]
            x, y = pose @ [*sample["at"], 1.0]
            when_ns = START_UNIX_NS + int(sample["t"] * 1e9)
            fixation = "" if sample["fixation"] is None else sample["fixation"] + 1
            rows.writerow([when_ns, f"{x:.2f}", f"{y:.2f}", "1.0", fixation])
    with (folder / "world_timestamps.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp [ns]"])
        rows.writerows([START_UNIX_NS + int(index / fps * 1e9)] for index in range(len(poses)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the four files go")
    parser.add_argument("--seconds", type=float, default=12.0, help="length (default: 12)")
    parser.add_argument("--fps", type=int, default=20, help="frames a second (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of movement and noise (default: 1)")
    args = parser.parse_args()
    make_clip(args.folder, args.seconds, args.fps, args.seed)
    print(f"wrote {args.folder}/scene.mp4, gaze.csv, world_timestamps.csv and truth.json")


if __name__ == "__main__":
    main()
