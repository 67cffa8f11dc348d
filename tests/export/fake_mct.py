"""What Sony's Model Compression Toolkit makes of a graph, imitated: quantizers of its own domain.

As a script it stands in for our script in the tools' environment: ``quantize`` puts quantizers
into the sensor's graph, ``compare`` finds no difference.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

DOMAIN = "mct_quantizers"


def fake_mct(sensor: onnx.ModelProto, crops: np.ndarray, bits: int = 8) -> onnx.ModelProto:
    """Quantizes weights per channel, and activations to powers of two by their largest values."""
    work = onnx.ModelProto()
    work.CopyFrom(sensor)
    worst = _largest(work, crops)
    constants = {t.name: numpy_helper.to_array(t) for t in work.graph.initializer}
    nodes = [_activation("image", "image_q", 256.0, False, bits)]
    outputs = {output.name for output in work.graph.output}
    for number, node in enumerate(work.graph.node):
        for index, name in enumerate(node.input):
            if name not in constants and name:
                node.input[index] = f"{name}_q"
        if node.op_type in ("Conv", "ConvTranspose"):
            axis = 0 if node.op_type == "Conv" else 1
            weight = constants[node.input[1]]
            limits = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(1)
            threshold = f"threshold{number}"
            work.graph.initializer.append(
                numpy_helper.from_array(np.maximum(limits, 1e-6).astype(np.float32), threshold)
            )
            nodes.append(
                helper.make_node(
                    "WeightsSymmetricQuantizer", [node.input[1], threshold], [f"weight{number}"],
                    domain=DOMAIN, num_bits=8, signed=1, per_channel=1, channel_axis=axis,
                )
            )  # fmt: skip
            node.input[1] = f"weight{number}"
        name = node.output[0]
        nodes.append(node)
        low, high = worst[name]
        limit = float(2 ** np.ceil(np.log2(max(-low, high, 1e-3))))
        if name in outputs:
            node.output[0] = f"{name}_raw"
            nodes.append(_activation(f"{name}_raw", name, limit, low < 0, bits))
        else:
            nodes.append(_activation(name, f"{name}_q", limit, low < 0, bits))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del work.graph.node[:]
    work.graph.node.extend(kept)
    work.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return work


def _activation(source: str, out: str, threshold: float, signed: bool, bits: int) -> onnx.NodeProto:
    return helper.make_node(
        "ActivationPOTQuantizer", [source], [out], domain=DOMAIN,
        num_bits=bits, signed=int(signed), threshold=threshold,
    )  # fmt: skip


def _largest(model: onnx.ModelProto, crops: np.ndarray) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every tensor."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [node.output[0] for node in probe.graph.node]
    del probe.graph.output[:]
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(names, {"image": crops.transpose(0, 3, 1, 2).astype(np.float32)})
    return {n: (float(v.min()), float(v.max())) for n, v in zip(names, values, strict=True)}


if __name__ == "__main__":
    action, source, crops_path, out = sys.argv[-4:]
    if action == "compare":
        print(json.dumps({"logits": 0.0, "iou": 0.0}))
    else:
        onnx.save(fake_mct(onnx.load(source), np.load(crops_path)), out)
