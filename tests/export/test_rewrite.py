"""The rewrites for INT8 kernels: the same values, in another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from picosam_sdk import ModelError
from picosam_sdk.export.calibration import Crops
from picosam_sdk.export.graph import Graph, attributes
from picosam_sdk.export.rewrite import (
    block_width,
    pad_channels,
    prepare_int8,
    shuffle_by_transpose,
    upsample_by_gather,
)

Make = Callable[[str], Any]


def run(model: onnx.ModelProto, values: NDArray[Any]) -> list[NDArray[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: values})


def small_model(
    nodes: list[onnx.NodeProto], shape: list[int], **constants: NDArray[Any]
) -> onnx.ModelProto:
    """A model from ``x`` (N, *shape) to ``y``."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "C", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rewritten(
    model: onnx.ModelProto, rewrite: Callable[[Graph], None]
) -> tuple[onnx.ModelProto, Graph]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    graph.infer_shapes()
    rewrite(graph)
    onnx.checker.check_model(copy, full_check=True)
    return copy, graph


@pytest.mark.parametrize(
    ("channels", "out", "kernel", "stride", "depthwise", "bias"),
    [
        (3, 32, 3, 2, False, True),  # the stem
        (3, 3, 3, 1, True, False),  # the paper's first layer
        (3, 48, 1, 1, False, True),
        (48, 1, 1, 1, False, True),
        (48, 4, 3, 1, False, False),
        (6, 8, 5, 1, False, True),
        (2, 5, 5, 2, False, False),
    ],
)
def test_blocks_of_pixels_give_the_same_sums(
    channels: int, out: int, kernel: int, stride: int, depthwise: bool, bias: bool
) -> None:
    rng = np.random.default_rng(out)
    side, pad = 32, kernel // 2
    weight = rng.standard_normal((out, 1 if depthwise else channels, kernel, kernel), np.float32)
    constants = {"w": weight}
    if bias:
        constants["b"] = rng.standard_normal(out, np.float32)
    conv = helper.make_node(
        "Conv", ["x", *constants], ["c"], kernel_shape=[kernel] * 2, strides=[stride] * 2,
        pads=[pad] * 4, dilations=[1, 1], group=channels if depthwise else 1,
    )  # fmt: skip
    model = small_model(
        [conv, helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Neg", ["r"], ["y"])],
        [channels, side, side],
        **constants,
    )
    changed, graph = rewritten(model, block_width)
    new = graph.of_type("Conv")[0]
    shape = graph.shape(new.input[1])
    assert shape[1] % 4 == 0
    assert shape[0] >= 16
    assert attributes(new)["strides"] == [stride, 1]
    assert graph.producer(graph.of_type("Relu")[0].input[0]) == new  # so that it can be folded
    x = rng.standard_normal((2, channels, side, side), np.float32)
    np.testing.assert_allclose(run(changed, x)[0], run(model, x)[0], rtol=1e-4, atol=1e-4)


def test_convolutions_that_suit_are_left_alone() -> None:
    conv = helper.make_node(
        "Conv", ["x", "w"], ["y"], kernel_shape=[1, 1], strides=[1, 1], pads=[0] * 4,
        dilations=[1, 1], group=1,
    )  # fmt: skip
    model = small_model([conv], [16, 8, 8], w=np.ones((24, 16, 1, 1), np.float32))
    changed, _ = rewritten(model, block_width)
    assert changed.graph.node == model.graph.node


@pytest.mark.parametrize("scale", [2, 3])
def test_gathers_equal_nearest_upsampling(scale: int) -> None:
    resize = helper.make_node(
        "Resize", ["x", "", "s"], ["r"], mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    negate = helper.make_node("Neg", ["r"], ["y"])
    sizes = np.array([1, 1, scale, scale], np.float32)
    model = small_model([resize, negate], [5, 6, 7], s=sizes)
    changed, graph = rewritten(model, upsample_by_gather)
    assert not graph.of_type("Resize")
    assert len(graph.of_type("Gather")) == 2
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 7), np.float32)
    np.testing.assert_array_equal(run(changed, x)[0], run(model, x)[0])
    np.testing.assert_array_equal(run(changed, x)[0], -x.repeat(scale, 2).repeat(scale, 3))


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_transposes_equal_depth_to_space(mode: str) -> None:
    shuffle = helper.make_node("DepthToSpace", ["x"], ["s"], blocksize=2, mode=mode)
    model = small_model([shuffle, helper.make_node("Neg", ["s"], ["y"])], [12, 5, 7])
    changed, graph = rewritten(model, shuffle_by_transpose)
    assert not graph.of_type("DepthToSpace")
    x = np.random.default_rng(0).standard_normal((2, 12, 5, 7), np.float32)
    np.testing.assert_array_equal(run(changed, x)[0], run(model, x)[0])


def test_other_upsampling_is_left_alone() -> None:
    resize = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear")
    model = small_model([resize], [5, 6, 7], s=np.array([1, 1, 2, 2], np.float32))
    _, graph = rewritten(model, upsample_by_gather)
    assert len(graph.of_type("Resize")) == 1


def test_depthwise_layers_get_multiples_of_16(trio: Make, crops: tuple[Crops, Crops]) -> None:
    model = onnx.load(trio("paper").float32)
    changed, graph = rewritten(model, pad_channels)

    def widths(graph: Graph) -> list[int]:
        groups = [attributes(conv)["group"] for conv in graph.of_type("Conv")]
        return [group for group in groups if group > 16]

    assert 40 in widths(rewritten(model, Graph.prune)[1])
    assert widths(graph)
    assert not [width for width in widths(graph) if width % 16]
    for new, old in zip(
        run(changed, crops[1].images[:3]), run(model, crops[1].images[:3]), strict=True
    ):
        np.testing.assert_allclose(new, old, atol=1e-4)


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_prepared_model_equals_the_model(name: str, trio: Make, crops: tuple[Crops, Crops]) -> None:
    model = onnx.load(trio(name).float32)
    changed, graph = rewritten(model, prepare_int8)
    assert not graph.of_type("Resize")
    (logits, iou), (expected, score) = (run(m, crops[1].images[:5]) for m in (changed, model))
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(iou, score, atol=1e-5)


def test_sizes_that_are_not_fixed_are_refused() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])
    model = small_model([conv], ["H", "W", 4], w=np.ones((4, 4, 1, 1), np.float32))  # type: ignore[list-item]
    with pytest.raises(ModelError, match="of fixed size"):
        rewritten(model, prepare_int8)
