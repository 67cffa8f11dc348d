"""Export: what the ONNX model computes is what the network computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from picosam_sdk import InputError, ModelCard
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.export.calibration import Crops
from picosam_sdk.export.onnx import FoldedAttention, export_onnx, export_weights
from picosam_sdk.modelcard import METADATA_KEY
from picosam_sdk.training.net import EfficientChannelAttention, build, count_macs, count_parameters

NETWORKS = pytest.mark.parametrize("name", ["lite", "paper"])
Make = Callable[[str], Any]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_folded_attention_equals_true_attention(kernel: int) -> None:
    torch.manual_seed(kernel)
    attention = EfficientChannelAttention(kernel)
    features = torch.randn(3, 17, 6, 5)
    with torch.no_grad():
        expected = attention(features)
        folded = FoldedAttention(attention, 17)
        torch.testing.assert_close(folded(features), expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(expected, features)
    assert folded.conv.weight.count_nonzero() == sum(
        17 - abs(i - kernel // 2) for i in range(kernel)
    )


@NETWORKS
def test_float_model_equals_the_network(name: str, trio: Make, crops: tuple[Crops, Crops]) -> None:
    made, images = trio(name), crops[1].images[:5]
    with torch.no_grad():
        logits, iou = made.net(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    backend = OnnxBackend(made.float32)
    actual, score = backend.infer(images)
    assert 0.1 < (logits > 0).float().mean() < 0.9  # the masks are masks
    np.testing.assert_allclose(actual, logits[:, 0].numpy(), atol=2e-3)
    np.testing.assert_allclose(score, iou.numpy(), atol=1e-4)


@NETWORKS
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_batch_equals_its_parts(
    name: str, kind: str, trio: Make, crops: tuple[Crops, Crops]
) -> None:
    backend = OnnxBackend(getattr(trio(name), kind))
    images = crops[1].images[:5]
    logits, iou = backend.infer(images)
    assert logits.shape == (5, 96, 96)
    assert iou.shape == (5,)
    for i in range(5):
        one, score = backend.infer(images[i : i + 1])
        np.testing.assert_array_equal(one[0], logits[i])
        np.testing.assert_allclose(score[0], iou[i], atol=1e-6)


@NETWORKS
def test_graph_and_card(name: str, trio: Make) -> None:
    made = trio(name)
    model = onnx.load(made.float32)
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "Constant", "Identity", "ReduceMean"}
    assert model.opset_import[0].version >= 17
    image, (logits, iou) = model.graph.input[0], model.graph.output
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [0, 96, 96, 3]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value for dim in logits.type.tensor_type.shape.dim] == [0, 96, 96]
    assert [dim.dim_value for dim in iou.type.tensor_type.shape.dim] == [0]
    card = ModelCard.read(made.float32)
    inner = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
    assert ModelCard.from_json(inner).sha256 == ""
    assert inner.replace('"sha256": ""', f'"sha256": "{card.sha256}"') == card.to_json()
    assert (card.name, card.network, card.quantization) == (f"random {name}", name, "float32")
    assert card.parameters == count_parameters(build(name))
    assert card.macs == count_macs(build(name))
    assert card.crop.square is False
    assert card.training == {"steps": 10, "crops": 480}


def test_other_sizes_and_no_attention() -> None:
    torch.manual_seed(0)
    model = export_onnx(build("lite", attention=False), size_px=64)
    shape = model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [0, 64, 64, 3]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, trio: Make) -> None:
    text, empty, other = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    text.write_text("not weights")
    torch.save({"state": {}}, empty)
    record = torch.load(trio("lite").weights, weights_only=True)
    torch.save(record | {"network": "paper"}, other)
    for path, message in (
        (text, "expected weights written by 'picosam train'"),
        (empty, "a file without"),
        (other, "expected weights of the network 'paper'"),
        (tmp_path / "none.pt", "expected weights written by 'picosam train'"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            export_weights(path, tmp_path / "out.onnx")
        assert caught.value.hint
    assert not (tmp_path / "out.onnx").exists()
