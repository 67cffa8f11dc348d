"""The figures, against sums done by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from picosam_sdk.evaluation.metrics import IOU_THRESHOLDS, Evaluation, iou, mean_ap, percent


def evaluation(ious: list[float], scores: list[float]) -> Evaluation:
    n = len(ious)
    return Evaluation(
        instances=(),
        prompts=(),
        ious=np.array(ious, np.float64),
        clipped_ious=np.array(ious, np.float64) / 2,
        scores=np.array(scores, np.float64),
        areas=np.full(n, 50.0),
        competitors=np.zeros(n, np.int64),
        baselines={"box": np.full(n, 0.25), "ellipse": np.full(n, 0.5)},
        model={"name": "any"},
        protocol={"prompt": "box"},
    )


def test_iou_by_hand() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(a, b) == 1.0
    a[:2] = True
    assert iou(a, b) == 0.0
    b[1:3] = True
    assert iou(a, b) == 4 / 12
    assert iou(a, b, outside=4) == 4 / 16
    assert iou(~a & a, ~a & a, outside=1) == 0.0


def test_mean_ap_by_hand() -> None:
    assert IOU_THRESHOLDS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    # 0.6 reaches 0.50, 0.55 and 0.60; 0.949 the nine below 0.95; 1.0 all; 0.49 none.
    ious = np.array([0.6, 0.949, 1.0, 0.49])
    assert mean_ap(ious) == pytest.approx((3 + 9 + 10 + 0) / 40)


def test_the_summary_by_hand() -> None:
    summary = evaluation([0.5, 0.7, 0.9], [0.1, 0.2, 0.3]).summary()
    assert summary["miou"] == pytest.approx(0.7)
    assert summary["map"] == pytest.approx((1 + 5 + 9) / 30)
    assert summary["n"] == 3
    assert summary["clipped_miou"] == pytest.approx(0.35)
    assert summary["se"] == pytest.approx(0.2 / 3**0.5)
    assert summary["score_correlation"] == pytest.approx(1)
    assert summary["by_size"]["small"]["miou"] == pytest.approx(0.7)
    assert summary["by_size"]["large"] == {"miou": None, "map": None, "n": 0, "se": None}
    assert summary["by_competitors"]["0"]["n"] == 3
    assert summary["baselines"]["box"]["miou"] == 0.25
    assert summary["baselines"]["ellipse"]["by_competitors"]["0"]["miou"] == 0.5
    assert set(summary) == {
        "miou", "map", "n", "se", "clipped_miou", "by_size", "by_competitors", "baselines",
        "score_correlation", "model", "protocol",
    }  # fmt: skip


@pytest.mark.parametrize(("ious", "scores"), [([0.5], [0.4]), ([0.5, 0.6], [0.4, 0.4])])
def test_what_is_undefined_is_null_in_json(ious: Any, scores: Any) -> None:
    summary = evaluation(ious, scores).summary()
    assert summary["score_correlation"] is None
    json.dumps(summary, allow_nan=False)


def test_the_correlation_is_pearsons() -> None:
    ious, scores = [0.1, 0.5, 0.7, 0.2], [0.3, 0.4, 0.9, 0.1]
    expected = np.corrcoef(ious, scores)[0, 1]
    assert evaluation(ious, scores).score_correlation() == pytest.approx(expected)


def test_a_share_as_a_number_to_read() -> None:
    assert [percent(value) for value in (0.65449, 1.0, None)] == ["65.4", "100.0", "-"]
