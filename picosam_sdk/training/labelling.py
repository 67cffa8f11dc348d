"""Labels photographs with a SAM-type teacher, for the student to learn from.

Prompts are the boxes that are known, and the points of a grid. What a point finds is asked again
by its box, and kept if the two answers agree.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.geometry import resize
from picosam_sdk.training.shards import Photo, ShardWriter
from picosam_sdk.training.teacher import Embedding, PixelBox, Teacher
from picosam_sdk.types import Box, ImageArray

__all__ = ["LabelRules", "Labelled", "label", "teach", "to_sample"]

Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What is asked and what is kept.

    Args:
        max_objects: of one photograph.
        grid: points a side for automatic prompts, plus one in the centre; 0 for none.
        min_iou: the teacher's own predicted IoU, at least; a point's first answer may be 0.1 below.
        min_stability: IoU of the masks at logits -1 and +1, at least, for a point.
        min_box_stability: the same for a box, which leaves less to doubt; hair, spokes and
            soft cloth lower it without making the mask wrong.
        min_agreement: IoU of a point's mask with that of its box, at least.
        same: two masks of a larger IoU are one object.
        min_area, max_area: of a mask as a share of the photograph.
        min_side_px: of the longer side of an object's box.
        one_piece: share of a mask that its largest connected part makes up, at least.
        min_fill: share of its box that a point's object fills, at least: no straggling stuff.
        max_aspect: of a point's object, longer over shorter side of its box.
        grow: share of a prompt's box by which it is grown on each side to clip its mask.
        flat_std: a mask at the border whose grey values vary less than this is background.
    """

    max_objects: int = 5
    grid: int = 4
    min_iou: float = 0.85
    min_stability: float = 0.85
    min_box_stability: float = 0.70
    min_agreement: float = 0.80
    same: float = 0.70
    min_area: float = 0.004
    max_area: float = 0.75
    min_side_px: float = 20.0
    one_piece: float = 0.85
    min_fill: float = 0.30
    max_aspect: float = 8.0
    grow: float = 0.05
    flat_std: float = 12.0

    def __post_init__(self) -> None:
        if self.max_objects < 1 or self.grid < 0:
            raise ConfigError(
                f"expected max_objects >= 1 and grid >= 0, got {self.max_objects} and {self.grid}",
                hint="Give --max-objects 5 --points 4; --points 0 asks for the known boxes only.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """An object that the teacher found.

    Args:
        logits: float32, on the decoder's grid, the part that covers the photograph.
        bits: the same above zero, clipped and cleaned.
        clip: the mask ends here: the grown prompt box, in pixels of the photograph.
        scale: cells of the grid per pixel of the photograph.
        iou: the teacher's predicted IoU.
        prompt: "box" (it was given) or "point".
    """

    logits: NDArray[np.float32]
    bits: Bits
    clip: PixelBox
    scale: float
    iou: float
    prompt: str


def label(
    teacher: Teacher, image: ImageArray, boxes: Iterable[PixelBox], rules: LabelRules
) -> list[Labelled]:
    """Finds the objects of a photograph: those in the given boxes, then those under a grid.

    Args:
        image: uint8 RGB (H, W, 3).
        boxes: of known objects; those that are tiny or nearly the whole picture are not asked.

    Returns:
        At most ``rules.max_objects``; none for a strip 32 times longer than it is wide.
    """
    found: list[Labelled] = []
    picture = teacher.encode(image)
    if min(picture.grid) < 8:
        return found
    for box in boxes:
        if len(found) < 2 * rules.max_objects and _is_usable(box, picture, rules):
            item = _by_box(teacher, picture, box, "box", rules)
            if item is not None and not _is_known(item, found, rules):
                found.append(item)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _add_by_grid(teacher, picture, grey, found, rules)
    return _choose(found, rules.max_objects)


def _add_by_grid(
    teacher: Teacher,
    picture: Embedding,
    grey: NDArray[np.uint8],
    found: list[Labelled],
    rules: LabelRules,
) -> None:
    """Adds the objects under the points of a grid that none found before covers."""
    covered = np.zeros(picture.grid, np.bool_)
    for item in found:
        covered |= item.bits
    for x, y in _grid_points(picture, rules.grid):
        if len(found) >= 2 * rules.max_objects:
            return
        row, column = int(y * picture.grid_scale), int(x * picture.grid_scale)
        if covered[row, column]:
            continue
        logits, iou = teacher.ask(picture, [(x, y)], [1])
        bits = logits > 0
        if iou < rules.min_iou - 0.1 or not bits[row, column]:
            continue
        if _is_background(bits, picture, grey, rules):
            covered |= bits
            continue
        if not _is_object(logits, bits, rules.min_stability, rules):
            continue
        again = _by_own_box(teacher, picture, bits, rules)
        if again is None:
            continue
        covered |= again.bits
        if not _is_known(again, found, rules):
            found.append(again)


def _by_own_box(
    teacher: Teacher, picture: Embedding, bits: Bits, rules: LabelRules
) -> Labelled | None:
    """The object of a point's mask, asked for again by its box; None if the two differ."""
    item = _by_box(teacher, picture, _tight_box(bits, picture.grid_scale), "point", rules)
    if item is None or _iou(bits, item.bits) < rules.min_agreement:
        return None
    return item if _is_compact(item.bits, rules) else None


def to_sample(
    image: ImageArray, photo: Photo, item: Labelled, side_px: int = 168
) -> dict[str, bytes]:
    """A labelled object as the files of a sample: crop (webp), soft mask (png) and json."""
    height, width = image.shape[:2]
    x, y, w, h = _tight_box(item.bits, item.scale)
    reach = max(w, h)
    cx, cy = x + w / 2, y + h / 2
    x0, y0 = max(0, round(cx - reach)), max(0, round(cy - reach))
    x1, y1 = min(width, round(cx + reach)), min(height, round(cy + reach))
    box = Box(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
    zoom = min(1.0, side_px / max(box.width, box.height))
    size = (max(1, round(box.width * zoom)), max(1, round(box.height * zoom)))
    crop = resize(image[box.y0 : box.y1, box.x0 : box.x1], *size)
    mask = _soft_mask(item, box, size)
    if not (mask > 127).any():
        return {}
    meta = {
        "source": photo.source,
        "image": photo.picture,
        "bbox": [int(value) for value in _tight_box(mask > 127, 1.0)],
        "licence": photo.licence,
        "teacher_iou": round(item.iou, 4),
        "prompt": item.prompt,
    }
    webp = cv2.imencode(".webp", crop[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 85])[1]
    png = cv2.imencode(".png", mask)[1]
    return {"webp": webp.tobytes(), "png": png.tobytes(), "json": json.dumps(meta).encode()}


def teach(
    teacher: Teacher, photos: Iterable[Photo], writer: ShardWriter, rules: LabelRules
) -> Iterator[tuple[Photo, int | None]]:
    """Labels the photographs that the writer has not got yet.

    Yields:
        Each photograph with the number of objects written, None if it had been done before.
    """
    for photo in photos:
        if photo.key in writer.done:
            yield photo, None
            continue
        try:
            image = photo.decode()
        except InputError as error:
            logging.getLogger(__name__).warning("%s", error)
            writer.add(photo, [])
            yield photo, 0
            continue
        items = label(teacher, image, photo.boxes, rules)
        samples = [sample for item in items if (sample := to_sample(image, photo, item))]
        writer.add(photo, samples)
        yield photo, len(samples)


def _grid_points(picture: Embedding, side: int) -> list[tuple[float, float]]:
    """The centre, then the centres of side x side tiles, from the middle outwards."""
    if side < 1:
        return []
    shares = [((i + 0.5) / side, (j + 0.5) / side) for j in range(side) for i in range(side)]
    if side % 2 == 0:
        shares.append((0.5, 0.5))
    shares.sort(key=lambda p: (p[0] - 0.5) ** 2 + (p[1] - 0.5) ** 2)
    return [(x * picture.width_px, y * picture.height_px) for x, y in shares]


def _is_usable(box: PixelBox, picture: Embedding, rules: LabelRules) -> bool:
    x, y, width, height = box
    share = width * height / (picture.width_px * picture.height_px)
    inside = 0 <= x + width / 2 < picture.width_px and 0 <= y + height / 2 < picture.height_px
    if not inside or not np.isfinite(box).all():
        return False
    return max(width, height) >= rules.min_side_px and min(width, height) >= 4 and share < 0.9


def _by_box(
    teacher: Teacher, picture: Embedding, box: PixelBox, prompt: str, rules: LabelRules
) -> Labelled | None:
    logits, iou = teacher.ask_box(picture, box)
    x, y, width, height = box
    dx, dy = rules.grow * width + 1, rules.grow * height + 1
    clip = (x - dx, y - dy, width + 2 * dx, height + 2 * dy)
    bits = _inside(logits > 0, clip, picture)
    inner = np.where(_inside(np.ones_like(bits), clip, picture), logits, np.float32(-99))
    if iou < rules.min_iou or not _is_object(inner, bits, rules.min_box_stability, rules):
        return None
    bits = _largest(bits)
    tight = _tight_box(bits, picture.grid_scale)
    if max(tight[2], tight[3]) < rules.min_side_px or _box_iou(tight, box) < 0.6:
        return None
    return Labelled(logits, bits, clip, picture.grid_scale, iou, prompt)


def _inside(bits: Bits, box: PixelBox, picture: Embedding) -> Bits:
    x, y, width, height = (value * picture.grid_scale for value in box)
    result = np.zeros_like(bits)
    rows = slice(max(0, round(y)), max(0, round(y + height)))
    columns = slice(max(0, round(x)), max(0, round(x + width)))
    result[rows, columns] = bits[rows, columns]
    return result


def _is_object(
    logits: NDArray[np.float32], bits: Bits, stability: float, rules: LabelRules
) -> bool:
    """Of a sensible size, sure of its outline, and nearly all in one piece."""
    area = int(bits.sum())
    if not rules.min_area <= area / bits.size <= rules.max_area:
        return False
    sure, wide = int((logits > 1).sum()), int((logits > -1).sum())
    return sure >= stability * wide and int(_largest(bits).sum()) >= rules.one_piece * area


def _is_background(
    bits: Bits, picture: Embedding, grey: NDArray[np.uint8], rules: LabelRules
) -> bool:
    """Whether a mask is sky, wall or floor: on many borders or corners, or flat."""
    edges = [bits[1], bits[-2], bits[:, 1], bits[:, -2]]
    touched = sum(bool(edge.mean() > 0.03) for edge in edges)
    corners = int(bits[1, 1]) + int(bits[1, -2]) + int(bits[-2, 1]) + int(bits[-2, -2])
    share = bits.mean()
    if touched >= 3 or (touched == 2 and share > 0.35) or share > rules.max_area:
        return True
    if corners >= 2 or (corners == 1 and share > 0.09):
        return True
    if touched == 0:
        return False
    small = resize(grey, bits.shape[1], bits.shape[0])
    return bool(small[bits].std() < rules.flat_std)


def _largest(bits: Bits) -> Bits:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bits.astype(np.uint8))
    if count <= 2:
        return bits
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _tight_box(bits: Bits, scale: float) -> PixelBox:
    """Box of the True cells, divided by cells per pixel."""
    columns, rows = np.flatnonzero(bits.any(0)), np.flatnonzero(bits.any(1))
    return (
        float(columns[0] / scale),
        float(rows[0] / scale),
        float((columns[-1] + 1 - columns[0]) / scale),
        float((rows[-1] + 1 - rows[0]) / scale),
    )


def _is_compact(bits: Bits, rules: LabelRules) -> bool:
    """Whether a mask fills enough of its tight box, which is not too long."""
    _, _, width, height = _tight_box(bits, 1.0)
    long = max(width, height) / min(width, height) > rules.max_aspect
    return not long and float(bits.sum()) >= rules.min_fill * width * height


def _iou(a: Bits, b: Bits) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def _box_iou(a: PixelBox, b: PixelBox) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(0.0, w) * max(0.0, h)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def _is_known(item: Labelled, found: Sequence[Labelled], rules: LabelRules) -> bool:
    return any(_iou(item.bits, other.bits) > rules.same for other in found)


def _choose(found: list[Labelled], most: int) -> list[Labelled]:
    """The best by predicted IoU, taking turns between small, middling and large objects."""
    if len(found) <= most:
        return found
    classes: list[list[Labelled]] = [[], [], []]
    for item in sorted(found, key=lambda item: -item.iou):
        classes[int(np.digitize(item.bits.mean(), (0.02, 0.10)))].append(item)
    chosen: list[Labelled] = []
    while len(chosen) < most:
        chosen += [group.pop(0) for group in classes if group]
    return sorted(chosen[:most], key=lambda item: -item.iou)


def _soft_mask(item: Labelled, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Probabilities 0 to 255 of the largest piece inside the clip box, resampled to the crop."""
    pieces = cv2.connectedComponents((item.logits > 0).astype(np.uint8))[1]
    near = cv2.dilate(item.bits.astype(np.uint8), np.ones((3, 3))) > 0
    far = cv2.dilate(((pieces > 0) & ~near).astype(np.uint8), np.ones((5, 5))) > 0
    logits = np.where(far & ~near, np.float32(-8), item.logits)
    scale = item.scale
    zoom_x, zoom_y = scale * box.width / size[0], scale * box.height / size[1]
    matrix = np.array(
        [
            [zoom_x, 0, box.x0 * scale + 0.5 * zoom_x - 0.5],
            [0, zoom_y, box.y0 * scale + 0.5 * zoom_y - 0.5],
        ],
        np.float64,
    )  # crop px to grid cells
    values = cv2.warpAffine(
        logits,
        matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    soft: NDArray[np.uint8] = np.rint(255 / (1 + np.exp(-values.astype(np.float64)))).astype(
        np.uint8
    )
    x, y, width, height = item.clip
    columns = box.x0 + (np.arange(size[0]) + 0.5) * box.width / size[0]
    rows = box.y0 + (np.arange(size[1]) + 0.5) * box.height / size[1]
    soft[:, (columns < x) | (columns > x + width)] = 0
    soft[(rows < y) | (rows > y + height)] = 0
    return soft
