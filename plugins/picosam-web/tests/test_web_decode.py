"""The page's decoder and its outlines against the SDK's own, on masks of all kinds."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from picosam_sdk import Mask, Roi, rle
from picosam_sdk.payload import encode_bits

DECODE = """async (encoded) => {
  const { decodeMask } = await import("/payload.js");
  const all = [];
  for (const one of encoded) {
    try {
      const mask = await decodeMask(one);
      all.push([mask.width, mask.height, Array.from(mask.bits).join("")]);
    } catch (error) {
      all.push(String(error));
    }
  }
  return all;
}"""

DRAW = """async ([encoded, width, height]) => {
  const { decodeMask } = await import("/payload.js");
  const { outlines } = await import("/contour.js");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const path = new Path2D();
  for (const line of outlines(await decodeMask(encoded))) {
    path.moveTo(line[0] * width, line[1] * height);
    for (let i = 2; i < line.length; i += 2) path.lineTo(line[i] * width, line[i + 1] * height);
    path.closePath();
  }
  context.fill(path, "evenodd");
  const pixels = context.getImageData(0, 0, width, height).data;
  return Array.from(pixels.filter((_, index) => index % 4 === 3), (a) => Number(a > 127)).join("");
}"""


@pytest.fixture
def seen(direct: Callable[..., Any], visit: Callable[..., Any]) -> Iterator[Any]:
    return visit(direct().url)


def _zbits(bits: NDArray[np.bool_]) -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(np.packbits(bits).tobytes())).decode()
    return {"size": list(bits.shape), "zbits": packed}


def _masks() -> list[NDArray[np.bool_]]:
    rng = np.random.default_rng(7)
    masks = [
        np.zeros((96, 96), bool),
        np.ones((96, 96), bool),
        np.eye(5, 9, dtype=bool),
        np.ones((1, 1), bool),
        np.zeros((1, 7), bool),
        np.indices((31, 17)).sum(0) % 2 > 0,
    ]
    for _ in range(12):
        height, width = rng.integers(1, 130, 2)
        masks.append(rng.random((height, width)) < rng.random())
    return masks  # fmt: skip


def test_both_encodings_are_read_bit_for_bit(seen: Any) -> None:
    masks = _masks()
    encoded = [encode for bits in masks for encode in (rle.encode(bits), _zbits(bits))]
    encoded += [encode_bits(bits) for bits in masks]
    expected = [bits for bits in masks for _ in range(2)] + masks
    for got, bits in zip(seen.js(DECODE, encoded), expected, strict=True):
        assert isinstance(got, list), got
        width, height, text = got
        assert (height, width) == bits.shape
        assert text == "".join(map(str, bits.astype(int).ravel()))


def test_what_is_malformed_is_an_error_and_asks_for_little(seen: Any) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(10_000_000))).decode()
    broken = [
        {"size": [8, 8], "counts": "0"},
        {"size": [8, 8], "counts": "~~"},
        {"size": [8, 8], "counts": "oooooooooooo"},
        {"size": [8, 8], "counts": rle.encode(np.ones((9, 9), bool))["counts"]},
        {"size": [1_000_000, 1_000_000], "counts": "0"},
        {"size": [0, 8], "counts": ""},
        {"size": [8, 8], "zbits": bomb},
        {"size": [8, 8], "zbits": base64.b64encode(zlib.compress(b"short")).decode()},
        {"size": [8, 8], "zbits": base64.b64encode(b"no zlib at all").decode()},
        {"size": [8, 8], "zbits": "***"},
    ]
    assert [type(got) for got in seen.js(DECODE, broken)] == [str] * len(broken)


def _blob(seed: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((96, 96)).astype(np.float32), (0, 0), 7)
    return np.asarray(noise > np.quantile(noise, 0.6))


@pytest.mark.parametrize("size", [(300, 220), (96, 96), (61, 140)])
def test_outlines_enclose_what_the_sdk_pastes(seen: Any, size: tuple[int, int]) -> None:
    width, height = size
    for seed in range(3):
        bits = _blob(seed)
        mask = Mask.from_bits(bits, roi=Roi(0, 0, 1, 1), size_px=size)
        text = seen.js(DRAW, [encode_bits(bits), width, height])
        drawn = np.frombuffer(text.encode(), np.uint8).reshape(height, width) == ord("1")
        expected = mask.paste()
        iou = np.count_nonzero(drawn & expected) / np.count_nonzero(drawn | expected)
        assert iou == 1 if size == (96, 96) else iou > 0.98, (seed, iou)


def test_a_full_mask_is_filled_to_its_edge_and_holes_stay_open(seen: Any) -> None:
    full = seen.js(DRAW, [encode_bits(np.ones((8, 8), bool)), 40, 40])
    assert full == "1" * 1600
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    drawn = np.frombuffer(seen.js(DRAW, [encode_bits(ring), 90, 90]).encode(), np.uint8)
    inner = drawn.reshape(90, 90)[35:55, 35:55]
    assert (inner == ord("0")).all()
