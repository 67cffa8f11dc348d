"""What the report plots, counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from picosam_sdk.evaluation.distributions import by_side, calibration, iou_histogram
from picosam_sdk.evaluation.metrics import Evaluation


def evaluation(ious: list[float], scores: list[float], areas: list[float]) -> Evaluation:
    n = len(ious)
    return Evaluation(
        instances=(), prompts=(), ious=np.array(ious), clipped_ious=None, scores=np.array(scores),
        areas=np.array(areas, np.float64), competitors=np.zeros(n, np.int64), baselines={},
        model={}, protocol={},
    )  # fmt: skip


def test_the_histogram_has_twenty_bins_and_loses_none() -> None:
    histogram = iou_histogram(np.array([0.0, 0.049, 0.5, 0.96, 1.0]))
    assert histogram["edges"] == pytest.approx([k / 20 for k in range(21)])
    counts = histogram["counts"]
    assert (counts[0], counts[10], counts[19], sum(counts)) == (2, 1, 2, 5)


def test_groups_by_side() -> None:
    result = evaluation([0.1, 0.3, 0.5, 0.9], [0, 0, 0, 0], [15**2, 16**2, 20**2, 600**2])
    groups = by_side(result)
    assert [(group["from_px"], group["to_px"], group["n"]) for group in groups] == [
        (0, 16, 1), (16, 32, 2), (512, None, 1),
    ]  # fmt: skip
    assert groups[1]["miou"] == pytest.approx(0.4)
    assert groups[1]["side_px"] == pytest.approx(18)
    assert groups[1]["q25"] == pytest.approx(0.35)
    assert groups[1]["q75"] == pytest.approx(0.45)


def test_calibration_by_hand() -> None:
    result = evaluation([0.5, 0.7, 0.2], [0.62, 0.66, 1.0], [1, 1, 1])
    values = calibration(result)
    assert [(group["from"], group["n"]) for group in values["bins"]] == [(0.6, 2), (0.9, 1)]
    assert values["bins"][0]["score"] == pytest.approx(0.64)
    assert values["bins"][0]["iou"] == pytest.approx(0.6)
    assert values["mean_error"] == pytest.approx((2 * 0.04 + 0.8) / 3)
    assert values["bias"] == pytest.approx((0.12 - 0.04 + 0.8) / 3)
    assert values["correlation"] == pytest.approx(
        np.corrcoef([0.5, 0.7, 0.2], [0.62, 0.66, 1])[0, 1]
    )


def test_a_perfect_score_has_no_error() -> None:
    ious = [0.05, 0.15, 0.95, 0.96]
    values = calibration(evaluation(ious, ious, [1] * 4))
    assert values["mean_error"] == pytest.approx(0)
    assert values["correlation"] == pytest.approx(1)
    constant = dataclasses.replace(evaluation(ious, ious, [1] * 4), scores=np.full(4, 0.5))
    assert calibration(constant)["correlation"] is None
