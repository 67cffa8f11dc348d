"""The sensor's form of a network computes what the network computes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from picosam_sdk.errors import ModelError
from picosam_sdk.export import imx500_mct
from picosam_sdk.export.calibration import Crops
from picosam_sdk.export.imx500_graph import OPERATORS, sensor_graph
from picosam_sdk.export.imx500_mct import CannotConvertError, Network
from tests.export.conftest import NETWORKS, Trio

MakeTrio = Callable[[str], Trio]


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(["logits", "iou"], {"image": image}))


def small_model(
    *nodes: onnx.NodeProto, constants: dict[str, np.ndarray], channels: int = 1
) -> onnx.ModelProto:
    """bytes -> numbers ``x`` (N, 3, 4, 4) -> nodes -> ``y`` (N, channels, h, w) -> logits, iou."""
    before = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["first"], ["x"], to=TensorProto.FLOAT),
    ]
    after = [
        helper.make_node("Relu", ["y"], ["logits"]),
        helper.make_node("GlobalAveragePool", ["y"], ["iou"]),
    ]
    graph = helper.make_graph(
        [*before, *nodes, *after],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 4, 4, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("logits", "iou")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_same_function_in_the_sensors_operators(
    name: str, trio: MakeTrio, crops: tuple[Crops, Crops]
) -> None:
    source = onnx.load(trio(name).float32)
    sensor = sensor_graph(source)
    images = crops[1].images
    numbers = images.transpose(0, 3, 1, 2).astype(np.float32)
    logits, iou = run(sensor, numbers)
    assert (logits.shape, iou.shape) == ((len(images), 1, 96, 96), (len(images), 1, 1, 1))
    expected = run(source, images)
    np.testing.assert_allclose(logits[:, 0], expected[0], atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(iou.ravel(), expected[1], atol=1e-6)
    assert {node.op_type for node in sensor.graph.node} <= OPERATORS


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_trained_network_with_its_true_attention(
    name: str, trio: MakeTrio, crops: tuple[Crops, Crops]
) -> None:
    made = trio(name)
    numbers = crops[1].images.transpose(0, 3, 1, 2).astype(np.float32)
    assert any(isinstance(module, torch.nn.Conv1d) for module in made.net.modules())
    with torch.no_grad():
        logits, iou = made.net(torch.from_numpy(numbers))
    got = run(sensor_graph(onnx.load(made.float32)), numbers)
    np.testing.assert_allclose(got[0], logits.numpy(), atol=2e-3, rtol=1e-4)
    np.testing.assert_allclose(got[1].ravel(), iou.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_inside_reads_an_output(name: str, trio: MakeTrio) -> None:
    graph = sensor_graph(onnx.load(trio(name).float32)).graph
    assert [output.name for output in graph.output] == ["logits", "iou"]
    assert not {"logits", "iou"} & {source for node in graph.node for source in node.input}


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_the_shuffle_moves_every_value_where_it_was(mode: str) -> None:
    """12 channels at 4x4 become 3 at 8x8, in either order that ONNX knows."""
    weight = np.random.default_rng(0).normal(size=(12, 3, 1, 1)).astype(np.float32)
    model = small_model(
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode=mode),
        constants={"w": weight},
    )
    image = np.random.default_rng(1).integers(0, 255, (2, 4, 4, 3), np.uint8)
    got = run(sensor_graph(model), image.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(got[0], run(model, image)[0])


def test_other_operators_are_named() -> None:
    model = small_model(helper.make_node("Softmax", ["x"], ["y"], axis=1), constants={})
    with pytest.raises(ModelError, match="got Softmax as well"):
        sensor_graph(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_runs_the_graph_as_onnxruntime_does(
    name: str, trio: MakeTrio, crops: tuple[Crops, Crops]
) -> None:
    sensor = sensor_graph(onnx.load(trio(name).float32))
    network = Network(sensor).eval()
    numbers = crops[1].images.transpose(0, 3, 1, 2).astype(np.float32)
    with torch.no_grad():
        traced = torch.fx.symbolic_trace(network)  # what MCT does first
        got = traced(torch.from_numpy(numbers))
    for a, b in zip(got, run(sensor, numbers), strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=2e-3, rtol=1e-4)


def convolution(**options: object) -> onnx.ModelProto:
    """A small model for :class:`Network`: numbers in, one convolution."""
    weight = np.ones((1, 3, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **options)
    return sensor_graph(small_model(node, constants={"w": weight}))


def test_unequal_padding_is_refused() -> None:
    with pytest.raises(CannotConvertError, match=r"unequal padding \[0, 0, 1, 1\]"):
        Network(convolution(pads=[0, 0, 1, 1]))
    assert Network(convolution(pads=[1, 1, 1, 1])).eval()(torch.ones(1, 3, 4, 4))[0].shape[2] == 4


@pytest.mark.parametrize(
    ("node", "constants", "said"),
    [
        (("Clip", ["x", "low", "high"], {}), {"low": 0, "high": 1}, "Clip to other bounds"),
        (("Resize", ["x", "", "by"], {"mode": "linear"}), {"by": [1, 1, 2, 2]}, "Resize other"),
        (("Mul", ["x", "many"], {}), {"many": [[[1]], [[2]], [[3]]]}, "more than one value"),
    ],
)  # fmt: skip
def test_what_pytorch_would_run_otherwise_is_refused(
    node: tuple[str, list[str], dict[str, str]], constants: dict[str, object], said: str
) -> None:
    kind, inputs, options = node
    arrays = {key: np.array(value, np.float32) for key, value in constants.items()}
    model = small_model(helper.make_node(kind, inputs, ["y"], **options), constants=arrays)
    with pytest.raises(CannotConvertError, match=said):
        Network(sensor_graph(model))


def test_the_script_imports_nothing_of_the_sdk_and_says_what_it_refuses(tmp_path: Path) -> None:
    """In isolated mode, as in the tools' environment, where the SDK is not installed."""
    model, crops = tmp_path / "model.onnx", tmp_path / "crops.npy"
    onnx.save(convolution(pads=[0, 0, 1, 1]), model)
    np.save(crops, np.zeros((1, 4, 4, 3), np.uint8))
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: assert 'picosam_sdk' not in sys.modules"
    )
    script = Path(imx500_mct.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, script, "quantize", model, crops, tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "unequal padding" in done.stderr.splitlines()[-1]
