"""The pictures of a recording as a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import CameraError, Context, Frame
from picosam_sdk.cameras.replay import ReplayCamera, ReplayCameraConfig
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.testing.contract import CameraContract
from picosam_sdk.testing.results import a_result

COUNT, FRAME_NS = 6, 20_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Six frames of gray 0, 1, 2 ... at 50 a second; a seventh result has no picture."""
    publisher = RecordPublisher(RecordConfig(tmp_path / "r", frames=True), Context())
    publisher.open()
    for index in range(COUNT + 1):
        image = np.full((12, 16, 3), index, np.uint8)
        frame = Frame(image if index < COUNT else None, index * FRAME_NS, 100 + index)
        publisher.publish(a_result(frame=frame, image_grant="pixels"))
    publisher.close()
    return tmp_path / "r"


class TestReplayCamera(CameraContract):
    part = ReplayCamera
    length = COUNT

    @pytest.fixture
    def options(self, recording: Path) -> Any:
        return {"path": str(recording)}


def _open(path: Path, **options: Any) -> ReplayCamera:
    camera = ReplayCamera(ReplayCameraConfig(path, **options), Context())
    camera.open()
    return camera


def _values(camera: ReplayCamera, count: int) -> list[int]:
    frames = [camera.read(5) for _ in range(count)]
    return [int(f.image[0, 0, 0]) for f in frames if f is not None and f.image is not None]


def test_pictures_come_exactly_and_in_order(recording: Path) -> None:
    camera = _open(recording, realtime=False)
    assert _values(camera, COUNT + 2) == list(range(COUNT))
    camera.close()


def test_in_real_time_they_keep_their_distance(recording: Path) -> None:
    camera = _open(recording)
    frames = [camera.read(5) for _ in range(COUNT)]
    stamps = [frame.timestamp_ns for frame in frames if frame is not None]
    assert stamps[-1] - stamps[0] >= (COUNT - 1) * FRAME_NS * 0.95
    camera.close()


def test_a_frame_that_is_not_due_comes_later(recording: Path) -> None:
    camera = _open(recording)
    assert _values(camera, 1) == [0]
    with pytest.raises(CameraError, match="due in"):
        camera.read(0)
    assert _values(camera, 2) == [1, 2]
    camera.close()


def test_in_a_loop_numbers_go_on_by_lines(recording: Path) -> None:
    camera = _open(recording, realtime=False, loop=True)
    frames = [camera.read(5) for _ in range(COUNT + 2)]
    assert [frame.index for frame in frames if frame][-3:] == [COUNT - 1, COUNT + 1, COUNT + 2]
    camera.close()


@pytest.mark.parametrize("loop", [True, False])
def test_a_picture_that_cannot_be_read_is_left_out(recording: Path, loop: bool) -> None:
    (recording / "frames" / "00000002.png").unlink()
    broken = recording / "frames" / "00000005.png"
    broken.write_bytes(broken.read_bytes()[:30])
    camera = _open(recording, realtime=False, loop=loop)
    assert _values(camera, 5) == ([0, 1, 3, 4, 0] if loop else [0, 1, 3, 4])
    assert camera.stats == {"frames": COUNT, "unreadable": 2}
    camera.close()


def test_if_none_can_be_read_it_ends_or_says_so(recording: Path) -> None:
    for path in (recording / "frames").iterdir():
        path.unlink()
    camera = _open(recording, realtime=False)
    assert camera.read(1) is None
    looping = _open(recording, realtime=False, loop=True)
    with pytest.raises(CameraError, match="none can be read"):
        looping.read(1)


def test_without_pictures_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="expected a recording"):
        _open(tmp_path)
    publisher = RecordPublisher(RecordConfig(tmp_path / "r"), Context())
    publisher.open()
    publisher.publish(a_result())
    publisher.close()
    with pytest.raises(CameraError, match="got none in 1 results") as caught:
        _open(tmp_path / "r")
    assert "--frames" in caught.value.hint
