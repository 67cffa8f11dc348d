"""The search itself: it finds the patterns however they are written, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from picosam_sdk import Segmenter
from picosam_sdk.egress import redact
from picosam_sdk.plugins import Plugins
from tests.egress import canary

BGR = canary.picture()[..., ::-1].copy()


def _encoded(suffix: str, scale: float = 1.0) -> bytes:
    image = cv2.resize(BGR, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(suffix, image)[1].tobytes()


ENCODINGS: dict[str, Callable[[], bytes]] = {
    "rgb": lambda: canary.picture().tobytes(),
    "bgr": BGR.tobytes,
    "planes": lambda: np.ascontiguousarray(canary.picture().transpose(2, 0, 1)).tobytes(),
    "npy in gzip": lambda: gzip.compress(canary.picture().tobytes()),
    "zlib": lambda: b"junk" + zlib.compress(BGR.tobytes()) + b"junk",
    "base64": lambda: b"x" + base64.b64encode(canary.picture().tobytes()),
    "base64 for addresses": lambda: base64.urlsafe_b64encode(BGR.tobytes()),
    "hex": lambda: canary.picture().tobytes().hex().encode(),
    "png": lambda: _encoded(".png"),
    "half a png": lambda: _encoded(".png", 0.5),
    "jpeg": lambda: b"--frame\r\n\r\n" + _encoded(".jpg") + b"\r\n--frame",
    "a larger webp": lambda: _encoded(".webp", 1.5),
    "bmp": lambda: _encoded(".bmp"),
    "jpeg in base64 in json": lambda: json.dumps(
        {"image": "data:image/jpeg;base64," + base64.b64encode(_encoded(".jpg")).decode()}
    ).encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_finds_both_patterns(name: str) -> None:
    assert canary.finds(ENCODINGS[name]()) == {"object", "beside"}


def test_tells_a_cutout_from_a_whole_picture() -> None:
    plugins = Plugins(discover=False)
    plugins.register(canary.CanaryPlugin(), "canary")
    with Segmenter("red", plugins=plugins) as segmenter:
        mask = segmenter.segment(canary.picture(), canary.OBJECT)
    for hide in (redact.cutout, redact.blur_outside):
        image = hide(canary.picture(), mask.paste())
        assert canary.finds(image.tobytes()) == {"object"}
        assert canary.finds(cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()) == {"object"}
    mask_png = cv2.imencode(".png", mask.paste().view(np.uint8) * 255)[1].tobytes()
    assert canary.finds(mask_png) == set()
    assert canary.finds(json.dumps(mask.rle()).encode()) == set()


def test_finds_nothing_in_noise_and_in_other_pictures() -> None:
    rng = np.random.default_rng(5)
    other = rng.integers(0, 256, (200, 320, 3), dtype=np.uint8)
    assert canary.finds(other.tobytes()) == set()
    assert canary.finds(cv2.imencode(".png", other)[1].tobytes()) == set()
    grey = np.full((200, 320, 3), 90, np.uint8)
    assert canary.finds(cv2.imencode(".png", grey)[1].tobytes()) == set()
