"""Video files: every frame, in order, as it was recorded."""

from __future__ import annotations

import http.server
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from picosam_sdk import CameraError, Context
from picosam_sdk.cameras import capture
from picosam_sdk.cameras.video import VideoCamera, VideoConfig
from picosam_sdk.testing.contract import CameraContract

FPS, COUNT = 50, 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of gray 20, 40 ... 240, at 50 frames a second."""
    path = tmp_path_factory.mktemp("video") / "a clip%02d.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48)
    )
    for index in range(COUNT):
        writer.write(np.full((48, 64, 3), 20 + 20 * index, np.uint8))
    writer.release()
    return path


class TestVideoCamera(CameraContract):
    part = VideoCamera
    length = COUNT

    @pytest.fixture
    def options(self, clip: Path) -> Any:
        return {"path": str(clip)}


class TestVideoInALoop(CameraContract):
    part = VideoCamera

    @pytest.fixture
    def options(self, clip: Path) -> Any:
        return {"path": str(clip), "realtime": False, "loop": True}


def _shades(camera: VideoCamera, count: int) -> list[int]:
    frames = [camera.read(5) for _ in range(count)]
    images = [frame.image for frame in frames if frame is not None and frame.image is not None]
    return [round(float(image.mean()) / 20) * 20 for image in images]


def _open(path: Path, **options: Any) -> VideoCamera:
    camera = VideoCamera(VideoConfig(path, **options), Context())
    camera.open()
    return camera


def test_every_frame_comes_in_order(clip: Path) -> None:
    camera = _open(clip, realtime=False)
    assert _shades(camera, COUNT + 2) == [20 + 20 * index for index in range(COUNT)]
    camera.close()


def test_a_loop_begins_again_and_numbers_go_on(clip: Path) -> None:
    camera = _open(clip, realtime=False, loop=True)
    assert _shades(camera, COUNT + 2)[COUNT:] == [20, 40]
    frame = camera.read(5)
    assert frame is not None
    assert frame.index == COUNT + 2
    camera.close()


def test_in_real_time_frames_keep_their_distance(clip: Path) -> None:
    camera = _open(clip, realtime=True)
    frames = [camera.read(5) for _ in range(COUNT)]
    stamps = [frame.timestamp_ns for frame in frames if frame is not None]
    assert stamps[-1] - stamps[0] >= (COUNT - 1) * 0.95e9 / FPS
    camera.close()


def test_a_frame_that_is_not_due_comes_later(clip: Path) -> None:
    camera = _open(clip, realtime=True)
    assert _shades(camera, 1) == [20]
    with pytest.raises(CameraError, match="due in"):
        camera.read(0.0)
    assert _shades(camera, 2) == [40, 60]
    camera.close()


def test_a_file_that_was_cut_off_gives_what_it_has(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    data = clip.read_bytes()
    cut.write_bytes(data[: (data.index(b"movi") + data.index(b"idx1")) // 2])
    camera = _open(cut, realtime=False)
    shades = _shades(camera, COUNT)
    assert 1 <= len(shades) < COUNT
    assert shades == [20 + 20 * index for index in range(len(shades))]
    camera.close()


def test_what_is_no_video_is_an_error(tmp_path: Path, photos: Path) -> None:
    text = tmp_path / "x.mp4"
    text.write_text("no video at all")
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    for path, why in [
        (tmp_path / "no.mp4", "No such file"), (text, "nothing that can be read"),
        (fifo, "no regular file"), (tmp_path, "no regular file"),
    ]:  # fmt: skip
        with pytest.raises(CameraError, match=why) as caught:
            _open(path)
        assert caught.value.hint


def test_pictures_of_a_size_that_no_camera_has_are_refused(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "MAX_FRAME_PX", 64 * 48 - 1)
    with pytest.raises(CameraError, match="at most 3071 pixels, got 64 x 48"):
        _open(clip)


def test_a_playlist_that_calls_itself_a_video_fetches_nothing(tmp_path: Path, clip: Path) -> None:
    """A file from a stranger makes no connection, and reads no other kind of file."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/x.ts"
        for text in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {url}\n",
            "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 26\n",
        ):
            playlist = tmp_path / "stranger.mp4"
            playlist.write_text(text)
            with pytest.raises(CameraError):
                _open(playlist)
        server.shutdown()
        thread.join()
    assert asked == []
