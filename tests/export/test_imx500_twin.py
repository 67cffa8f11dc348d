"""MCT's quantizers in standard operators, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from picosam_sdk.errors import ModelError
from picosam_sdk.export.calibration import Crops
from picosam_sdk.export.imx500_graph import sensor_graph
from picosam_sdk.export.imx500_twin import plain_twin
from tests.export.conftest import NETWORKS, Trio
from tests.export.fake_mct import DOMAIN, fake_mct

WEIGHT = np.random.default_rng(5).normal(size=(1, 3, 1, 1)).astype(np.float32)


def quantized_model(
    threshold: float = 4.0,
    signed: int = 1,
    bits: int = 8,
    weight_threshold: float = 1.5,
    input_threshold: float = 256.0,
) -> onnx.ModelProto:
    """One 1x1 convolution of scaled bytes, quantized as MCT writes it, to both outputs."""

    def activation(
        source: str, out: str, limit: float, sign: int, width: int = 8
    ) -> onnx.NodeProto:
        return helper.make_node(
            "ActivationPOTQuantizer", [source], [out], domain=DOMAIN,
            num_bits=width, signed=sign, threshold=limit,
        )  # fmt: skip

    limits = numpy_helper.from_array(np.array([weight_threshold], np.float32))
    nodes = [
        activation("input", "bytes", input_threshold, 0),
        helper.make_node("Mul", ["bytes", "scale"], ["x"]),
        helper.make_node("Identity", ["weight"], ["same"]),
        helper.make_node("Constant", [], ["limits"], value=limits),
        helper.make_node(
            "WeightsSymmetricQuantizer", ["same", "limits"], ["w"], domain=DOMAIN,
            num_bits=8, signed=1, per_channel=1, channel_axis=0,
        ),
        helper.make_node("Conv", ["x", "w"], ["y"]),
        activation("y", "logits", threshold, signed, bits),
        helper.make_node("GlobalAveragePool", ["y"], ["mean"]),
        activation("mean", "iou", 1.0, 0),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "mct",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("logits", "iou")],
        [
            numpy_helper.from_array(WEIGHT, "weight"),
            numpy_helper.from_array(np.array(2**-6, np.float32), "scale"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    return list(session.run(["logits", "iou"], {"image": image}))


def rounded(values: np.ndarray, threshold: float, signed: int) -> np.ndarray:
    """An activation quantizer by MCT's own definition."""
    step = threshold / 2 ** (8 - signed)
    return np.round(np.clip(values, -threshold * signed, threshold - step) / step) * step


@given(
    threshold=st.sampled_from([0.5, 4.0, 16.0]), signed=st.integers(0, 1),
    weight_threshold=st.floats(0.125, 3.0, width=32), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_computes_what_the_definition_says(
    threshold: float, signed: int, weight_threshold: float, seed: int
) -> None:
    """Weights clipped and rounded per channel, activations to whole steps, bytes as they are."""
    twin = plain_twin(quantized_model(threshold, signed, 8, weight_threshold), 4)
    image = np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3), np.uint8)
    step = np.float32(weight_threshold) / np.float32(128)
    weight = np.clip(np.round(WEIGHT / step), -128, 127) * step
    x = image.transpose(0, 3, 1, 2).astype(np.float32) / 64
    y = np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0])
    logits, iou = run(twin, image)
    step = threshold / 2 ** (8 - signed)
    np.testing.assert_array_equal(np.round(logits / step), logits / step)
    # A sum that float32 rounds another way may fall to the next step; none goes further.
    off = np.abs(logits - rounded(y, threshold, signed)[:, 0])
    assert off.max() <= step
    assert (off > 0).mean() < 0.01
    np.testing.assert_allclose(iou, rounded(y.mean((1, 2, 3)), 1.0, 0), atol=1 / 256)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_keeps_its_masks_and_gets_the_sdks_signature(
    name: str, trio: Callable[[str], Trio], crops: tuple[Crops, Crops]
) -> None:
    source = onnx.load(trio(name).float32)
    twin = plain_twin(fake_mct(sensor_graph(source), crops[0].images), 96)
    kinds = {node.op_type for node in twin.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert [entry.domain for entry in twin.opset_import] == [""]
    images = crops[0].images
    (a, _), (b, iou) = run(source, images), run(twin, images)
    assert (b.shape, iou.shape) == ((len(images), 96, 96), (len(images),))
    both, either = ((a > 0) & (b > 0)).sum(), ((a > 0) | (b > 0)).sum()
    assert both / either > 0.8  # min-max ranges of powers of two, on a random network


def test_weights_are_stored_in_a_byte_each() -> None:
    twin = plain_twin(quantized_model(), 4)
    stored = {t.name: t for t in twin.graph.initializer}
    (dequantize,) = [
        node
        for node in twin.graph.node
        if node.op_type == "DequantizeLinear"
        and stored.get(node.input[0], TensorProto()).data_type == TensorProto.INT8
    ]
    assert numpy_helper.to_array(stored[dequantize.input[0]]).shape == WEIGHT.shape


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": 16}, "ActivationPOTQuantizer of 16 bits"),
        ({"input_threshold": 128.0}, "quantized to whole bytes, got steps of 0.5"),
    ],
)
def test_other_quantizers_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        plain_twin(quantized_model(**options), 4)  # type: ignore[arg-type]
