"""Quantization: INT8 answers as float does, and its graph has the form that makes it fast."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from picosam_sdk import InputError, ModelCard, ModelError
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.export.calibration import Crops, compare, read_crops
from picosam_sdk.export.graph import Graph
from picosam_sdk.export.quantize import METHODS, quantize, quantize_file
from picosam_sdk.export.save import save_model, set_metrics
from picosam_sdk.modelcard import METADATA_KEY, card_path
from picosam_sdk.types import CropRule

NETWORKS = pytest.mark.parametrize("name", ["lite", "paper"])
Make = Callable[[str], Any]


@NETWORKS
def test_int8_answers_as_float(name: str, trio: Make, crops: tuple[Crops, Crops]) -> None:
    made = trio(name)
    result = compare(OnnxBackend(made.float32), OnnxBackend(made.int8), crops[1])
    assert result == made.quantized.agreement
    assert result.crops == 12
    # A trained network's masks agree to 0.98 and better; those of random weights are ragged,
    # and borders are where INT8 differs.
    assert result.mask_iou > 0.9
    assert result.score_error < 0.02
    assert result.miou_float is None
    assert result.miou_int8 is None
    assert made.int8.stat().st_size < 0.45 * made.float32.stat().st_size


@NETWORKS
def test_the_bytes_go_straight_into_the_first_convolution(name: str, trio: Make) -> None:
    graph = Graph(onnx.load(trio(name).int8))
    node = graph.of_type("Conv")[0]
    dequantize = graph.producer(node.input[0])
    assert dequantize is not None
    assert dequantize.op_type == "DequantizeLinear"
    scale, zero = (graph.constant(name) for name in dequantize.input[1:])
    assert scale is not None
    assert zero is not None
    every = np.arange(256, dtype=np.uint8)
    taken = (every.astype(np.float32) - np.float32(zero)) * scale  # what the operator computes
    np.testing.assert_array_equal(taken, (every.astype(np.float32) - 127) / np.float32(128))
    source = dequantize.input[0]
    while source != "image":
        move = graph.producer(source)
        assert move is not None
        assert move.op_type in ("Transpose", "Reshape")
        source = move.input[0]


@NETWORKS
def test_form_of_the_graph(name: str, trio: Make) -> None:
    model = onnx.load(trio(name).int8)
    graph = Graph(model)
    kinds = {node.op_type for node in graph.nodes}
    assert not kinds & {"Clip", "Cast", "Div", "Resize", "DepthToSpace", "Constant"}
    assert len(graph.of_type("Relu")) == 1  # the IoU head's own, which is float
    for node in graph.of_type("Transpose", "Reshape", "Gather"):
        before = graph.producer(node.input[0])
        assert before is None or before.op_type != "DequantizeLinear", node.name
    for node in graph.of_type("QuantizeLinear"):
        zero = graph.constant(node.input[2])
        assert zero is not None
        assert zero.dtype == np.uint8
        before = graph.producer(node.input[0])
        assert before is not None
        assert before.op_type != "DequantizeLinear"
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert ModelCard.from_json(entries[METADATA_KEY]).quantization == "int8"
    assert set(entries) == {METADATA_KEY}


@NETWORKS
def test_weights_cannot_overflow_16_bits(name: str, trio: Make) -> None:
    """Two neighbouring products of a byte and a weight, as CPUs without VNNI add them."""
    graph = Graph(onnx.load(trio(name).int8))
    seen = 0
    for node in graph.of_type("Conv"):
        source = graph.producer(node.input[1])
        if source is None:
            continue  # an attention's, which is float
        weight = graph.constant(source.input[0])
        assert weight is not None
        assert weight.dtype == np.int8
        if weight.shape[1] == 1:
            continue
        pairs = np.moveaxis(weight.astype(int), 1, -1).reshape(len(weight), -1, 2)
        assert (255 * np.maximum(pairs, 0).sum(2)).max() <= 32767
        assert (255 * np.minimum(pairs, 0).sum(2)).min() >= -32768
        assert np.abs(pairs).max() > 64  # and yet most of the range is in use
        seen += 1
    assert seen > 10


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_of_calibration(
    method: str, trio: Make, crops: tuple[Crops, Crops], tmp_path: Path
) -> None:
    made = trio("lite")
    calls: list[None] = []
    source = onnx.load(made.float32)
    before = source.SerializeToString()
    model = quantize(
        source, crops[0].images[:4], method=method, progress=lambda: calls.append(None)
    )
    assert source.SerializeToString() == before
    assert len(calls) == 4
    card = replace(ModelCard.read(made.float32), quantization="int8")
    save_model(model, card, tmp_path / "m.onnx")
    result = compare(OnnxBackend(made.float32), OnnxBackend(tmp_path / "m.onnx"), crops[1])
    assert result.mask_iou > 0.6


def test_metrics_can_be_added_to_a_model(trio: Make, tmp_path: Path) -> None:
    made = trio("lite")
    out = tmp_path / "named.onnx"
    set_metrics(made.int8, out, {"coco": {"miou": 0.5}}, "named")
    card = ModelCard.read(out)
    assert card.name == "named"
    assert card.metrics["coco"] == {"miou": 0.5}
    assert card.metrics["against_float"]["crops"] == 12
    assert onnx.load(out).graph == onnx.load(made.int8).graph
    OnnxBackend(out)


def test_shards_give_crops_with_masks(shard: Path) -> None:
    rule = CropRule(size_px=32, square=False)
    one, other = read_crops([shard.parent], rule, 3)
    assert one.images.shape[1:] == other.images.shape[1:] == (32, 32, 3)
    assert one.masks is not None
    assert other.masks is not None
    assert len(one.images) + len(other.images) <= 6
    assert 0.2 < one.masks.mean() < 0.9
    both = {image.tobytes() for image in one.images} & {image.tobytes() for image in other.images}
    assert not both
    again, _ = read_crops([shard], rule, 3)
    np.testing.assert_array_equal(one.images, again.images)


def test_true_masks_give_two_scores(trio: Make, shard: Path) -> None:
    made = trio("lite")
    _, crops = read_crops([shard], CropRule(square=False), 4)
    backend = OnnxBackend(made.float32)
    logits, _ = backend.infer(crops.images)
    perfect = compare(backend, backend, Crops(crops.images, logits > 0))
    assert (perfect.mask_iou, perfect.miou_float, perfect.miou_int8) == (1.0, 1.0, 1.0)
    wrong = compare(backend, backend, Crops(crops.images, logits <= 0))
    assert (wrong.mask_iou, wrong.miou_float) == (1.0, 0.0)


def test_nothing_to_calibrate_on_is_refused(trio: Make, tmp_path: Path, photos: Path) -> None:
    made = trio("lite")
    empty = tmp_path / "empty"
    empty.mkdir()
    for paths in ([empty], [tmp_path / "none"], [made.weights]):
        with pytest.raises(InputError, match="expected training shards"):
            quantize_file(made.float32, tmp_path / "out.onnx", paths)
    with pytest.raises(InputError, match="at least two photographs"):
        quantize_file(made.float32, tmp_path / "out.onnx", [photos / "coffee.jpg"])
    model = onnx.load(made.float32)
    for crops in (np.zeros((0, 96, 96, 3), np.uint8), np.zeros((2, 64, 64, 3), np.uint8)):
        with pytest.raises(InputError, match="expected calibration crops"):
            quantize(model, crops)
    assert not (tmp_path / "out.onnx").exists()


def test_models_that_do_not_suit_are_refused(trio: Make, tmp_path: Path, photos: Path) -> None:
    made = trio("lite")
    with pytest.raises(ModelError, match="expected a float32 model"):
        quantize_file(made.int8, tmp_path / "out.onnx", [photos])
    with pytest.raises(InputError, match="another file"):
        quantize_file(made.float32, made.float32, [photos])

    card = ModelCard.read(made.float32)
    wrong = onnx.load(made.float32)
    wrong.graph.output[1].name = "score"
    wrong.graph.node[-1].output[0] = "score"
    save_model(wrong, card, tmp_path / "wrong.onnx")
    with pytest.raises(ModelError, match="expected a graph with inputs and outputs"):
        quantize_file(tmp_path / "wrong.onnx", tmp_path / "out.onnx", [photos])

    other = onnx.load(made.float32)
    mean = next(node for node in other.graph.node if node.op_type == "Sub").input[1]
    for tensor in other.graph.initializer:
        if tensor.name == mean:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(123.5, np.float32), mean))
    save_model(other, card, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="a whole number"):
        quantize_file(tmp_path / "other.onnx", tmp_path / "out.onnx", [photos])

    cut = tmp_path / "cut.onnx"
    cut.write_bytes(made.float32.read_bytes()[:-2000])
    shutil.copy(card_path(made.float32), card_path(cut))
    with pytest.raises(ModelError, match="sha256"):
        quantize_file(cut, tmp_path / "out.onnx", [photos])
    card.write(cut)
    with pytest.raises(ModelError, match="expected an ONNX model"):
        quantize_file(cut, tmp_path / "out.onnx", [photos])
    assert not (tmp_path / "out.onnx").exists()
