"""A float32 model to a static INT8 one: UINT8 activations, INT8 weights per channel, QDQ form.

The input needs no arithmetic: ``(byte - 127) / 128`` is what DequantizeLinear does with scale
1/128 and zero point 127, so the picture goes into the first convolution as it is. Activations
(ReLU, ReLU6) become the range of the tensor behind them. What is small and delicate stays
float: attention gates, the logits once they are out of the last convolution, the IoU head.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.errors import InputError, ModelError
from picosam_sdk.export.calibration import Agreement, compare, read_crops
from picosam_sdk.export.graph import Graph
from picosam_sdk.export.rewrite import prepare_int8, tidy
from picosam_sdk.export.save import read_model, save_model
from picosam_sdk.modelcard import METADATA_KEY, ModelCard
from picosam_sdk.types import ImageArray

__all__ = ["METHODS", "Quantized", "quantize", "quantize_file", "read_float_model"]

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
MOVES = ("Transpose", "Reshape", "Gather")
"""Operators that move values and never change them."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """What :func:`quantize_file` made: the card of the INT8 model, and how it compares."""

    card: ModelCard
    agreement: Agreement
    calibration_crops: int


def quantize_file(
    model: Path,
    out: Path,
    calibration: Sequence[Path],
    *,
    samples: int = 256,
    method: str = "minmax",
    seed: int = 0,
    progress: Callable[[], object] | None = None,
) -> Quantized:
    """Quantizes a model file; writes the INT8 model and its card, and compares the two.

    Args:
        model: what ``picosam export`` wrote.
        out: the .onnx file to write.
        calibration: training shards, pictures, or folders of them.
        samples: crops to calibrate on, and again as many others to compare on.
        method, progress: see :func:`quantize`.

    Raises:
        ModelError: the model cannot be read, is not float32 or has another signature.
        InputError: there is nothing to calibrate on.
    """
    if out.resolve() == model.resolve():
        raise InputError(
            f"expected another file to write to than the model itself, got {out}",
            hint="Name the result with -o, such as model-int8.onnx.",
        )
    source, card = read_float_model(model)
    crops, others = read_crops(calibration, card.crop, samples, seed)
    result = quantize(source, crops.images, method=method, progress=progress)
    card = replace(card, quantization="int8", metrics={})
    save_model(result, card, out)
    one, other = OnnxBackend(model), OnnxBackend(out)
    agreement = compare(one, other, others)
    one.close()
    other.close()
    card = replace(card, metrics={"against_float": asdict(agreement)})
    return Quantized(save_model(result, card, out), agreement, len(crops.images))


def read_float_model(path: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Reads a float32 model that ``picosam export`` wrote, with its card.

    Raises:
        ModelError: it cannot be read, has another signature, or is not float32.
    """
    model, card = read_model(path)
    _check(model, card, path)
    return model, card


def _check(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    size = card.crop.size_px
    expected = {"image": [size, size, 3], "logits": [size, size], "iou": []}
    actual = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
        for value in (*model.graph.input, *model.graph.output)
    }
    if actual != expected:
        raise ModelError(
            f"expected a graph with inputs and outputs (N, ...) {expected} in {path}, got {actual}",
            hint="Export it with 'picosam export', which makes this signature.",
        )
    if card.quantization != "float32" or any("Quantize" in n.op_type for n in model.graph.node):
        raise ModelError(
            f"expected a float32 model in {path}, got {card.quantization} (or a graph with QDQ)",
            hint="Quantize the model that 'picosam export' wrote.",
        )


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    """Hands the calibration crops over one by one."""

    def __init__(self, crops: ImageArray, progress: Callable[[], object] | None) -> None:
        self.left = iter(crops)
        self.progress = progress

    def get_next(self) -> dict[str, ImageArray] | None:
        crop = next(self.left, None)
        if crop is not None and self.progress is not None:
            self.progress()
        return None if crop is None else {"image": crop[None]}


def quantize(
    model: onnx.ModelProto,
    crops: ImageArray,
    *,
    method: str = "minmax",
    progress: Callable[[], object] | None = None,
) -> onnx.ModelProto:
    """Quantizes a float32 model of the SDK's signature.

    Args:
        model: left as it is.
        crops: for calibration, uint8 (N, S, S, 3): as the model will see them, some hundred.
        method: how ranges are chosen, one of :data:`METHODS`.
        progress: called once a calibration crop.

    Raises:
        InputError: the crops have another shape than the model's input, or there are none.
    """
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    suits = crops.dtype == np.uint8 and crops.shape[1:] == (size, size, 3) and len(crops) > 0
    if not suits:
        raise InputError(
            f"expected calibration crops of uint8 (N, {size}, {size}, 3), N at least 1, "
            f"got {crops.dtype} {crops.shape}",
            hint="Give training shards or a folder of photographs for calibration.",
        )
    work = onnx.ModelProto()
    work.CopyFrom(model)
    graph = Graph(work)
    tidy(graph)
    prepare_int8(graph)
    chosen = _nodes_to_quantize(graph)
    overrides = {_first_conv(graph).input[0]: [_byte_scale(graph)]}
    for node in graph.of_type("Conv"):
        if node.name in chosen:
            overrides[node.input[1]] = _weight_scales(graph, node)
    options = {"TensorQuantOverrides": overrides}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(work, source)
        quantize_static(
            source, target, _Crops(crops, progress), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
            calibrate_method=METHODS[method], nodes_to_quantize=chosen, extra_options=options,
        )  # fmt: skip
        result = onnx.load(target)
    _finish(Graph(result))
    result.ir_version = model.ir_version
    del result.metadata_props[:]
    result.metadata_props.extend(p for p in model.metadata_props if p.key != METADATA_KEY)
    onnx.checker.check_model(result)
    return result


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantizer's prints, log lines and warnings to itself."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def _first_conv(graph: Graph) -> NodeProto:
    """The convolution that the normalised picture goes into."""
    node = _normalisation(graph)[-1]
    while node.op_type != "Conv":
        following = graph.only_consumer(node.output[0])
        if following is None or following.op_type not in (*MOVES, "Conv"):
            raise _unexpected("its picture to go into one convolution")
        node = following
    return node


def _byte_scale(graph: Graph) -> dict[str, Any]:
    """Scale and zero point with which the bytes themselves are the normalised picture."""
    _, subtract, divide = _normalisation(graph)
    mean, std = graph.constant(subtract.input[1]), graph.constant(divide.input[1])
    if mean is None or std is None or mean.size != 1 or std.size != 1 or mean.item() % 1:
        raise _unexpected("(image - a whole number) / a number")
    scale, zero = np.float32(1 / std.item()), np.uint8(mean.item())
    return {"scale": np.array(scale), "zero_point": np.array(zero)}


def _normalisation(graph: Graph) -> list[NodeProto]:
    """The nodes Cast, Sub, Div that make numbers of the picture's bytes."""
    found = graph.of_type("Cast")[:1]
    while 0 < len(found) < 3:
        following = graph.only_consumer(found[-1].output[0])
        if following is None:
            break
        found.append(following)
    if [node.op_type for node in found] != ["Cast", "Sub", "Div"]:
        raise _unexpected("Cast, Sub and Div after its input")
    return found


def _unexpected(what: str) -> ModelError:
    return ModelError(
        f"expected a graph with {what}, got another one",
        hint="Quantize a model that 'picosam export' wrote.",
    )


def _nodes_to_quantize(graph: Graph) -> list[str]:
    """Names of the nodes that work on whole pictures of features, and of moves between them."""

    def is_picture(name: str) -> bool:
        shape = graph.shape(name)
        return len(shape) == 4 and shape[2:] != (1, 1)

    chosen: list[str] = []
    for node in reversed(graph.nodes):
        readers = [reader for out in node.output for reader in graph.consumers(out)]
        match node.op_type:
            case "Conv" | "Relu" | "Clip":
                take = is_picture(node.output[0])
            case "Add":
                take = all(is_picture(name) for name in node.input)
            case "Mul":  # a gate on features; the IoU head multiplies logits, and stays float
                take = is_picture(node.output[0]) and graph.shape(node.input[1])[2:] == (1, 1)
            case "GlobalAveragePool":
                take = graph.shape(node.input[0])[1] != 1
            case kind if kind in MOVES:
                take = any(reader.name in chosen for reader in readers)
            case _:
                take = False
        if take:
            chosen.append(node.name)
    return chosen


def _weight_scales(graph: Graph, conv: NodeProto) -> list[dict[str, Any]]:
    """Scale of each output channel's weights, so large that no CPU overflows.

    x86 CPUs without VNNI add two neighbouring products of a byte and a weight in 16 bits. Where
    two neighbouring weights of one sign sum up to more than 128, such a sum may saturate, so
    that channel's weights get a coarser scale; the others keep their full 8 bits.
    """
    weight = graph.constant(conv.input[1])
    assert weight is not None
    rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)
    scale = np.maximum(np.abs(rows).max(1), 1e-8) / np.float32(127)
    if weight.shape[1] > 1:  # depthwise kernels add in 32 bits
        pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
        while True:
            whole = np.round(pairs / scale[:, None, None])
            sums = np.maximum(np.maximum(whole, 0).sum(2), np.maximum(-whole, 0).sum(2)).max(1)
            if sums.max() <= 128:
                break
            scale *= np.where(sums > 128, (sums + 0.5) / 128, 1).astype(np.float32)
    zero = np.array(0, np.int8)
    scales: list[dict[str, Any]] = [
        {"scale": np.array(value, np.float32), "zero_point": zero} for value in scale
    ]
    scales[0]["axis"] = 0
    return scales


def _finish(graph: Graph) -> None:
    """Takes the picture in as bytes, lets moves work on bytes, and drops pairs that cancel."""
    cast, *_, divide = _normalisation(graph)
    node = divide
    while node.op_type != "QuantizeLinear":
        following = graph.only_consumer(node.output[0])
        assert following is not None
        node = following
    graph.replace_input(node.output[0], node.input[0])
    graph.replace_input(divide.output[0], cast.input[0])
    graph.prune()
    for node in graph.nodes:
        before = graph.producer(node.input[0])
        if before is None or before.op_type != "DequantizeLinear":
            continue
        if node.op_type in MOVES:
            readers = graph.consumers(node.output[0])
            node.input[0] = before.input[0]
            floats = graph.chain(
                readers[0], node.output[0], [("DequantizeLinear", before.input[1:], {})]
            )
            graph.replace_input(node.output[0], floats, readers)
        elif node.op_type == "QuantizeLinear" and _same(graph, before, node):
            graph.replace_input(node.output[0], before.input[0])
    graph.prune()
    graph.infer_shapes()


def _same(graph: Graph, one: NodeProto, other: NodeProto) -> bool:
    """Whether two nodes have equal scale and zero point."""
    values = [graph.constant(name) for name in (*one.input[1:3], *other.input[1:3])]
    return all(
        a is not None and b is not None and np.array_equal(a, b)
        for a, b in zip(values[:2], values[2:], strict=True)
    )
