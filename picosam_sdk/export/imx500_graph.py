"""A float32 model as the IMX500's tools accept it: the same function, in other operators.

Measured with imx500-converter 3.19: it refuses DepthToSpace, convolutions that are not 2-D, and
tensors that are an output and read inside as well. So the picture comes in as numbers, channels
first; the shuffle is a transposed convolution with a one for each value that it moves; linear
layers are 1x1 convolutions; and an output has a node of its own. The normalisation stays inside:
the sensor feeds bytes. (ECA has been a 1x1 convolution since 'picosam export'.)
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from picosam_sdk.errors import ModelError
from picosam_sdk.export.graph import Graph, attributes
from picosam_sdk.export.rewrite import tidy

__all__ = ["OPERATORS", "sensor_graph"]

OPERATORS = frozenset(
    {
        "Add", "Clip", "Concat", "Conv", "ConvTranspose", "Div", "GlobalAveragePool", "Mul",
        "Relu", "Resize", "Sigmoid", "Sub",
    }
)  # fmt: skip
"""What a graph for the sensor consists of; each was seen to convert."""


def sensor_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites a float32 model of the SDK's signature for the sensor.

    Args:
        model: left as it is.

    Returns:
        A model with input ``image`` float32 (N, 3, S, S), 0 to 255, and outputs ``logits``
        (N, 1, S, S) and ``iou`` (N, 1, 1, 1).

    Raises:
        ModelError: it has operators that the sensor does not know.
    """
    work = onnx.ModelProto()
    work.CopyFrom(model)
    graph = Graph(work)
    tidy(graph)
    _take_numbers(graph)
    _shuffle_by_convolution(graph)
    _keep_four_dimensions(graph)
    _separate_outputs(graph)
    graph.prune()
    _check_operators(graph)
    del work.metadata_props[:]
    onnx.checker.check_model(work, full_check=True)
    return work


def _take_numbers(graph: Graph) -> None:
    """Drops the way from bytes, channels last, to numbers, channels first."""
    name = graph.graph.input[0].name
    size = graph.shape(name)[1]
    found: list[NodeProto] = []
    source = name
    while (node := graph.only_consumer(source)) is not None and node.op_type in (
        "Cast",
        "Transpose",
    ):
        found.append(node)
        source = node.output[0]
    graph.replace_input(source, name)
    graph.remove(*found)
    del graph.graph.input[:]
    shape: list[str | int | None] = ["N", 3, size, size]
    graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _shuffle_by_convolution(graph: Graph) -> None:
    """DepthToSpace as a transposed convolution whose stride is its kernel."""
    for node in graph.of_type("DepthToSpace"):
        options = attributes(node)
        block: int = options["blocksize"]
        channels = graph.picture(node.input[0])[0]
        outs = channels // block**2
        # Places of (output channel, row, column) among the input's channels, and of the rows.
        places = np.arange(channels).reshape(outs, block, block)
        if options.get("mode", b"DCR") == b"DCR":
            places = np.moveaxis(np.arange(channels).reshape(block, block, outs), -1, 0)
        weight = np.zeros((channels, outs, block, block), np.float32)
        for (out, row, column), place in np.ndenumerate(places):
            weight[place, out, row, column] = 1
        name = graph.add_constant(weight, "shuffle")
        sides = {"kernel_shape": [block, block], "strides": [block, block]}
        moved = graph.chain(node, node.input[0], [("ConvTranspose", [name], sides)])
        graph.replace_input(node.output[0], moved)
        graph.remove(node)


def _keep_four_dimensions(graph: Graph) -> None:
    """Pooled features stay (N, C, 1, 1): no Flatten, and Gemm as a 1x1 convolution."""
    for node in graph.of_type("Flatten"):
        if graph.shape(node.input[0])[2:] == (1, 1):
            graph.replace_input(node.output[0], node.input[0])
            graph.remove(node)
    for node in graph.of_type("Gemm"):
        options, weight = attributes(node), graph.constant(node.input[1])
        scaled = options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0
        if weight is None or scaled or options.get("transA", 0):
            continue
        weight = weight if options.get("transB", 0) else weight.T
        name = graph.add_constant(weight[:, :, None, None], "linear")
        out = graph.chain(node, node.input[0], [("Conv", [name, *node.input[2:]], {})])
        graph.replace_input(node.output[0], out)
        graph.remove(node)


def _separate_outputs(graph: Graph) -> None:
    """Outputs as the last operator makes them, and nothing else reads them."""
    names = [output.name for output in graph.graph.output]
    sources = []
    for name in names:
        node = graph.producer(name)
        while node is not None and node.op_type in ("Squeeze", "Reshape"):
            graph.remove(node)
            name = node.input[0]
            node = graph.producer(name)
        sources.append(name)
    del graph.graph.output[:]
    for name, source in zip(names, sources, strict=True):
        maker = graph.producer(source)
        assert maker is not None
        if graph.consumers(source):  # they get a twin's result
            twin = NodeProto()
            twin.CopyFrom(maker)
            twin.name = twin.output[0] = graph.fresh(f"{name}_twin")
            graph.graph.node.insert(graph.nodes.index(maker), twin)
            graph.replace_input(source, twin.output[0])
        maker.output[0] = name
        shape = ["N", None, None, None]
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _check_operators(graph: Graph) -> None:
    strange = sorted({node.op_type for node in graph.nodes} - OPERATORS)
    if strange:
        raise ModelError(
            f"expected a network of the operators {', '.join(sorted(OPERATORS))}, "
            f"got {', '.join(strange)} as well",
            hint="The sensor does not know them: express them by those that it knows.",
        )
