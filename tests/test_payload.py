"""The message of a mask: lossless for its bits, small for real shapes, strict when read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from picosam_sdk import Frame, Gaze, InputError, Mask, Roi
from picosam_sdk.mask import Result
from picosam_sdk.payload import decode_mask, encode_bits, encode_result
from picosam_sdk.segmenter import Segmenter

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SCHEMA = json.loads(
    (Path(__file__).parent.parent / "picosam_sdk/assets/mask.schema.json").read_text("utf-8")
)
SHARES = st.floats(-2, 2).filter(lambda value: value != 0)
ROIS = st.builds(Roi, SHARES, SHARES, st.floats(1e-9, 3), st.floats(1e-9, 3))


def _message(bits: Any, **changes: Any) -> dict[str, Any]:
    mask = Mask.from_bits(bits, roi=Roi(0.1, 0.2, 0.5, 0.6), score=0.75, size_px=(640, 480))
    result = Result(Frame(None, time.monotonic_ns(), 7), mask, Roi(0.15, 0.25, 0.4, 0.5), **changes)
    return encode_result(result, device="desk", session="s", seq=3)


@given(SIZES.flatmap(lambda size: arrays(np.bool_, size)))
def test_bits_come_back(bits: Any) -> None:
    message = json.loads(json.dumps(_message(bits)))
    mask = decode_mask(message)
    assert mask is not None
    assert np.array_equal(mask.logits > 0, bits)
    assert (mask.score, mask.size_px) == (0.75, (640, 480))
    assert (mask.roi, mask.prompt) == (Roi(0.1, 0.2, 0.5, 0.6), Roi(0.15, 0.25, 0.4, 0.5))


def test_the_shorter_encoding_is_taken() -> None:
    noise = np.random.default_rng(1).random((96, 96)) > 0.5
    block = np.zeros((96, 96), bool)
    block[20:70, 30:33] = True
    assert set(encode_bits(noise)) == {"size", "zbits"}
    encoded = encode_bits(block)
    assert np.array_equal(coco.decode(encoded), block)
    assert len(json.dumps(_message(block))) < 700


def test_what_it_says_of_time_gaze_and_an_empty_result() -> None:
    message = _message(np.ones((4, 4), bool), gaze=Gaze(0.25, 0.5, 0), region="shelf")
    assert abs(message["timestamp_ns"] - time.time_ns()) < 60e9
    assert (message["gaze"], message["region"], message["frame"]) == ([0.25, 0.5], "shelf", 7)
    empty = encode_result(Result(Frame(None, 0), None, None), device="d", session="s", seq=0)
    assert decode_mask(empty) is None
    assert "gaze" not in empty


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"mask": {"size": [4, 4]}},
        {"mask": {"size": [4, 4], "zbits": "!!"}},
        {"mask": {"size": [4, 4], "zbits": "AAAA"}},
        {"mask": {"size": [9000, 9000], "zbits": ""}},
        {"mask": {"size": [9000, 1], "counts": "Xi8"}},  # right, but for its size
        {"mask": {"size": [4, 4], "zbits": "eNprZGAEAAGHAIM="}},  # more bits than pixels
        {"mask": {"size": [4, 4], "counts": "zzz"}},
        {"roi": None},
        {"roi": [0, 0, 0, 1]},
        {"score": "high"},
        {"size_px": [1]},
    ],
)
def test_what_is_malformed_is_refused(changes: dict[str, Any]) -> None:
    message = {**_message(np.eye(4, dtype=bool)), **changes}
    with pytest.raises(InputError):
        decode_mask(message)


def _valid(message: dict[str, Any]) -> None:
    """Against the schema, as it is after its way through JSON."""
    wire = json.loads(json.dumps(message, allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(wire)
    assert set(wire) <= set(SCHEMA["properties"])


def test_the_schema_is_one_and_describes_every_property() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    described = [*SCHEMA["properties"].values(), *SCHEMA["$defs"].values()]
    described += [p for d in SCHEMA["$defs"].values() for p in d.get("properties", {}).values()]
    assert all("description" in entry or "$ref" in entry for entry in described)


@given(
    bits=SIZES.flatmap(lambda size: arrays(np.bool_, size)),
    roi=ROIS.filter(Roi.overlaps_view),
    prompt=st.none() | ROIS,
    score=st.floats(-1, 2),
    gaze=st.none() | st.builds(Gaze, st.floats(), st.floats(), st.just(0)),
    ages=st.dictionaries(st.text(), st.integers(0, 10**12)),
)
def test_whatever_is_encoded_keeps_to_the_schema_and_is_read(
    bits: Any, roi: Roi, prompt: Roi | None, score: float, gaze: Gaze | None, ages: dict[str, int]
) -> None:
    mask = Mask.from_bits(bits, roi=roi, score=np.float32(score), size_px=(640, 480))
    frame = Frame(None, time.monotonic_ns(), 7)
    for result in (
        Result(frame, mask, prompt, gaze=gaze, ages_ns=ages, region="shelf"),
        Result(frame, None, prompt, gaze=gaze, settling=True),
    ):
        message = encode_result(result, device="desk", session="s", seq=3)
        _valid(message)
        assert (decode_mask(message) is None) == (result.mask is None)


def test_messages_of_the_network_keep_to_the_schema(photos: Path) -> None:
    with Segmenter() as segmenter:
        mask = segmenter.segment(photos / "chelsea.jpg", point=(180, 120))
    result = Result(Frame(None, time.monotonic_ns()), mask, mask.prompt)
    message = encode_result(result, device="desk", session="s", seq=0)
    _valid(message)
    assert mask.area_px > 0
    assert len(json.dumps(message, separators=(",", ":"))) < 1200


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"seq": -1},
        {"seq": "3"},
        {"mask": None},
        {"roi": None},
        {"roi": [0, 0, 0, 1]},
        {"roi": [0, 0, 1]},
        {"score": 1.5},
        {"bbox": [1, 2, 3]},
        {"area_px": None},
        {"mask": {"size": [4, 4]}},
        {"mask": {"size": [4, 4], "counts": "\u007f"}},
        {"sig": "deadbeef"},
        {"settling": None},
    ],
)
def test_the_schema_refuses_what_is_none(changes: dict[str, Any]) -> None:
    message = json.loads(json.dumps(_message(np.eye(4, dtype=bool))))
    _valid(message)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({**message, **changes})
