"""Network cameras, read from servers on loopback that speak RTSP and HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import CameraError, ConfigError, Context, app
from picosam_sdk.cameras.rtsp import RtspCamera, RtspConfig
from picosam_sdk.cli.main import main
from picosam_sdk.config import Secret, from_mapping
from picosam_sdk.settings import AppConfig
from picosam_sdk.testing.contract import CameraContract
from picosam_sdk.testing.part_contract import eventually
from tests.cameras.streams import HttpJpegServer, RtspServer, shade

SERVERS = {"rtsp": RtspServer, "http": HttpJpegServer}


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    server = SERVERS[request.param](userinfo="me:hunter2/ü")
    yield server
    server.close()


def _config(server: Any, **changes: Any) -> Any:
    options = {"url": server.url, "username": "me", "password": "hunter2/ü", "timeout_s": 3.0}
    return from_mapping({**options, **changes}, RtspConfig)


@pytest.fixture
def camera(server: Any) -> Iterator[RtspCamera]:
    camera = RtspCamera(_config(server), Context())
    camera.open()
    yield camera
    camera.close()


class TestRtspCamera(CameraContract):
    part = RtspCamera

    @pytest.fixture
    def options(self, server: Any) -> Any:
        self.server = server
        return {"url": server.url, "username": "me", "password": "hunter2/ü", "timeout_s": 3.0}

    def lose(self, camera: Any) -> None:
        self.server.drop()


def _shade(frame: Any) -> int:
    assert frame.image is not None
    return round(float(frame.image.mean()) / 10) * 10


def test_frames_are_those_that_were_sent(camera: RtspCamera) -> None:
    for _ in range(10):
        frame = camera.read(5)
        assert frame is not None
        assert _shade(frame) == shade(frame.index)


def test_a_slow_reader_gets_the_newest(server: Any, camera: RtspCamera) -> None:
    first = camera.read(5)
    assert first is not None
    assert eventually(lambda: camera.stats["captured"] >= first.index + 12, 10)
    server.stalled.set()  # so that what is newest does not change while it is asked
    time.sleep(0.1)
    frame = camera.read(5)
    assert frame is not None
    assert frame.index == camera.stats["captured"] - 1
    assert frame.index >= first.index + 11
    assert camera.stats["skipped"] == frame.index - 1


def test_a_stalled_stream_is_an_error_in_time(server: Any) -> None:
    camera = RtspCamera(_config(server, timeout_s=0.5), Context())
    camera.open()
    camera.read(5)
    server.stalled.set()
    assert _last_error(camera, "ended or was lost")
    camera.close()


def _last_error(camera: RtspCamera, text: str) -> bool:
    """Whether reading comes to fail with this text."""

    def fails() -> bool:
        try:
            camera.read(0.1)
        except CameraError as error:
            return text in str(error)
        return False

    return eventually(fails, 10)


def test_opened_again_after_a_loss_it_goes_on(server: Any, camera: RtspCamera) -> None:
    camera.read(5)
    server.drop()
    assert _last_error(camera, "ended or was lost")
    camera.close()
    camera.open()
    assert camera.read(5) is not None


def test_one_that_is_not_there_is_an_error(server: Any) -> None:
    server.close()
    camera = RtspCamera(_config(server), Context())
    with pytest.raises(CameraError, match="expected to open the stream of"):
        camera.open()


def test_a_connection_that_says_nothing_is_given_up(server: Any) -> None:
    server.serve = lambda connection: server._closed.wait(20)
    camera = RtspCamera(_config(server, timeout_s=0.5), Context())
    began = time.monotonic()
    with pytest.raises(CameraError):
        camera.open()
    assert time.monotonic() - began < 15


PROGRAM = """
import sys
from picosam_sdk import Context, PicoSamError
from picosam_sdk.cameras.rtsp import RtspCamera, RtspConfig
from picosam_sdk.config import Secret
url, wrong = sys.argv[1:]
config = RtspConfig(Secret(text=url), timeout_s=1.0)
camera = RtspCamera(config, Context())
print(config, camera.stats)
try:
    camera.open()
    while True:
        camera.read(2)
except PicoSamError as error:
    print("failed:", error, error.hint)
camera.close()
"""


@pytest.mark.parametrize("how", ["wrong password", "refused", "stall", "no such host"])
def test_the_url_never_shows(server: Any, how: str, root: Path) -> None:
    """Neither in what we say nor in what OpenCV and FFmpeg print."""
    url = server.url.replace("//", "//me:hunter2%2F%C3%BC@") + "/s3cret?token=t0ken"
    if how == "wrong password":
        url = url.replace("hunter2", "hunter2x")
    elif how == "refused":
        server.close()
    elif how == "stall":
        server.stalled.set()
    else:
        url = url.replace("127.0.0.1", "picosam.invalid")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, how], cwd=root, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "failed: expected" in said
    for secret in ("hunter2", "me:", "s3cret", "t0ken"):
        assert secret not in said


def test_a_user_in_the_url_stands(server: Any) -> None:
    url = Secret(text="rtsp://joe:x@cam.example/a")
    assert RtspConfig(url, "me", Secret(text="y")).address()[0] == "rtsp://joe:x@cam.example/a"
    config = RtspConfig(Secret(text="rtsp://[::1]:8554/a?b#c"), "a b", Secret(text="p@:/"))
    assert config.address() == ("rtsp://a%20b:p%40%3A%2F@[::1]:8554/a?b#c", "rtsp://[::1]:8554")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/hostname", "/etc/hostname", "concat:a|b", "rtsp:///path", "rtsp://h:x/",
     "rtsp://a b/", "rtsp://h/\nx", "udp://1.2.3.4:5"],
)  # fmt: skip
def test_what_is_no_stream_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url: expected a URL") as caught:
        RtspConfig(Secret(text=url))
    assert url not in str(caught.value)


def test_a_url_from_the_environment_is_read_when_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PICOSAM_TEST_URL", raising=False)
    camera = RtspCamera(RtspConfig(Secret(env="PICOSAM_TEST_URL")), Context())
    with pytest.raises(ConfigError, match="PICOSAM_TEST_URL"):
        camera.open()
    monkeypatch.setenv("PICOSAM_TEST_URL", "gopher://x")
    with pytest.raises(ConfigError, match=r"^url: "):
        camera.open()


def test_a_run_survives_the_loss_of_its_camera(server: Any) -> None:
    """The pipeline opens it again, and frames go on."""
    camera = {"kind": "rtsp", "url": server.url, "username": "me", "password": "hunter2/ü",
              "timeout_s": 2.0}  # fmt: skip
    raw = {"camera": camera, "roi": [{"kind": "grid"}], "publish": [{"kind": "print"}]}
    with app.build(from_mapping(raw, AppConfig)) as application:
        runner = threading.Thread(target=application.run)
        runner.start()

        def frames() -> int:
            return int(application.stats()["camera"]["rtsp"].get("frames", 0))

        try:
            assert eventually(lambda: frames() >= 3, 20)
            server.drop()
            lost = frames()
            assert eventually(lambda: frames() >= lost + 20, 20)
            assert application.stats()["camera"]["rtsp"]["restarts"] == 1
        finally:
            application.stop()
            runner.join(20)


def test_a_password_file_is_looked_for_beside_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("x\n")
    (tmp_path / "password").chmod(0o600)
    text = '[camera]\nkind = "rtsp"\nurl = "rtsp://cam.example/a"\nusername = "joe"\n'
    text += (
        'password = { file = "password" }\n[[roi]]\nkind = "fixed"\nbox = [0.1, 0.1, 0.5, 0.5]\n'
    )
    (tmp_path / "picosam.toml").write_text(text)
    assert main(["config", "check", str(tmp_path / "picosam.toml")]) == 0, capsys.readouterr().err
