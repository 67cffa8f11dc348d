"""How often one look errs: whether an object is there, told by score, by area, and by evidence.

    python examples/mqtt_iot/shelf/measure.py [--count 200] [--objects DIR] [--backgrounds DIR]

Each trial takes a box of a photograph, learns it as the empty place, and looks at it twice, with
nothing in it and with an object pasted in, which fills 30 to 95 % of the box. Both are looked at
in the same light and in another (brightness, colour and direction changed by up to a fifth), with
noise and half a pixel of shake. Without options the objects and photographs are the SDK's own, an
object never on its own photograph; DIR holds pictures, those of objects with an alpha channel.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))

from presence import Empty, Rules

from picosam_sdk import Roi, Segmenter, load_image
from picosam_sdk.evaluation.annotations import bundled_dataset

Picture = NDArray[np.uint8]
Rng = np.random.Generator


def own_pictures() -> tuple[list[tuple[str, Any]], list[tuple[str, Picture]]]:
    """The SDK's objects, RGBA, with the name of their photograph; and its photographs."""
    objects: list[tuple[str, Any]] = []
    photos: dict[str, Picture] = {}
    for instance in bundled_dataset().instances:
        photo = photos.setdefault(instance.image.name, load_image(instance.image))
        x, y, width, height = (round(value) for value in instance.bbox)
        cut = np.s_[y : y + height, x : x + width]
        alpha = instance.mask()[cut].astype(np.uint8) * 255
        objects.append((instance.image.name, np.dstack([photo[cut], alpha])))
    return objects, list(photos.items())


def read_folder(folder: Path, alpha: bool) -> list[tuple[str, Any]]:
    """All pictures below a folder with their paths, RGB or RGBA."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".png", ".webp", ".jpg"):
            read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_COLOR)
            if read is not None and (read.ndim, read.shape[-1]) == (3, 4 if alpha else 3):
                order = cv2.COLOR_BGRA2RGBA if alpha else cv2.COLOR_BGR2RGB
                found.append((str(path), cv2.cvtColor(read, order)))
    return found


def photograph(scene: Any, rng: Rng, other_light: bool) -> Picture:
    """What the camera makes of a scene of float32 (h, w, 3)."""
    height, width = scene.shape[:2]
    picture = scene
    if other_light:
        across, down = rng.uniform(-0.2, 0.2, 2)
        slope = 1 + across * np.linspace(-1, 1, width) + down * np.linspace(-1, 1, height)[:, None]
        picture = picture * slope[..., None] * rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    shake = np.array([[1, 0, rng.normal(0, 0.5)], [0, 1, rng.normal(0, 0.5)]])
    picture = cv2.warpAffine(picture, shake, (width, height), borderMode=cv2.BORDER_REFLECT)
    noise = rng.standard_normal(picture.shape, np.float32) * 3
    photographed: Picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return photographed


def with_object(
    scene: Any, box: tuple[int, int, int, int], cut: Any, share: float, rng: Rng
) -> Any:
    """The scene with an object that stands in the box, fills a share of it, and has a shadow."""
    x, y, width, height = box
    scale = share * min(width / cut.shape[1], height / cut.shape[0])
    size = tuple(max(2, int(side * scale)) for side in cut.shape[1::-1])
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    left, top = x + int(rng.integers(0, width - size[0] + 1)), y + height - size[1]
    alpha = np.zeros((*scene.shape[:2], 1), np.float32)
    color = np.zeros_like(scene)
    place = np.s_[top : top + size[1], left : left + size[0]]
    alpha[place], color[place] = small[..., 3:] / 255, small[..., :3]
    shade = cv2.GaussianBlur(np.roll(alpha[..., 0], (3, size[0] // 12), (0, 1)), (0, 0), 4)
    return scene * (1 - 0.3 * shade[..., None]) * (1 - alpha) + color * alpha


def trial(segmenter: Any, objects: Any, photos: Any, rng: Rng) -> list[tuple[float, ...]]:
    """Four looks: object there or not, other light or not; score, area, evidence, its share."""
    name, photo = photos[rng.integers(len(photos))]
    others = [cut for of, cut in objects if of != name]
    height_px, width_px = photo.shape[:2]
    height = int(rng.uniform(0.25, 0.6) * height_px)
    width = min(int(height * rng.uniform(0.7, 1.6)), int(0.9 * width_px))
    x, y = int(rng.integers(0, width_px - width)), int(rng.integers(0, height_px - height))
    side = max(width, height)  # what is farther away than half of it is never looked at
    left, top = max(0, x + width // 2 - side), max(0, y + height // 2 - side)
    bare = photo[top : top + 2 * side, left : left + 2 * side].astype(np.float32)
    x, y = x - left, y - top
    roi = Roi.from_pixels(x, y, width, height, bare)
    cut, share = others[rng.integers(len(others))], rng.uniform(0.3, 0.95)
    scenes = bare, with_object(bare, (x, y, width, height), cut, share, rng)
    looks = [segmenter.segment(photograph(bare, rng, False), roi) for _ in range(Rules().learn)]
    mean = np.mean([look.probabilities for look in looks], axis=0)
    empty = Empty(mean, float(np.mean([look.score for look in looks])), looks[0].roi)
    rows: list[tuple[float, ...]] = []
    for there, scene in enumerate(scenes):
        for other_light in (False, True):
            mask = segmenter.segment(photograph(scene, rng, other_light), roi)
            rows.append((there, other_light, mask.score, mask.area_px, empty.evidence(mask), share))
    return rows


def ranking(values: NDArray[np.float64], there: NDArray[np.bool_]) -> float:
    """The chance that a look at an object has the larger value (AUC); 0.5 is a coin's."""
    larger = values[there][:, None] - values[~there][None, :]
    return float(((larger > 0) + 0.5 * (larger == 0)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="trials (default: 200)")
    parser.add_argument("--objects", type=Path, metavar="DIR", help="pictures with alpha")
    parser.add_argument("--backgrounds", type=Path, metavar="DIR", help="pictures")
    args = parser.parse_args()
    objects, photos = own_pictures()
    objects = read_folder(args.objects, True) if args.objects else objects
    photos = read_folder(args.backgrounds, False) if args.backgrounds else photos
    rng = np.random.default_rng(1)
    rows: list[tuple[float, ...]] = []
    with Segmenter() as segmenter:
        for _ in tqdm(range(args.count), unit="trial", leave=False, disable=None):
            rows += trial(segmenter, objects, photos, rng)
    table, rules = np.array(rows), Rules()
    print(f"{args.count} trials, {len(objects)} objects, {len(photos)} photographs")
    print(f"{'light':<8}{'AUC: score':>11}{'area':>7}{'evidence':>10}"
          f"{'found':>8}{'false':>7}{'between':>9}")  # fmt: skip
    for name, light in (("same", 0), ("other", 1)):
        own = table[table[:, 1] == light]
        there, evidence = own[:, 0] == 1, own[:, 4]
        auc = [ranking(own[:, column], there) for column in (2, 3, 4)]
        found = [np.mean(evidence[which] >= rules.enter) for which in (there, ~there)]
        between = np.mean((evidence < rules.enter) & (evidence > rules.leave))
        print(f"{name:<8}{auc[0]:>11.2f}{auc[1]:>7.2f}{auc[2]:>10.2f}"
              f"{found[0]:>8.1%}{found[1]:>7.1%}{between:>9.1%}")  # fmt: skip
    seen = table[(table[:, 0] == 1) & (table[:, 1] == 0)]
    for low, high in ((0.3, 0.45), (0.45, 0.6), (0.6, 0.95)):
        evidence = seen[(seen[:, 5] >= low) & (seen[:, 5] < high), 4]
        found_here = np.mean(evidence >= rules.enter) if len(evidence) else 0
        print(f"objects that fill {low:.0%} to {high:.0%} of their box: {found_here:.1%} found")


if __name__ == "__main__":
    main()
