"""Looking into packerOut.zip and .rpk files, whole and damaged; all are made here."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from picosam_sdk.errors import ModelError
from picosam_sdk.export.imx500_inspect import Tensor, inspect_file
from picosam_sdk.modelcard import DEFAULT_MODEL
from picosam_sdk.testing.imx500.rpk import build_rpk

TENSOR = """<{kind} ordinal="{at}" name="{name}" l2Offset="0" numOfDimensions="3"
 bitsPerElement="8" shift="{shift}" scale="{scale}" format="{format}"><dimensions>
 <dimension size="{width}" serializationOrder="1" ordinal="1" padding="0"/>
 <dimension size="{channels}" serializationOrder="0" ordinal="0" padding="0"/>
 <dimension size="{width}" serializationOrder="2" ordinal="2" padding="0"/>
</dimensions></{kind}>"""


def parameters() -> str:
    """Tensors in the format of dnnParams.xml, outputs in the wrong order, as it happens."""
    picture = {"kind": "inputTensor", "at": 0, "name": "image", "shift": 0, "scale": 1.0,
               "format": "unsigned", "width": 96, "channels": 3}  # fmt: skip
    logits = {**picture, "kind": "outputTensor", "name": "logits", "scale": 0.125,
              "format": "signed", "channels": 1}  # fmt: skip
    iou = {**logits, "at": 1, "name": "iou", "scale": 0.00390625, "format": "unsigned",
           "width": 1, "shift": 2}  # fmt: skip
    return (
        '<?xml version="1.0"?><dnnParams><networks><network name="lite"><inputTensors>'
        + TENSOR.format(**picture)
        + "</inputTensors><outputTensors>"
        + TENSOR.format(**iou)
        + TENSOR.format(**logits)
        + "</outputTensors></network></networks></dnnParams>"
    )


def pack(path: Path, **changed: bytes | None) -> Path:
    """A packed network; ``changed`` replaces or removes files after the manifest is written."""
    files = {
        "l2staticData.bin": np.random.default_rng(0).bytes(4096),
        "dnnParams.xml": parameters().encode(),
    }
    manifest: dict[str, object] = {"Release Version": "3.19.1", "Network Name": "lite"}
    for role, name in (("coef", "l2staticData.bin"), ("xml", "dnnParams.xml")):
        digest = hashlib.md5(files[name]).hexdigest().upper()
        manifest[role] = {"File": name, "md5": digest, "Size": len(files[name])}
    files["manifest.json"] = json.dumps(manifest).encode()
    for key, value in changed.items():
        name = {"coef": "l2staticData.bin", "xml": "dnnParams.xml", "manifest": "manifest.json"}[
            key
        ]
        files.pop(name) if value is None else files.update({name: value})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return build_rpk(DEFAULT_MODEL, tmp_path / "network.rpk")


def test_a_packed_network_tells_its_tensors(tmp_path: Path) -> None:
    found = inspect_file(pack(tmp_path / "packerOut.zip"))
    assert (found.kind, found.name, found.version) == ("packed", "lite", "3.19.1")
    assert found.inputs == (Tensor("image", (3, 96, 96), 8, False, 1.0, 0),)
    assert [tensor.name for tensor in found.outputs] == ["logits", "iou"]
    assert found.outputs[1].shift == 2
    assert {part.name: part.size_bytes for part in found.parts}["l2staticData.bin"] == 4096
    text = "\n".join(found.lines())
    assert "input   3 x 96 x 96 uint8, steps of 1" in text
    assert "output  1 x 96 x 96 int8, steps of 0.125" in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"coef": b"x"}, "expected l2staticData.bin with the checksum of its manifest"),
        ({"coef": None}, r"expected l2staticData.bin \(coef\) inside"),
        ({"manifest": None}, "manifest.json"),
        ({"manifest": b"{"}, "manifest.json"),
        ({"manifest": b"[]"}, "expected an object in manifest.json"),
        ({"xml": None, "manifest": b"{}"}, "tensors described in dnnParams.xml"),
        ({"xml": b"<dnnParams>", "manifest": b"{}"}, "ParseError"),
        ({"xml": b"<dnnParams/>", "manifest": b"{}"}, "StopIteration"),
    ],
)
def test_a_damaged_packed_network_is_an_error(
    tmp_path: Path, changed: dict[str, bytes | None], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        inspect_file(pack(tmp_path / "packerOut.zip", **changed))
    assert "packerOut.zip" in str(caught.value)
    assert caught.value.hint


def test_a_zip_with_a_changed_byte_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "packerOut.zip")
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)
    with pytest.raises(ModelError, match="whole ZIP archive"):
        inspect_file(path)


def test_an_archive_that_claims_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(65 * 1024**2))
    with pytest.raises(ModelError, match="expected at most"):
        inspect_file(path)


def test_a_network_file_tells_its_input_and_its_card(network: Path) -> None:
    found = inspect_file(network)
    assert found.kind == "network"
    assert found.info["inputTensorWidth"] == "96"
    assert found.info["inputTensorFormat"] == "RGB"
    assert found.info["inputTensorNorm_K00"] == "0x400"
    assert found.intrinsics["task"] == "segmentation"
    assert {part.name for part in found.parts} >= {"block 0", "network_info.txt"}
    assert "picosam3" in found.card
    assert any("inputTensorFormat" in line and "RGB" in line for line in found.lines())


def test_a_network_file_without_a_card_is_shown_all_the_same(network: Path) -> None:
    network.with_suffix(".json").unlink()
    found = inspect_file(network)
    assert found.card.startswith("none that suits: expected")
    assert found.info["inputTensorHeight"] == "96"


@pytest.mark.parametrize("kept", [0, 3, 40, 5000, -200])
def test_a_cut_off_network_file_is_an_error(network: Path, kept: int) -> None:
    network.write_bytes(network.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"network\.rpk"):
        inspect_file(network)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="got nothing"):
        inspect_file(tmp_path / "none.rpk")
