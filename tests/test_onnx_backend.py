"""The ONNX Runtime backend on the model that ships."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from picosam_sdk import BackendError, InputError, ModelCard, ModelError
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.modelcard import DEFAULT_MODEL, card_path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped model and its card, to be tampered with."""
    for path in (DEFAULT_MODEL, card_path(DEFAULT_MODEL)):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / DEFAULT_MODEL.name


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 96, 96, 3), np.uint8)


def test_a_batch_equals_its_parts() -> None:
    backend = OnnxBackend()
    batch = crops(5)
    logits, iou = backend.infer(batch)
    assert logits.dtype == iou.dtype == np.float32
    assert logits.shape == (5, 96, 96)
    assert iou.shape == (5,)
    assert ((iou >= 0) & (iou <= 1)).all()
    for i in range(5):
        one, score = backend.infer(batch[i : i + 1])
        assert np.array_equal(one[0], logits[i])
        assert score[0] == iou[i]
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.infer(batch)


def test_the_shipped_card_tells_the_truth() -> None:
    card = ModelCard.read(DEFAULT_MODEL)
    assert card.quantization == "int8"
    assert card.crop.size_px == 96
    assert 0 < card.parameters <= 1.4e6
    assert 0 < card.macs <= 331e6
    assert ModelCard.from_json(card.to_json()) == card
    assert {"miou", "n"} <= set(card.metrics["coco_dev"])


@pytest.mark.parametrize("wrong", [crops(1)[0], crops(1).astype(np.float32), crops(1)[:, :50]])
def test_wrong_batches_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected crops of uint8 \(N, 96, 96, 3\)"):
        OnnxBackend().infer(wrong)


def test_a_changed_file_does_not_match_its_card(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes() + b"x")
    with pytest.raises(ModelError, match="expected sha256"):
        OnnxBackend(copy)


def test_a_card_that_says_another_crop_is_refused(copy: Path) -> None:
    card = ModelCard.read(copy)
    dataclasses.replace(card, crop=dataclasses.replace(card.crop, padding=0.5)).write(copy)
    with pytest.raises(ModelError, match="metadata"):
        OnnxBackend(copy)


def test_a_missing_or_broken_card_is_refused(copy: Path) -> None:
    card = card_path(copy)
    card.write_text('{"name": "x", "surprise": 1}')
    with pytest.raises(ModelError, match="surprise: unknown key"):
        OnnxBackend(copy)
    card.write_text("not json")
    with pytest.raises(ModelError, match="expected a model card"):
        OnnxBackend(copy)
    card.unlink()
    with pytest.raises(ModelError, match=r"picosam3\.json"):
        OnnxBackend(copy)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not an onnx file")
    ModelCard.read(DEFAULT_MODEL).write(path)
    with pytest.raises(ModelError, match="expected an ONNX model"):
        OnnxBackend(path)
    with pytest.raises(ModelError, match="a folder"):
        OnnxBackend(tmp_path)


def test_a_graph_of_another_shape_is_refused(tmp_path: Path) -> None:
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Identity", ["image"], ["logits"])
    infos = [
        helper.make_tensor_value_info(name, kind, [1, 3, 96, 96]) for name in ("image", "logits")
    ]
    graph = helper.make_graph([node], "other", infos[:1], infos[1:])
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    ModelCard.read(DEFAULT_MODEL).write(path)
    with pytest.raises(ModelError, match=r"expected a graph with image tensor\(uint8\)"):
        OnnxBackend(path)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_checked(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        OnnxBackend(threads=threads)
