"""A network whose answer can be read off the picture, and scenes that show where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from picosam_sdk import CropRule, ModelCard
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.testing.imx500 import EmulatedImx500
from picosam_sdk.types import ImageArray

SIZE = 96
FAST: dict[str, Any] = {"fps": None, "upload_s": 0.0}
QUICK: dict[str, Any] = {"settle_frames": 2, "progress": False, "frames": False, "backoff_s": 0.01}


def red_model(path: Path, square: bool = False) -> Path:
    """An ONNX model for which red is the object: logits are (red - green - 100) / 20."""
    shape = ["N", SIZE, SIZE]
    constants = {"zero": 0, "one": 1}
    values = {"hundred": 100.0, "twenty": 20.0, "none": 0.1, "more": 0.8}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", ["float", "zero"], ["red"], axis=3),
            helper.make_node("Gather", ["float", "one"], ["green"], axis=3),
            helper.make_node("Sub", ["red", "green"], ["difference"]),
            helper.make_node("Sub", ["difference", "hundred"], ["shifted"]),
            helper.make_node("Div", ["shifted", "twenty"], ["logits"]),
            helper.make_node("ReduceMax", ["logits"], ["top"], axes=[1, 2], keepdims=0),
            helper.make_node("Sigmoid", ["top"], ["sure"]),
            helper.make_node("Mul", ["sure", "more"], ["part"]),
            helper.make_node("Add", ["part", "none"], ["iou"]),
        ],
        "red",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*shape, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("iou", TensorProto.FLOAT, ["N"]),
        ],
        [
            *(helper.make_tensor(k, TensorProto.INT64, [], [v]) for k, v in constants.items()),
            *(helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in values.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    rule = CropRule(size_px=SIZE, padding=0.1, square=square)
    ModelCard(name="red", network="lite", crop=rule).write(path)
    return path


def red_scene() -> tuple[ImageArray, np.ndarray]:
    """A grey view of 2028 x 1520 with a red, asymmetric L; and where it is."""
    image = np.full((1520, 2028, 3), 90, np.uint8)
    truth = np.zeros((1520, 2028), bool)
    truth[400:900, 700:860] = True
    truth[740:900, 700:1300] = True
    image[truth] = (255, 20, 20)
    return image, truth


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_model(tmp_path_factory.mktemp("red") / "red.onnx")


@pytest.fixture
def plugged(model: Path) -> Iterator[Callable[..., tuple[EmulatedImx500, Path]]]:
    """Plugs an emulated camera in for one test; gives it and its network file."""
    with ExitStack() as stack:

        def plug(**options: Any) -> tuple[EmulatedImx500, Path]:
            scene = options.pop("scene", None)
            device = EmulatedImx500(red_scene()[0] if scene is None else scene, **FAST | options)
            stack.enter_context(device)
            return device, device.rpk(model)

        yield plug


@pytest.fixture
def opened(
    plugged: Callable[..., tuple[EmulatedImx500, Path]],
) -> Iterator[Callable[..., tuple[Imx500Backend, EmulatedImx500]]]:
    """Opens the backend on an emulated camera for one test."""
    with ExitStack() as stack:

        def open_backend(
            device: dict[str, Any] | None = None, **options: Any
        ) -> tuple[Imx500Backend, EmulatedImx500]:
            camera, network = plugged(**device or {})
            backend = Imx500Backend(network, **QUICK | options)
            stack.callback(backend.close)
            return backend, camera

        yield open_backend
