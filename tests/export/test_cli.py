"""``picosam export`` and ``picosam quantize``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import ModelCard
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.cli.main import main

Make = Callable[[str], Any]


def test_from_weights_to_int8(
    trio: Make, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, model, small = trio("lite").weights, tmp_path / "a" / "m.onnx", tmp_path / "i.onnx"
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"val": {"miou": 0.7}}')
    assert main(["export", str(weights), "-o", str(model), "--metrics", str(metrics)]) == 0
    assert "1.08 M parameters" in capsys.readouterr().out
    card = ModelCard.read(model)
    assert (card.name, card.metrics) == ("m", {"val": {"miou": 0.7}})

    command = ["quantize", str(model), "--calibration", str(photos), "-o", str(small)]
    assert main([*command, "--samples", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sha256"] == ModelCard.read(small).sha256
    assert result["calibration_crops"] == result["agreement"]["crops"] == 4
    assert result["bytes"]["int8"] == small.stat().st_size
    assert ModelCard.read(small).metrics == {"against_float": result["agreement"]}
    OnnxBackend(small)

    again = ["export", str(small), "-o", str(small), "--metrics", str(metrics), "--name", "mine"]
    assert main([*again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mine"
    assert ModelCard.read(small).metrics["val"] == {"miou": 0.7}


def test_what_is_printed(
    trio: Make, tmp_path: Path, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(trio("lite").float32), "--calibration", str(shard)]
    assert main([*command, "-o", str(tmp_path / "i.onnx"), "--samples", "3"]) == 0
    out = capsys.readouterr().out
    assert "IoU of the INT8 masks with the float masks" in out
    assert "points)" in out


def test_errors_are_two_lines(
    trio: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, text = trio("lite"), tmp_path / "text.json"
    text.write_text("[1, 2")
    listed = tmp_path / "list.json"
    listed.write_text("[1, 2]")
    out = ["-o", str(tmp_path / "out.onnx")]
    for command in (
        ["export", str(made.weights), "-o", str(tmp_path / "out.pt")],
        ["export", str(made.weights), *out, "--metrics", str(text)],
        ["export", str(made.weights), *out, "--metrics", str(listed)],
        ["export", str(tmp_path), *out],
        ["export", str(made.weights), "-o", str(made.weights / "out.onnx")],
        ["quantize", str(made.float32), "--calibration", str(tmp_path), "-o", str(tmp_path / "x")],
        ["quantize", str(made.float32), "--calibration", str(tmp_path / "none"), *out],
        ["quantize", str(made.weights), "--calibration", str(tmp_path), *out],
    ):
        assert main(command) == 1, command
        lines = capsys.readouterr().err.strip().splitlines()
        assert len([line for line in lines if "calibrating" not in line]) == 2, command
    for command in (["export", str(made.weights)], ["quantize", str(made.float32), *out]):
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2
