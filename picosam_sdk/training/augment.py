"""Views of a sample as a gaze, a crowd and a cheap sensor would give them.

Prompts are jittered by the paper's definition: at level s the centre moves uniformly by
+-s/2 of the box side, and each side is scaled by a Gaussian of sigma s/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from picosam_sdk.geometry import crop, crop_box, resize
from picosam_sdk.training.data import Sample
from picosam_sdk.types import CropRule, ImageArray, Roi

__all__ = ["AugmentConfig", "jitter", "plain_view", "training_view"]

View = tuple[ImageArray, NDArray[np.uint8]]
"""Network input uint8 (S, S, 3) and its target uint8 (S, S), 0 to 255."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often each change is made, as a probability, and how far it goes.

    Args:
        jitter: highest jitter level; each view draws its own level from 0 up to it.
        loose: square prompts off the object's size and centre, as a single point gives.
        paste: another object pasted beside, behind or in front.
        cutout: the object itself is a cut-out pasted into another picture.
        rotate, small, blur, noise, jpeg, colour: as named; ``small`` is a far-off object,
            shrunk to 16 to 64 px and enlarged again.
    """

    jitter: float = 0.30
    loose: float = 0.18
    paste: float = 0.25
    cutout: float = 0.10
    rotate: float = 0.25
    small: float = 0.15
    blur: float = 0.15
    noise: float = 0.20
    jpeg: float = 0.30
    colour: float = 0.80


Bbox = tuple[float, float, float, float]


def jitter(bbox: Bbox, level: float, rng: Generator) -> Bbox:
    """Moves and scales a box x, y, width, height by the paper's jitter of the given level."""
    x, y, width, height = bbox
    cx = x + width / 2 + rng.uniform(-level / 2, level / 2) * width
    cy = y + height / 2 + rng.uniform(-level / 2, level / 2) * height
    width *= max(0.2, 1 + rng.normal(0, level / 2))
    height *= max(0.2, 1 + rng.normal(0, level / 2))
    return cx - width / 2, cy - height / 2, width, height


def plain_view(sample: Sample, rule: CropRule, bbox: Bbox | None = None) -> View:
    """The sample under the crop rule, unchanged otherwise."""
    height, width = sample.mask.shape
    roi = Roi.from_pixels(*(bbox or sample.bbox), (width, height))
    box = crop_box(roi, width, height, rule)
    image = crop(sample.image, box, rule.size_px)
    target = resize(sample.mask[box.y0 : box.y1, box.x0 : box.x1], rule.size_px, rule.size_px)
    return image, target


def training_view(
    sample: Sample, cutouts: Sequence[Sample], rule: CropRule, config: AugmentConfig, rng: Generator
) -> View:
    """A random view of a sample; deterministic in ``rng``."""
    if cutouts and rng.random() < config.cutout:
        sample = _paste_as_object(sample, cutouts[int(rng.integers(len(cutouts)))], rng)
    elif cutouts and rng.random() < config.paste:
        sample = _paste_competitor(sample, cutouts[int(rng.integers(len(cutouts)))], rng)
    if rng.random() < config.rotate:
        sample = _rotate(sample, rng)
    height, width = sample.mask.shape
    if rng.random() < config.loose:
        bbox = _loose(sample.bbox, rng)
    else:
        bbox = jitter(sample.bbox, rng.uniform(0, config.jitter), rng)
    if not Roi.from_pixels(*bbox, (width, height)).overlaps_view():
        bbox = sample.bbox
    image, target = plain_view(sample, rule, bbox)
    if rng.random() < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    return degrade(np.ascontiguousarray(image), config, rng), np.ascontiguousarray(target)


def degrade(image: ImageArray, config: AugmentConfig, rng: Generator) -> ImageArray:
    """Colour, distance, blur, noise and compression, on the network's input."""
    if rng.random() < config.colour:
        image = _colour(image, rng)
    size = image.shape[0]
    if rng.random() < config.small:
        side = int(rng.integers(16, 64))
        image = cv2.resize(resize(image, side, side), (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < config.blur:
        image = _blur(image, rng)
    if rng.random() < config.noise:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 16)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        coded = cv2.imencode(".jpg", image, quality)[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _loose(bbox: Bbox, rng: Generator) -> Bbox:
    """A square that holds or cuts the object, its centre somewhere on it."""
    x, y, width, height = bbox
    side = max(width, height) * 2 ** rng.uniform(-1.2, 1.0)
    cx = x + width * rng.uniform(0.3, 0.7)
    cy = y + height * rng.uniform(0.3, 0.7)
    return cx - side / 2, cy - side / 2, side, side


def _with_tight_box(image: ImageArray, mask: NDArray[np.uint8], like: Sample) -> Sample:
    x, y, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    return Sample(image, mask, (x, y, width, height), like.source, like.picture)


def _blend(
    image: ImageArray, cutout: Sample, side: float, centre: tuple[float, float], flip: bool
) -> tuple[ImageArray, NDArray[np.uint8]]:
    """Lays a cut-out, its longer side ``side`` px, over a picture; gives both and its alpha."""
    height, width = image.shape[:2]
    h, w = cutout.mask.shape
    scale = side / max(h, w)
    new_w, new_h = max(2, round(w * scale)), max(2, round(h * scale))
    rgb, alpha = resize(cutout.image, new_w, new_h), resize(cutout.mask, new_w, new_h)
    if flip:
        rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
    left, top = round(centre[0] - new_w / 2), round(centre[1] - new_h / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + new_w, width), min(top + new_h, height)
    full = np.zeros((height, width), np.uint8)
    if x0 >= x1 or y0 >= y1:
        return image, full
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    full[y0:y1, x0:x1] = alpha[rows, columns]
    share = full[y0:y1, x0:x1, None].astype(np.float32) / 255
    image = image.copy()
    under = image[y0:y1, x0:x1]
    image[y0:y1, x0:x1] = (under + share * (rgb[rows, columns] - under.astype(np.float32))).astype(
        np.uint8
    )
    return image, full


def _paste_competitor(sample: Sample, cutout: Sample, rng: Generator) -> Sample:
    """Another object beside, behind or in front; at least half of the sample stays visible."""
    x, y, width, height = sample.bbox
    angle = rng.uniform(0, 2 * np.pi)
    far = rng.uniform(0.35, 0.75)
    centre = (
        x + width * (0.5 + far * np.cos(angle)),
        y + height * (0.5 + far * np.sin(angle)),
    )
    side = max(width, height) * rng.uniform(0.35, 1.1)
    image, alpha = _blend(sample.image, cutout, side, centre, rng.random() < 0.5)
    if rng.random() < 0.5:  # behind: the object's own pixels come back on top
        own = sample.mask[:, :, None].astype(np.float32) / 255
        image = (image + own * (sample.image - image.astype(np.float32))).astype(np.uint8)
        mask = sample.mask
    else:
        mask = np.minimum(sample.mask, 255 - alpha)
    if np.count_nonzero(mask > 127) < 0.5 * np.count_nonzero(sample.mask > 127):
        return sample
    return _with_tight_box(image, mask, sample)


def _paste_as_object(sample: Sample, cutout: Sample, rng: Generator) -> Sample:
    """The cut-out becomes the object; the sample's picture is what stands around it."""
    height, width = sample.mask.shape
    side = min(height, width) * rng.uniform(0.35, 0.9)
    centre = (width * rng.uniform(0.25, 0.75), height * rng.uniform(0.25, 0.75))
    image, alpha = _blend(sample.image, cutout, side, centre, rng.random() < 0.5)
    if np.count_nonzero(alpha > 127) < 64:
        return sample
    return _with_tight_box(image, alpha, cutout)


def _rotate(sample: Sample, rng: Generator) -> Sample:
    """Turned by up to 20 degrees and sheared a little about its centre; its box drawn anew."""
    x, y, width, height = sample.bbox
    centre = (x + width / 2, y + height / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-20, 20), rng.uniform(0.85, 1.1))
    matrix[0, 1] += rng.uniform(-0.15, 0.15)
    size = (sample.image.shape[1], sample.image.shape[0])
    image = cv2.warpAffine(sample.image, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.warpAffine(sample.mask, matrix, size, borderMode=cv2.BORDER_CONSTANT)
    if np.count_nonzero(mask > 127) < 0.5 * np.count_nonzero(sample.mask > 127):
        return sample
    return _with_tight_box(image, mask, sample)


def _colour(image: ImageArray, rng: Generator) -> ImageArray:
    """Brightness, contrast, gamma and white balance by one table a channel; saturation after it."""
    ramp = np.arange(256, dtype=np.float32) / 255
    gains = rng.uniform(0.85, 1.15, 3) * rng.uniform(0.7, 1.3)
    gamma, contrast = rng.uniform(0.7, 1.4), rng.uniform(0.7, 1.3)
    table = ((ramp[:, None] ** gamma * gains - 0.5) * contrast + 0.5) * 255
    image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    saturation = 0.0 if rng.random() < 0.04 else rng.uniform(0.5, 1.4)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)


def _blur(image: ImageArray, rng: Generator) -> ImageArray:
    """Out of focus, or moved during the exposure."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = (length - 1) / 2
    ends = [
        (round(reach + sign * reach * np.cos(angle)), round(reach + sign * reach * np.sin(angle)))
        for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
