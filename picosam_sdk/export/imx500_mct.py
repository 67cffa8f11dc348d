"""Runs inside the environment of Sony's tools, as a script; it imports nothing of the SDK.

``quantize`` takes a model of :mod:`picosam_sdk.export.imx500_graph` through Sony's Model
Compression Toolkit (MCT) for the IMX500. ``compare`` runs MCT's model and its twin of plain
QuantizeLinear and DequantizeLinear on the same crops.

Exit codes: 0 done; 3 it cannot be done, and the last line of stderr says why.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CannotConvertError", "Network", "import_torchvision", "main"]

OPSET = 17
TARGET = ("5.0", "imx500")
"""Version of the description of the sensor (edge-mdt-tpc), and its name."""
BATCH = 8


class CannotConvertError(Exception):
    """The model is not one that this script can quantize."""


class Network(nn.Module):
    """An ONNX graph as a PyTorch module that torch.fx can trace.

    Args:
        model: of :func:`picosam_sdk.export.imx500_graph.sensor_graph`.

    Raises:
        CannotConvertError: an operator, or an option of one, is not known here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.input = model.graph.input[0].name
        self.outputs = [output.name for output in model.graph.output]
        self.steps: list[tuple[Callable[..., Any] | str, list[str | float], str]] = []
        for number, node in enumerate(model.graph.node):
            self._add(node, number)
        self.constants = {}

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """image float32 (N, 3, S, S), 0 to 255 -> the graph's outputs."""
        values: dict[str | float, Any] = {self.input: image}
        for action, inputs, out in self.steps:
            function = getattr(self, action) if isinstance(action, str) else action
            values[out] = function(*(values.get(item, item) for item in inputs))
        return tuple(values[name] for name in self.outputs)

    def _add(self, node: NodeProto, number: int) -> None:
        options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        inputs: list[str | float] = list(node.input)
        action: Callable[..., Any] | nn.Module
        match node.op_type:
            case "Conv" | "ConvTranspose":
                action, inputs = self._convolution(node, options), inputs[:1]
            case "Relu":
                action = nn.ReLU()
            case "Clip":
                if [float(self.constants[name]) for name in node.input[1:]] != [0.0, 6.0]:
                    raise CannotConvertError(f"{node.name}: Clip to other bounds than 0 and 6")
                action, inputs = nn.ReLU6(), inputs[:1]
            case "Resize":
                action, inputs = self._resize(node, options), inputs[:1]
            case "GlobalAveragePool":
                action = _mean
            case "Sigmoid":
                action = torch.sigmoid
            case "Concat":
                action = functools.partial(_concat, axis=options["axis"])
            case "Add" | "Sub" | "Mul" | "Div":
                action = _ARITHMETIC[node.op_type]
                inputs = [self._number(name) for name in node.input]
            case _:
                raise CannotConvertError(f"{node.name}: operator {node.op_type}")
        if isinstance(action, nn.Module):
            name = f"step{number}_{node.op_type.lower()}"
            self.add_module(name, action)
            self.steps.append((name, inputs, node.output[0]))
        else:
            self.steps.append((action, inputs, node.output[0]))

    def _number(self, name: str) -> str | float:
        """A constant of one value as that value; the name of a tensor as it is."""
        value = self.constants.get(name)
        if value is None:
            return name
        if value.size != 1:
            raise CannotConvertError(f"{name}: a constant of more than one value")
        return float(value.flat[0])

    def _convolution(self, node: NodeProto, options: dict[str, Any]) -> nn.Module:
        weight = torch.from_numpy(self.constants[node.input[1]].copy())
        bias = self.constants[node.input[2]].copy() if len(node.input) > 2 else None
        pads = options.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:]:
            raise CannotConvertError(f"{node.name}: unequal padding {pads}")
        groups = options.get("group", 1)
        transposed = node.op_type == "ConvTranspose"
        outs, ins = weight.shape[0], weight.shape[1] * groups
        if transposed:
            outs, ins = weight.shape[1] * groups, weight.shape[0]
        layer = (nn.ConvTranspose2d if transposed else nn.Conv2d)(
            ins, outs, (weight.shape[2], weight.shape[3]), tuple(options.get("strides", [1, 1])),
            tuple(pads[:2]), groups=groups, bias=bias is not None,
            dilation=tuple(options.get("dilations", [1, 1])),
        )  # fmt: skip
        layer.weight = nn.Parameter(weight)
        if bias is not None:
            layer.bias = nn.Parameter(torch.from_numpy(bias))
        return layer

    def _resize(self, node: NodeProto, options: dict[str, Any]) -> Callable[..., Any]:
        scales = self.constants.get(node.input[2]) if len(node.input) > 2 else None
        plain = options.get("mode", b"nearest") == b"nearest" and scales is not None
        if not plain or scales is None or [*scales[:2]] != [1, 1] or scales[2] != scales[3]:
            raise CannotConvertError(f"{node.name}: Resize other than nearest by a factor")
        return functools.partial(F.interpolate, scale_factor=float(scales[2]), mode="nearest")


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _concat(*values: Tensor, axis: int) -> Tensor:
    return torch.cat(values, axis)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
}


def import_torchvision() -> None:
    """Imports torchvision, which MCT asks for and does not use here.

    Beside a PyTorch of another build its operators are missing, and its import fails for want of
    their names: then they are declared first.
    """
    for _ in range(8):
        try:
            import_module("torchvision")
            return
        except RuntimeError as error:
            found = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if found is None:
                raise
            library: Any = torch.library
            library = library.Library("torchvision", "FRAGMENT")
            name = found[1].split("::")[1]
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _DECLARED.append(library)


_DECLARED: list[Any] = []  # an operator goes when its library goes


def quantize(source: Path, crops: NDArray[np.uint8], out: Path) -> None:
    """Quantizes a model and writes it in MCT's own ONNX operators.

    Args:
        crops: uint8 (N, S, S, 3), to calibrate on.
    """
    network = Network(onnx.load(source)).eval()
    import_torchvision()
    mct = import_module("model_compression_toolkit")
    target = import_module("edgemdt_tpc").get_target_platform_capabilities(*TARGET)
    pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float()

    def batches() -> Iterator[list[Tensor]]:
        for start in range(0, len(pictures), BATCH):
            yield [pictures[start : start + BATCH]]

    quantized, _ = mct.ptq.pytorch_post_training_quantization(
        network, batches, target_platform_capabilities=target
    )
    # MCT calls torch.onnx.export, whose new default cannot trace MCT's operators.
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    mct.exporter.pytorch_export_model(
        quantized, str(out), batches, onnx_opset_version=OPSET, output_names=network.outputs
    )


def compare(one: Path, other: Path, crops: NDArray[np.uint8]) -> dict[str, float]:
    """Largest difference of each output of MCT's model and its twin on the same crops."""
    import_torchvision()
    ort = import_module("onnxruntime")
    options = import_module("mct_quantizers").get_ort_session_options()
    plain = ort.SessionOptions()
    for item in (options, plain):  # as the graph says it, not as it runs fastest
        item.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        item.intra_op_num_threads = 1
    sessions = [
        ort.InferenceSession(str(path), item, providers=["CPUExecutionProvider"])
        for path, item in ((one, options), (other, plain))
    ]
    numbers = crops.transpose(0, 3, 1, 2).astype(np.float32)
    feeds = [{sessions[0].get_inputs()[0].name: numbers}, {"image": crops}]
    worst: dict[str, float] = {}
    for name in ("logits", "iou"):
        a, b = (s.run([name], feed)[0] for s, feed in zip(sessions, feeds, strict=True))
        worst[name] = float(np.abs(a.reshape(-1) - b.reshape(-1)).max())
    return worst


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("quantize", "compare"))
    parser.add_argument("source", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    crops = np.load(args.crops)
    try:
        if args.action == "quantize":
            quantize(args.source, crops, args.out)
        else:
            print(json.dumps(compare(args.source, args.out, crops)))
    except CannotConvertError as error:
        print(f"expected a network that the sensor can run, got {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
