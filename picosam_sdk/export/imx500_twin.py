"""MCT's ONNX model as a plain one, bit for bit, so that what runs in the sensor runs on a CPU.

MCT writes quantizers of its own: for an activation with threshold t, a rounding to steps of
t / 256 (t / 128 if signed); for weights the same with a threshold for each channel. Here they are
QuantizeLinear and DequantizeLinear. Signed activations become UINT8 with zero point 128: the
same values, and faster on x86. Biases stay float, as in MCT's model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from picosam_sdk.errors import ModelError
from picosam_sdk.export.graph import Graph, Step, attributes
from picosam_sdk.export.rewrite import tidy

__all__ = ["MCT_DOMAIN", "plain_twin"]

MCT_DOMAIN = "mct_quantizers"
IR_VERSION = 8
BITS = 8


def plain_twin(model: onnx.ModelProto, size_px: int) -> onnx.ModelProto:
    """Rewrites MCT's model in standard operators and the SDK's signature.

    Args:
        model: that MCT exported, with outputs ``logits`` and ``iou``; left as it is.
        size_px: of its input.

    Returns:
        A model with input ``image`` uint8 (N, S, S, 3) and outputs ``logits`` float32 (N, S, S)
        and ``iou`` float32 (N,).

    Raises:
        ModelError: it holds quantizers other than those of 8 bits that MCT uses for the sensor,
            or its input is not quantized to whole bytes.
    """
    work = onnx.ModelProto()
    work.CopyFrom(model)
    graph = Graph(work)
    for node in graph.nodes:
        if node.domain == MCT_DOMAIN:
            _replace_quantizer(graph, node)
    for entry in [entry for entry in work.opset_import if entry.domain == MCT_DOMAIN]:
        work.opset_import.remove(entry)
    tidy(graph)
    _take_bytes(graph, size_px)
    _drop_dimensions(graph, size_px)
    graph.prune()
    graph.infer_shapes()
    work.ir_version = IR_VERSION
    work.producer_name, work.producer_version = "picosam", ""
    del work.metadata_props[:]
    onnx.checker.check_model(work, full_check=True)
    return work


def _replace_quantizer(graph: Graph, node: NodeProto) -> None:
    options = attributes(node)
    kinds = ("ActivationPOTQuantizer", "WeightsSymmetricQuantizer", "WeightsPOTQuantizer")
    if node.op_type not in kinds or options.get("num_bits") != BITS:
        raise ModelError(
            f"expected quantizers {', '.join(kinds)} of {BITS} bits, got {node.op_type} of "
            f"{options.get('num_bits')} bits ({node.name})",
            hint="Use the versions of Sony's tools that 'picosam imx500 setup' installs.",
        )
    if node.op_type.startswith("Activation"):
        result = _activation(graph, node, options)
    else:
        result = _weights(graph, node, options)
    is_output = any(output.name == node.output[0] for output in graph.graph.output)
    if is_output:
        maker = graph.producer(result)
        assert maker is not None
        maker.output[0] = node.output[0]
    else:
        graph.replace_input(node.output[0], result)
    graph.remove(node)


def _activation(graph: Graph, node: NodeProto, options: dict[str, Any]) -> str:
    signed = bool(options["signed"])
    step = np.float32(options["threshold"] / 2 ** (BITS - signed))
    scale = graph.add_constant(np.asarray(step), "scale")
    zero = graph.add_constant(np.array(128 if signed else 0, np.uint8), "zero_point")
    steps: list[Step] = [
        (kind, [scale, zero], {}) for kind in ("QuantizeLinear", "DequantizeLinear")
    ]
    return graph.chain(node, node.input[0], steps)


def _weights(graph: Graph, node: NodeProto, options: dict[str, Any]) -> str:
    """The weight as INT8, rounded in float32 as MCT does it."""
    values, threshold = _constant(graph, node.input[0]), _constant(graph, node.input[1])
    axis = options["channel_axis"] if options["per_channel"] else None
    step = threshold.astype(np.float32).reshape(-1) / np.float32(2 ** (BITS - 1))
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
    whole = np.round(values.astype(np.float32) / step.reshape(shape))
    limit = 2 ** (BITS - 1)
    quantized = np.clip(whole, -limit, limit - 1).astype(np.int8)
    name = graph.add_constant(quantized, "weight")
    if axis is None:
        scale = graph.add_constant(step[0], "scale")
        zero = graph.add_constant(np.array(0, np.int8), "zero_point")
        return graph.chain(node, name, [("DequantizeLinear", [scale, zero], {})])
    scale = graph.add_constant(step, "scale")
    zero = graph.add_constant(np.zeros(step.shape, np.int8), "zero_point")
    return graph.chain(node, name, [("DequantizeLinear", [scale, zero], {"axis": axis})])


def _constant(graph: Graph, name: str) -> NDArray[Any]:
    """A value that stands in the graph, or in a Constant node, or behind an Identity of it."""
    while (maker := graph.producer(name)) is not None and maker.op_type == "Identity":
        name = maker.input[0]
    value = graph.constant(name)
    if value is None and maker is not None and maker.op_type == "Constant":
        value = onnx.numpy_helper.to_array(attributes(maker)["value"])
    if value is None:
        raise ModelError(
            f"expected weights that are constant, got '{name}', which is computed",
            hint="Quantize the model again with 'picosam imx500 convert'.",
        )
    return value


def _take_bytes(graph: Graph, size_px: int) -> None:
    """Bytes, channels last, in place of numbers: they are what MCT's first quantizer lets pass."""
    old = graph.graph.input[0].name
    first = graph.only_consumer(old)
    step = graph.constant(first.input[1]) if first and first.op_type == "QuantizeLinear" else None
    following = graph.only_consumer(first.output[0]) if first else None
    if first is None or following is None or step is None or float(step) != 1.0:
        raise ModelError(
            f"expected an input quantized to whole bytes, got steps of {step}",
            hint="Calibrate on pictures that are not all dark: bright ones set the range.",
        )
    numbers = graph.chain(
        first,
        "image",
        [("Transpose", [], {"perm": [0, 3, 1, 2]}), ("DequantizeLinear", first.input[1:], {})],
    )
    graph.replace_input(following.output[0], numbers)
    del graph.graph.input[:]
    shape: list[str | int | None] = ["N", size_px, size_px, 3]
    graph.graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, shape))


def _drop_dimensions(graph: Graph, size_px: int) -> None:
    """Outputs (N, S, S) and (N,) in place of (N, 1, S, S) and (N, 1, 1, 1)."""
    del graph.graph.output[:]
    shapes: dict[str, list[str | int]] = {"logits": ["N", size_px, size_px], "iou": ["N"]}
    for name, shape in shapes.items():
        maker = graph.producer(name)
        if maker is None:
            raise ModelError(
                f"expected an output '{name}' in MCT's model, got none",
                hint="Quantize the model again with 'picosam imx500 convert'.",
            )
        full = maker.output[0] = graph.fresh(name)
        axes = np.array([1] if name == "logits" else [1, 2, 3])
        graph.graph.node.append(
            helper.make_node("Squeeze", [full, graph.add_constant(axes, "axes")], [name], name=name)
        )
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph.graph.output.append(info)
