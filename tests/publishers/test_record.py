"""The contract of the publisher that records; what it writes is in test_recording.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from picosam_sdk.publishers.record import RecordPublisher
from picosam_sdk.testing.contract import PublisherContract


class TestRecordPublisher(PublisherContract):
    part = RecordPublisher

    @pytest.fixture(params=["plain", "frames", "jpg", "short"])
    def options(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        more: dict[str, Any] = {
            "plain": {},
            "frames": {"frames": True},
            "jpg": {"frames": True, "format": "jpg"},
            "short": {"logits": False},
        }[request.param]
        return {"path": str(tmp_path / "recording"), **more}

    def delivered(self, publisher: Any) -> int:
        path = publisher.config.path / "recording.jsonl"
        return len(path.read_text().splitlines())
