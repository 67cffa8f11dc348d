"""Every oddity of the sensor's metadata, through the real helper class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk.backends.imx500.outputs import Outputs, input_tensor, read_outputs
from picosam_sdk.testing.imx500 import EmulatedImx500
from picosam_sdk.testing.imx500.sensor import tensor_info
from tests.imx500.conftest import FAST, red_scene


@pytest.fixture(scope="module")
def helper(model: Path) -> Iterator[Any]:
    with EmulatedImx500(red_scene()[0], **FAST) as device:
        from picamera2.devices import IMX500

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield IMX500(str(device.rpk(model)))


def metadata(*shapes: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """A mask whose top left quarter is the object, and a score of 0.75, unless told otherwise."""
    mask = np.full((96, 96), -2.0, np.float32)
    mask[:48, :24] = 3.0
    values = {96 * 96: mask.ravel(order="F").tolist(), 1: [0.75]}
    chosen = shapes or ((1, 96, 96), (1, 1, 1))
    tensor = [v for s in chosen for v in values.get(int(np.prod(s)), [0.0] * int(np.prod(s)))]
    found = {
        "CnnOutputTensor": tuple(tensor),
        "CnnOutputTensorInfo": tuple(tensor_info(list(chosen), 7)),
        "CnnKpiInfo": (7100, 900),
    }
    return {key: value for key, value in (found | changes).items() if value is not None}


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 96, 96), (1, 1, 1)),
        ((96, 96), (1,)),
        ((1,), (96, 96, 1)),
        ((1, 1, 96, 96), (1, 1)),
    ],
)
def test_mask_and_score_in_any_order_and_layout(helper: Any, shapes: Any) -> None:
    outputs = read_outputs(helper, metadata(*shapes), 96)
    assert isinstance(outputs, Outputs)
    inside = outputs.logits > 0
    assert outputs.logits.dtype == np.float32
    assert outputs.logits.flags.c_contiguous
    assert inside[:48, :24].all()  # tall, not wide: rows are rows
    assert inside.sum() == 48 * 24
    assert outputs.score == 0.75
    assert outputs.timings_ms == {"dnn": 7.1, "dsp": 0.9}
    assert outputs.note == ""


def test_a_network_without_score_says_how_sure_its_pixels_are(helper: Any) -> None:
    outputs = read_outputs(helper, metadata((1, 96, 96)), 96)
    assert isinstance(outputs, Outputs)
    assert outputs.score == pytest.approx(1 / (1 + np.exp(-3.0)))


@pytest.mark.parametrize(
    "changes",
    [
        {"CnnOutputTensor": None, "CnnOutputTensorInfo": None, "CnnKpiInfo": None},
        {"CnnOutputTensor": (), "CnnOutputTensorInfo": ()},
    ],
)
def test_a_frame_without_inference(helper: Any, changes: dict[str, Any]) -> None:
    assert read_outputs(helper, metadata(**changes), 96) is None


def test_older_libcameras_description_is_understood(helper: Any) -> None:
    short = metadata()
    short["CnnOutputTensorInfo"] = short["CnnOutputTensorInfo"][:708]
    with pytest.raises(ValueError, match="708 does not match"):
        helper.get_outputs(short)
    outputs = read_outputs(helper, short, 96)
    assert isinstance(outputs, Outputs)
    assert (outputs.logits > 0).sum() == 48 * 24
    assert "708" in outputs.note


def test_an_older_picamera2_with_a_newer_libcamera(
    helper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    from picamera2.devices.imx500 import imx500

    class Older(ctypes.LittleEndianStructure):
        _fields_ = imx500.CnnOutputTensorInfoExported._fields_[:-1]

    monkeypatch.setattr(imx500, "CnnOutputTensorInfoExported", Older)
    monkeypatch.setattr(Older, "frameCount", 0, raising=False)
    outputs = read_outputs(helper, metadata(), 96)
    assert isinstance(outputs, Outputs)
    assert "712 bytes where picamera2 expects 708" in outputs.note


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"CnnOutputTensorInfo": None}, "tensor without its description"),
        ({"CnnOutputTensor": None}, "description without a tensor"),
        ({"CnnOutputTensor": (0.5,) * 9000}, "tensor of 9000 values, described as 9217"),
        ({"CnnOutputTensor": (0.5,) * 9300}, "tensor of 9300 values, described as 9217"),
        ({"CnnOutputTensorInfo": (0,) * 700}, "description of 700 bytes"),
        ({"CnnOutputTensor": (float("nan"),) * 9217}, "NaN"),
        ({"CnnOutputTensorInfo": (0,) * 712}, "described as 0"),
    ],
)
def test_what_cannot_be_used_is_named(helper: Any, changes: dict[str, Any], why: str) -> None:
    outputs = read_outputs(helper, metadata(**changes), 96)
    assert isinstance(outputs, str)
    assert why in outputs


@pytest.mark.parametrize("shapes", [((1, 48, 48), (1,)), ((1,),), ((96, 96), (96, 96))])
def test_outputs_of_another_network_are_refused(helper: Any, shapes: Any) -> None:
    assert isinstance(read_outputs(helper, metadata(*shapes), 96), str)


def test_missing_run_times_are_no_fault(helper: Any) -> None:
    outputs = read_outputs(helper, metadata(CnnKpiInfo=None), 96)
    assert isinstance(outputs, Outputs)
    assert outputs.timings_ms == {}


def test_input_tensor_comes_in_planes() -> None:
    crop = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    planes = tuple(crop.transpose(2, 0, 1).ravel().tolist())
    seen = input_tensor({"CnnInputTensor": planes}, 4)
    assert seen is not None
    assert np.array_equal(seen, crop)
    assert input_tensor({}, 4) is None
    assert input_tensor({"CnnInputTensor": planes[:-1]}, 4) is None
