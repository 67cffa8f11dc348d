"""scripts/card_metrics.py: what it measures is what the card then says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import CropRule, ModelCard, Plugins, Segmenter
from picosam_sdk.evaluation.annotations import read_dataset
from picosam_sdk.evaluation.protocol import evaluate, evaluate_points
from scripts import card_metrics
from tests.fakes import RedBackend, RedPlugin


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file with a card; the red backend runs in its place."""

    def red(**options: Any) -> Segmenter:
        plugins = Plugins(discover=False)
        plugins.register(RedPlugin, "red")
        return Segmenter("red", plugins=plugins)

    monkeypatch.setattr(card_metrics, "Segmenter", red)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a network")
    card = ModelCard(
        name="red", network="lite", crop=CropRule(square=False), metrics={"int8_minus_float": -0.1}
    )
    card.write(path)
    return path


def test_the_card_gets_what_was_measured(
    made: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--images", str(made.images), "--annotations", str(made.coco)]
    assert card_metrics.main([str(model), *files]) == 0
    printed = json.loads(capsys.readouterr().out)
    card = ModelCard.read(model)  # its hash holds
    assert card.metrics == {"int8_minus_float": -0.1, **printed}
    assert set(card.metrics["bundled"]) == {"miou", "map", "n"}
    dataset, figures = read_dataset(made.coco, made.images), card.metrics["coco_dev"]
    assert figures["miou"] == pytest.approx(evaluate(RedBackend(), dataset).ious.mean(), abs=1e-5)
    jittered = evaluate(RedBackend(), dataset, jitter=0.2)
    assert figures["jitter20_miou"] == pytest.approx(jittered.ious.mean(), abs=1e-5)
    points = evaluate_points(card_metrics.Segmenter(), dataset)
    assert figures["point_miou"] == pytest.approx(points.ious.mean(), abs=1e-5)
    assert {
        "map", "n", "se", "by_size", "by_competitors", "score_correlation", "baselines",
        "clipped_miou", "protocol",
    } <= set(figures)  # fmt: skip


def test_without_a_data_set_only_the_bundled_figures_change(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert card_metrics.main([str(model)]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"bundled"}
    assert set(ModelCard.read(model).metrics) == {"int8_minus_float", "bundled"}


def test_another_file_under_the_card_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.write_bytes(b"another network")
    assert card_metrics.main([str(model)]) == 1
    assert "sha256" in capsys.readouterr().err
