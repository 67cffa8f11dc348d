"""Results as text on the terminal and in a file."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import Context, PublishError
from picosam_sdk.payload import decode_mask
from picosam_sdk.publishers.lines import (
    JsonlConfig,
    JsonlPublisher,
    PrintConfig,
    PrintPublisher,
)
from picosam_sdk.testing.contract import PublisherContract
from picosam_sdk.testing.results import a_mask, a_result, odd_results

CONTEXT = Context(device="desk", session="s1")


class TestPrintPublisher(PublisherContract):
    part = PrintPublisher

    @pytest.fixture(params=["text", "json"])
    def options(self, request: pytest.FixtureRequest) -> Any:
        return {"format": request.param}


class TestJsonlPublisher(PublisherContract):
    part = JsonlPublisher

    @pytest.fixture
    def options(self, tmp_path: Path) -> Any:
        return {"path": str(tmp_path / "results.jsonl")}

    def delivered(self, publisher: Any) -> int:
        return len(publisher.config.path.read_text().splitlines())


def test_text_says_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    publisher = PrintPublisher(PrintConfig(), CONTEXT)
    results = [a_result(3, region="door"), a_result(4, settling=True)]
    odd = odd_results()
    for result in [*results, odd["no prompt"], odd["prompt without mask"], odd["empty mask"]]:
        publisher.publish(result)
    lines = capsys.readouterr().out.splitlines()
    mask = a_mask()
    x, y, width, height = mask.bbox() or (0, 0, 0, 0)
    assert lines[0] == (
        f"frame 3 door: {width} x {height} px at ({x}, {y}), {mask.area_px} px, score 0.90"
    )
    assert lines[1].endswith("settling")
    assert lines[2:] == [
        "frame 0: no prompt", "frame 1: no mask", "frame 2: nothing there, score 0.10"
    ]  # fmt: skip


def test_json_is_a_message_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    publisher = PrintPublisher(PrintConfig(format="json"), CONTEXT)
    sizes = [publisher.publish(a_result(index)) for index in range(2)]
    out = capsys.readouterr().out
    messages = [json.loads(line) for line in out.splitlines()]
    assert [(m["device"], m["session"], m["seq"], m["frame"]) for m in messages] == [
        ("desk", "s1", 0, 0), ("desk", "s1", 1, 1)
    ]  # fmt: skip
    assert sum(size or 0 for size in sizes) == len(out.encode())


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_masks_come_back_from_the_file(tmp_path: Path) -> None:
    publisher = JsonlPublisher(JsonlConfig(tmp_path / "r.jsonl"), CONTEXT)
    publisher.open()
    mask = a_mask(x=0.4)
    publisher.publish(a_result(mask=mask))
    publisher.close()
    back = decode_mask(_lines(tmp_path / "r.jsonl")[0])
    assert back is not None
    assert np.array_equal(back.logits > 0, mask.logits > 0)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    publisher = JsonlPublisher(JsonlConfig(tmp_path / "r.jsonl"), CONTEXT)
    publisher.open()
    publisher.close()
    assert stat.S_IMODE((tmp_path / "r.jsonl").stat().st_mode) == 0o600


def test_numbers_go_on_after_a_failure(tmp_path: Path) -> None:
    publisher = JsonlPublisher(JsonlConfig(tmp_path / "r.jsonl"), CONTEXT)
    for _ in range(2):
        publisher.open()
        publisher.publish(a_result())
        publisher.close()
    assert [message["seq"] for message in _lines(tmp_path / "r.jsonl")] == [0, 1]
    with pytest.raises(PublishError):
        publisher.publish(a_result())


def test_a_torn_last_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"v": 1}\n{"v": 1, "seq')
    publisher = JsonlPublisher(JsonlConfig(path), CONTEXT)
    publisher.open()
    publisher.publish(a_result(7))
    publisher.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[2])["frame"] == 7


def test_files_are_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    publisher = JsonlPublisher(JsonlConfig(path, max_bytes=1500, files=2), CONTEXT)
    publisher.open()
    for index in range(20):
        publisher.publish(a_result(index))
    publisher.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["r.jsonl", "r.jsonl.1", "r.jsonl.2"]
    assert all(file.stat().st_size <= 1500 for file in tmp_path.iterdir())
    frames = [m["frame"] for name in reversed(names) for m in _lines(tmp_path / name)]
    assert frames == list(range(frames[0], 20))
    assert frames[0] > 0


def test_a_place_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    publisher = JsonlPublisher(JsonlConfig(tmp_path / "no" / "r.jsonl"), CONTEXT)
    with pytest.raises(PublishError, match="No such file"):
        publisher.open()
