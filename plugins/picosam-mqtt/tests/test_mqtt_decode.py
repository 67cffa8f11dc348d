"""The decoder without the SDK: it says what the SDK says, and refuses what is malformed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picosam_mqtt.decode import MAX_BYTES, DecodedMask, DecodeError, decode, read_json
from pycocotools import mask as coco

from picosam_sdk import Frame, Gaze, InputError, Mask, Roi
from picosam_sdk.geometry import resize
from picosam_sdk.mask import Result
from picosam_sdk.payload import decode_mask, encode_result

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
BITS = SIZES.flatmap(lambda size: arrays(np.bool_, size))
FRAMES = st.tuples(st.integers(1, 300), st.integers(1, 300))
ROIS = st.builds(
    Roi, st.floats(-0.5, 0.9), st.floats(-0.5, 0.9), st.floats(0.01, 2), st.floats(0.01, 2)
).filter(Roi.overlaps_view)
WITHOUT_SDK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("picosam_sdk", "cv2", "onnxruntime", "pluggy"):
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocker())
try:
    import picosam_sdk
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("picosam_sdk could be imported")
"""


def _message(bits: Any, roi: Roi, size_px: tuple[int, int], **changes: Any) -> dict[str, Any]:
    mask = Mask.from_bits(bits, roi=roi, score=0.75, size_px=size_px)
    result = Result(Frame(None, 0, 7), mask, roi, ages_ns={"frame": 12_340_000}, **changes)
    return json.loads(json.dumps(encode_result(result, device="desk", session="s", seq=3)))


def _example() -> dict[str, Any]:
    return _message(np.eye(8, dtype=bool), Roi(0.1, 0.2, 0.5, 0.6), (640, 480))


def _differ(ours: Any, theirs: Any, mask: Mask) -> bool:
    """Whether two pasted masks differ elsewhere than where resizing gives just the threshold."""
    box = mask.roi.to_pixels(ours.shape[1], ours.shape[0])
    values = np.full(ours.shape, 10.0)
    values[box.y0 : box.y1, box.x0 : box.x1] = resize(mask.logits, box.width, box.height)
    return ours.shape != theirs.shape or bool((ours != theirs)[np.abs(values) > 1e-3].any())


@given(BITS, ROIS, FRAMES, FRAMES)
def test_it_says_what_the_sdk_says(
    bits: Any, roi: Roi, size_px: tuple[int, int], other_px: tuple[int, int]
) -> None:
    message = _message(bits, roi, size_px, region="shelf", gaze=Gaze(0.25, 0.5, 0))
    ours, theirs = decode(json.dumps(message)), decode_mask(message)
    assert theirs is not None
    assert ours.bits is not None
    assert np.array_equal(ours.bits, bits)
    assert np.array_equal(ours.bits, theirs.logits > 0)
    assert ours.roi == (theirs.roi.x, theirs.roi.y, theirs.roi.width, theirs.roi.height)
    assert (ours.score, ours.size_px) == (theirs.score, theirs.size_px)
    assert (ours.device, ours.session, ours.seq, ours.frame) == ("desk", "s", 3, 7)
    assert (ours.region, ours.gaze, ours.ages_ms) == ("shelf", (0.25, 0.5), {"frame": 12.3})
    assert ours.timestamp_ns == message["timestamp_ns"]
    assert ours.present == bits.any()
    assert not _differ(ours.paste(), theirs.paste(), theirs)
    assert not _differ(ours.paste(*other_px), theirs.paste(*other_px), theirs)


def test_box_and_area_are_those_of_the_pasted_mask() -> None:
    bits = np.zeros((96, 96), bool)
    bits[20:70, 30:60] = True
    mask = decode(json.dumps(_message(bits, Roi(0.1, 0.1, 0.5, 0.5), (1280, 960))))
    rows, columns = np.nonzero(mask.paste())
    x, y = int(columns.min()), int(rows.min())
    assert mask.bbox == (x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1)
    assert mask.area_px == len(rows)


def test_counts_are_read_as_pycocotools_does() -> None:
    bits = np.zeros((96, 96), bool)
    bits[5:90, 40:43] = True
    message = _message(bits, Roi(0, 0, 1, 1), (96, 96))
    rle = coco.encode(np.asfortranarray(bits))
    message["mask"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    assert np.array_equal(decode(json.dumps(message)).paste(), bits)


def test_without_a_mask_it_is_empty() -> None:
    result = Result(Frame(None, 0), None, None, settling=True)
    mask = decode(json.dumps(encode_result(result, device="desk", session="s", seq=0)))
    assert (mask.bits, mask.score, mask.bbox, mask.roi) == (None, None, None, None)
    assert mask.settling
    assert not mask.present
    assert not mask.paste(64, 48).any()
    assert mask.paste(64, 48).shape == (48, 64)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        mask.paste()


def test_keys_that_it_does_not_know_are_left_alone() -> None:
    assert decode(json.dumps({**_example(), "sig": "ab", "later": {"a": [1]}})).seq == 3


def test_it_reads_what_brokers_hand_over() -> None:
    text = json.dumps(_example())
    for payload in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert isinstance(decode(payload), DecodedMask)


CHANGES: list[dict[str, Any]] = [
    {"v": 2},
    {"v": True},
    {"v": None},
    {"device": 5},
    {"session": None},
    {"seq": -1},
    {"seq": 1.5},
    {"seq": True},
    {"seq": 10**400},
    {"timestamp_ns": "now"},
    {"region": None},
    {"settling": 1},
    {"ages_ms": []},
    {"ages_ms": {"frame": "x"}},
    {"roi": None},
    {"roi": [0, 0, 0, 1]},
    {"roi": [2, 0, 1, 1]},
    {"roi": [0, 0, 1]},
    {"prompt": [0, 0, 1, -1]},
    {"gaze": [0.5]},
    {"score": "high"},
    {"score": 1.01},
    {"size_px": [1]},
    {"size_px": [0, 5]},
    {"size_px": [10**9, 10**9]},
    {"bbox": [1, 2, 3]},
    {"bbox": [-1, 2, 3, 4]},
    {"area_px": None},
    {"mask": 5},
    {"mask": {"size": [4, 4]}},
    {"mask": {"counts": "0"}},
    {"mask": {"size": [4, 4], "zbits": "!!"}},
    {"mask": {"size": [4, 4], "zbits": "\u00e9"}},
    {"mask": {"size": [4, 4], "zbits": "AAAA"}},
    {"mask": {"size": [4, 4], "zbits": "eNprZGAEAAGHAIM="}},  # more bits than pixels
    {"mask": {"size": [9000, 9000], "zbits": ""}},
    {"mask": {"size": [9000, 1], "counts": "Xi8"}},  # right, but for its size
    {"mask": {"size": [4, 4], "counts": "zzz"}},
    {"mask": {"size": [4, 4], "counts": "\u00e9"}},
    {"mask": {"size": [4, 4], "counts": ""}},
    {"mask": {"size": [4, 4], "counts": "o"}},  # stops within a number
    {"mask": {"size": [4, 4], "counts": "oooooooooo0"}},  # a number of 55 bits
    {"mask": {"size": [4, 4], "counts": "@04"}},  # a negative run that makes the sum right
    {"mask": {"size": [4, 4], "counts": "01"}},
    {"mask": {"size": [4, 4], "counts": ["0"]}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_what_is_malformed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode(json.dumps({**_example(), **changes}))


@pytest.mark.parametrize("key", [key for key in _example() if key != "prompt"])
def test_a_missing_key_is_named(key: str) -> None:
    message = _example()
    del message[key]
    if key == "mask":  # the same as null
        assert decode(json.dumps(message)).bits is None
    else:
        with pytest.raises(DecodeError, match="version" if key == "v" else f"'{key}'"):
            decode(json.dumps(message))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"v": 1',
        b'{"v": NaN}',
        b'{"v": 1, "v": 1}',
        b"[" * 60_000,
        b'{"v": ' + b"1" * 5000 + b"}",
        b"{" + b" " * MAX_BYTES + b"}",
    ],
    ids=lambda payload: str(payload[:12]),
)
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(payload)


def test_numbers_above_all_floats_are_refused() -> None:
    assert read_json('{"a": 1e999}')["a"] == float("inf")  # json says so: the reader must look
    text = json.dumps(_example()).replace("0.75", "1e999")
    with pytest.raises(DecodeError, match="score"):
        decode(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(_example())), JSON, max_size=3))
def test_whatever_comes_is_read_or_refused(changes: dict[str, Any]) -> None:
    """Nothing but a DecodeError, and nothing is taken that the SDK refuses."""
    message = {**_example(), **changes}
    try:
        ours = decode(json.dumps(message))
    except (DecodeError, InputError):
        return
    theirs = decode_mask(message)
    assert (ours.bits is None) == (theirs is None)
    if ours.bits is not None and theirs is not None:
        assert np.array_equal(ours.bits, theirs.logits > 0)


@given(st.binary(max_size=200))
def test_noise_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(payload)


def test_it_works_where_the_sdk_is_not_installed(tmp_path: Path) -> None:
    message = _example()
    (tmp_path / "mask.json").write_text(json.dumps(message))
    script = WITHOUT_SDK + (
        "from picosam_mqtt import change, signing\n"
        "from picosam_mqtt.decode import decode\n"
        "mask = decode(open(sys.argv[1]).read())\n"
        "print(mask.paste(640, 480).sum(), mask.seq)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", script, tmp_path / "mask.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(decode(json.dumps(message)).paste().sum()), "3"]
