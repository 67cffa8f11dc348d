"""Exact rewrites of ONNX graphs: the same values, in operators that run faster.

:func:`tidy` and :func:`share_pooling` serve every model; :func:`prepare_int8` brings a float
model into the shape that onnxruntime's INT8 kernels like. They work channels last, and measured
on x86 they are two to six times slower unless a dense convolution has a multiple of 4 channels
in and at least 16 out, and a depthwise one a multiple of 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from picosam_sdk.export.graph import Graph, Step, attributes

__all__ = ["prepare_int8", "share_pooling", "tidy"]

TO_NHWC: Step = ("Transpose", [], {"perm": [0, 2, 3, 1]})
TO_NCHW: Step = ("Transpose", [], {"perm": [0, 3, 1, 2]})


def tidy(graph: Graph) -> None:
    """Turns Constant nodes into initializers and drops Identity nodes."""
    for node in graph.of_type("Constant"):
        value = numpy_helper.to_array(attributes(node)["value"])
        graph.remove(node)
        graph.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    for node in graph.of_type("Identity"):
        graph.replace_input(node.output[0], node.input[0])
        graph.remove(node)
    graph.prune()
    graph.infer_shapes()


def share_pooling(graph: Graph) -> None:
    """Makes means over a picture GlobalAveragePool, and reuses ECA's for the gated features.

    ``mean(x * gate)`` is ``mean(x) * gate`` where the gate has one value a channel, and ECA
    has worked out ``mean(x)`` already.
    """
    for mean in graph.of_type("ReduceMean"):
        options = attributes(mean)
        if options.get("axes") not in ([2, 3], [-1, -2]) or options.get("keepdims", 1):
            continue
        source = mean.input[0]
        gated = graph.producer(source)
        if gated is not None and gated.op_type == "Mul" and _is_pooled(graph, gated.input[1]):
            pooled = _pool(graph, gated.input[0], gated)
            pooled = graph.chain(mean, pooled, [("Mul", [gated.input[1]], {})])
        else:
            pooled = _pool(graph, source, mean)
        flat = graph.chain(mean, pooled, [("Flatten", [], {"axis": 1})])
        graph.replace_input(mean.output[0], flat)
        graph.remove(mean)
    graph.infer_shapes()


def _is_pooled(graph: Graph, name: str) -> bool:
    return graph.shape(name)[2:] == (1, 1)


def _pool(graph: Graph, source: str, before: NodeProto) -> str:
    """The GlobalAveragePool of a tensor: the one that is there, or a new one."""
    for node in graph.consumers(source):
        if node.op_type == "GlobalAveragePool":
            return node.output[0]
    return graph.chain(before, source, [("GlobalAveragePool", [], {})])


def prepare_int8(graph: Graph) -> None:
    """Rewrites a float model for fast INT8 kernels; its outputs stay the same but for rounding."""
    pad_channels(graph)
    upsample_by_gather(graph)
    shuffle_by_transpose(graph)
    block_width(graph)
    graph.prune()
    graph.infer_shapes()


def upsample_by_gather(graph: Graph) -> None:
    """Nearest-neighbour Resize as two Gathers, channels last: copies of whole pixels and rows."""
    for node in graph.of_type("Resize"):
        options = attributes(node)
        (_, h, w), (_, high, wide) = graph.picture(node.input[0]), graph.picture(node.output[0])
        if options.get("mode", b"nearest") != b"nearest" or high % h or wide % w:
            continue
        columns = graph.add_constant(np.repeat(np.arange(w), wide // w), "columns")
        rows = graph.add_constant(np.repeat(np.arange(h), high // h), "rows")
        wider: Step = ("Gather", [columns], {"axis": 2})
        higher: Step = ("Gather", [rows], {"axis": 1})
        result = graph.chain(node, node.input[0], [TO_NHWC, wider, higher, TO_NCHW])
        graph.replace_input(node.output[0], result)
        graph.remove(node)
    graph.infer_shapes()


def shuffle_by_transpose(graph: Graph) -> None:
    """DepthToSpace as Transpose: onnxruntime before 1.18 does it for floats only."""
    for node in graph.of_type("DepthToSpace"):
        options = attributes(node)
        b = options["blocksize"]
        (_, h, w), (c, high, wide) = graph.picture(node.input[0]), graph.picture(node.output[0])
        column_row_depth = options.get("mode", b"DCR") == b"CRD"
        split = [0, h, w, c, b, b] if column_row_depth else [0, h, w, b, b, c]
        order = [0, 3, 1, 4, 2, 5] if column_row_depth else [0, 5, 1, 3, 2, 4]
        names = [
            graph.add_constant(np.array(shape), "shape") for shape in (split, [0, c, high, wide])
        ]
        steps: list[Step] = [
            TO_NHWC,
            ("Reshape", names[:1], {}),
            ("Transpose", [], {"perm": order}),
            ("Reshape", names[1:], {}),
        ]
        result = graph.chain(node, node.input[0], steps)
        graph.replace_input(node.output[0], result)
        graph.remove(node)
    graph.infer_shapes()


TIED = ("Relu", "Clip", "Sigmoid", "GlobalAveragePool", "Resize")
"""Operators that treat each channel alone, whatever their number."""


def pad_channels(graph: Graph, multiple: int = 16) -> None:
    """Adds channels of zeros until every depthwise convolution has a multiple of 16."""
    group_of = _channel_groups(graph)
    padded: dict[str, int] = {}
    for conv in graph.of_type("Conv"):
        channels, _, _ = graph.picture(conv.input[0])
        if _is_depthwise(graph, conv) and channels > multiple and channels % multiple:
            padded[group_of[conv.input[0]]] = channels
    for node in graph.nodes:
        known = node.op_type == "Conv" or bool(_tied_tensors(graph, node))
        for name in node.output if not known else ():
            padded.pop(group_of.get(name, ""), None)  # comes from elsewhere: cannot be padded

    def missing(name: str) -> int:
        return -padded.get(group_of.get(name, ""), 0) % multiple

    for node in graph.nodes:
        source, out = node.input[0], node.output[0]
        if node.op_type == "Conv":
            more_in = 0 if _is_depthwise(graph, node) else missing(source)
            _pad_conv(graph, node, missing(out), more_in)
        elif not _tied_tensors(graph, node):
            for name in [name for name in node.input if missing(name)]:
                channels = padded[group_of[name]]
                bounds = [graph.add_constant(np.array([v]), "slice") for v in (0, channels, 1)]
                cut = graph.chain(node, name, [("Slice", bounds, {})])
                graph.replace_input(name, cut, [node])
    graph.prune()
    graph.infer_shapes()


def _channel_groups(graph: Graph) -> dict[str, str]:
    """For every tensor the name of its group: tensors that must have equally many channels."""
    group: dict[str, str] = {}
    for node in graph.nodes:
        tied = _tied_tensors(graph, node)
        for name in (*node.input, *node.output):
            group.setdefault(name, name)
        for name in tied[1:]:
            old, new = group[name], group[tied[0]]
            group = {key: new if value == old else value for key, value in group.items()}
    return group


def _tied_tensors(graph: Graph, node: NodeProto) -> list[str]:
    """The node's tensors that must have equally many channels; none if it sets its own number."""
    if node.op_type in TIED or (node.op_type == "Conv" and _is_depthwise(graph, node)):
        return [node.input[0], node.output[0]]
    if node.op_type in ("Add", "Mul") and all(len(graph.shape(i)) == 4 for i in node.input):
        return [*node.input, *node.output]
    return []


def _is_depthwise(graph: Graph, conv: NodeProto) -> bool:
    channels = graph.shape(conv.input[1])[0]
    return channels == attributes(conv).get("group", 1) and channels != 1


def _pad_conv(graph: Graph, conv: NodeProto, more_out: int, more_in: int) -> None:
    if not more_out and not more_in:
        return
    weight, bias = _conv_constants(graph, conv)
    weight = np.pad(weight, ((0, more_out), (0, more_in), (0, 0), (0, 0)))
    _set_conv_constants(graph, conv, weight, np.pad(bias, (0, more_out)))
    for option in conv.attribute:
        if option.name == "group" and option.i > 1:
            option.i += more_out


def _conv_constants(graph: Graph, conv: NodeProto) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight (O, I, kh, kw) and bias (O,) of a convolution; zeros where it has no bias."""
    weight = graph.constant(conv.input[1])
    assert weight is not None
    bias = graph.constant(conv.input[2]) if len(conv.input) > 2 else None
    return weight, np.zeros(len(weight), weight.dtype) if bias is None else bias


def _set_conv_constants(
    graph: Graph, conv: NodeProto, weight: NDArray[Any], bias: NDArray[Any]
) -> None:
    source = conv.input[0]
    del conv.input[:]
    names = [graph.add_constant(weight, "weight"), graph.add_constant(bias, "bias")]
    conv.input.extend([source, *names])


def block_width(graph: Graph) -> None:
    """Lets narrow convolutions work on blocks of neighbouring pixels as if they were channels.

    Channels last, W pixels of C channels lie in memory as W/f pixels of f*C channels; a
    convolution on those that gives the same sums has enough channels for the fast kernels.
    Most of its weights are zero, yet it is faster: 3x3, 48 to 4 channels at 48x48, takes 47
    instead of 92 us.
    """
    for conv in graph.of_type("Conv"):
        plan = _block_plan(graph, conv)
        if plan is None:
            continue
        block, out_block = plan
        (c, h, w), (o, oh, ow) = graph.picture(conv.input[0]), graph.picture(conv.output[0])
        weight, bias = _conv_constants(graph, conv)
        if _is_depthwise(graph, conv):
            weight = np.einsum("oikl,oc->ockl", weight, np.eye(c, dtype=weight.dtype))
        options = attributes(conv)
        stride, pad = options["strides"][1], options["pads"]
        weight, left = _blocked(weight, block, out_block, stride, pad[1])
        _set_conv_constants(graph, conv, weight, np.tile(bias, out_block))
        kernel = weight.shape[2:]
        pads = [pad[0], left, pad[2], kernel[1] - 1 - left]
        del conv.attribute[:]
        for key, value in (
            ("kernel_shape", kernel), ("pads", pads), ("strides", [options["strides"][0], 1]),
        ):  # fmt: skip
            conv.attribute.append(helper.make_attribute(key, list(value)))
        shape = graph.add_constant(np.array([0, h, w // block, block * c]), "blocks")
        conv.input[0] = graph.chain(
            conv, conv.input[0], [TO_NHWC, ("Reshape", [shape], {}), TO_NCHW]
        )
        last = conv
        reader = graph.only_consumer(conv.output[0])
        if reader is not None and reader.op_type in ("Relu", "Clip"):
            last = reader  # stays with its convolution, whose output range it becomes
        shape = graph.add_constant(np.array([0, oh, ow, o]), "pixels")
        readers = graph.consumers(last.output[0])
        result = graph.chain(
            readers[0], last.output[0], [TO_NHWC, ("Reshape", [shape], {}), TO_NCHW]
        )
        graph.replace_input(last.output[0], result, readers)
        graph.infer_shapes()


def _block_plan(graph: Graph, conv: NodeProto) -> tuple[int, int] | None:
    """Pixels a block, in and out, that make a convolution's channels suit; None to leave it."""
    options = attributes(conv)
    (c, _, w), (o, _, ow) = graph.picture(conv.input[0]), graph.picture(conv.output[0])
    depthwise = _is_depthwise(graph, conv)
    stride = options["strides"][1]
    if (depthwise and c > 4) or (not depthwise and options.get("group", 1) > 1):
        return None
    suits = c % 4 == 0 and o >= 16 and not depthwise
    if suits or options["dilations"][1] != 1 or ow * stride != w:
        return None
    for out_block in (2, 4, 8, 16):
        block = out_block * stride
        if w % block == 0 and block * c % 4 == 0 and out_block * o >= 16:
            return block, out_block
    return None


def _blocked(
    weight: NDArray[Any], block: int, out_block: int, stride: int, pad: int
) -> tuple[NDArray[Any], int]:
    """A convolution's weight for blocks of pixels; also how many blocks it reaches to the left.

    Output pixel ``b`` of a block reads input pixels ``stride * b - pad + tap``, counted from the
    first pixel of the input block of the same number.
    """
    o, c, kh, taps = weight.shape
    reach = [stride * b - pad + tap for b in range(out_block) for tap in range(taps)]
    first, last = min(reach) // block, max(reach) // block
    result = np.zeros((out_block, o, block, c, kh, last - first + 1), weight.dtype)
    for b in range(out_block):
        for tap in range(taps):
            at = stride * b - pad + tap
            result[b, :, at % block, :, :, at // block - first] = weight[..., tap]
    return result.reshape(out_block * o, block * c, kh, last - first + 1), -first
