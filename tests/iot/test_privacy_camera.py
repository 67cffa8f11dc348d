"""What arrives from the privacy camera shows the object, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from picosam_mqtt.decode import decode

from picosam_sdk import EgressError, app

DETAIL_PX = 12.0


def correlation(a: Any, b: Any, where: Any) -> float:
    """Of what is finer than DETAIL_PX in two pictures, at some places and from these alone."""
    weight = where.astype(np.float32)
    fine = []
    for picture in (a, b):
        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
        sums = cv2.GaussianBlur(gray * weight, (0, 0), DETAIL_PX)
        mean = sums / np.maximum(cv2.GaussianBlur(weight, (0, 0), DETAIL_PX), 1e-6)
        fine.append((gray - mean)[where])
    return float(np.corrcoef(*fine)[0, 1])


def test_what_arrives_shows_the_object_and_not_the_rest(
    broker: Any, camera: Any, running: Any, start: Any, listen: Any, photos: Path, tmp_path: Path
) -> None:
    receiver = start("privacy_camera/receiver.py", "127.0.0.1", broker.port, 2)
    listener = listen(broker.port, "picosam/#")
    with running(camera(broker.port)):
        printed, _ = receiver.communicate(timeout=20)
    assert receiver.returncode == 0, printed
    assert "picosam/kitchen/image" in printed
    original = cv2.imread(str(photos / "coffee.jpg"))
    arrived = cv2.imread(str(tmp_path / "picture0001.jpg"))
    assert arrived.shape == original.shape
    mask = decode(listener.wait("picosam/kitchen/mask")[0])
    inside = mask.paste().astype(np.uint8)
    core = cv2.erode(inside, np.ones((9, 9))) > 0
    outside = cv2.dilate(inside, np.ones((9, 9))) == 0  # JPEG's blocks reach over the edge
    assert core.mean() > 0.1
    assert outside.mean() > 0.5
    assert correlation(arrived, original, core) > 0.95
    assert abs(correlation(arrived, original, outside)) < 0.1
    again = cv2.imdecode(cv2.imencode(".jpg", original)[1], cv2.IMREAD_COLOR)
    assert correlation(again, original, outside) > 0.95, "the measure would tell"


def test_no_other_topic_carries_a_picture(
    broker: Any, camera: Any, running: Any, listen: Any, tmp_path: Path
) -> None:
    listener = listen(broker.port, "#")
    with running(camera(broker.port)):
        listener.wait("picosam/kitchen/image", 2)
    for message in listener.messages:
        if not message.topic.endswith("/image"):
            assert len(message.payload) < 1300, message.topic
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    (grant,) = [line for line in lines if line["event"] == "grant" and line["recipient"] == "mqtt"]
    assert grant["grants"] == ["redacted"]


def test_without_the_grant_it_does_not_start(camera: Any) -> None:
    with pytest.raises(EgressError, match=r"publish\[0\].egress.grants: expected redacted"):
        app.build(camera(1, grants=()))


def test_the_subscriber_that_draws_masks(
    broker: Any, camera: Any, running: Any, start: Any, iot: Path, tmp_path: Path
) -> None:
    assert len((iot / "draw_masks.py").read_text("utf-8").splitlines()) <= 25
    drawing = start("draw_masks.py", "127.0.0.1", broker.port, "kitchen", 2)
    with running(camera(broker.port)):
        printed, _ = drawing.communicate(timeout=20)
    assert drawing.returncode == 0, printed
    picture = cv2.imread(str(tmp_path / "masks.png"))
    green = (picture == (80, 220, 120)).all(axis=2)
    rows, columns = np.nonzero(green)
    assert 0.15 < green.mean() < 0.35, "the cup"
    assert 130 < columns.min() < columns.max() < 340
    assert 10 < rows.min() < rows.max() < 290
