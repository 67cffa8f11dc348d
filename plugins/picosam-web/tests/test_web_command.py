"""picosam preview: what it looks at, what it grants, what it prints, and how it ends."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import picosam_web.command
import pytest
from picosam_web.command import Signals
from picosam_web.sources import Look, configuration, parse_place

from picosam_sdk import InputError, app
from picosam_sdk.cli.main import main
from picosam_sdk.egress import check_needs
from picosam_sdk.testing.contract import CommandContract

TOML = """
[device]
name = "shelf"
[camera]
kind = "synthetic"
[[roi]]
kind = "fixed"
box = [0.2, 0.2, 0.5, 0.5]
[[publish]]
kind = "jsonl"
path = "masks.jsonl"
[[publish]]
kind = "print"
"""
PAGE = """
[[publish]]
kind = "web"
port = 8123
max_rate_hz = 4
picture = true
egress = { grants = ["redacted", "gaze"], privacy_masks = [[0.0, 0.0, 0.3, 1.0]], purpose = "mine" }
"""


class TestPreview(CommandContract):
    command = picosam_web.command


@pytest.fixture
def preview() -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """A function that starts it, and returns the process and its lines up to the last."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> tuple[Any, list[str]]:
        command = [sys.executable, "-m", "picosam_sdk.cli.main", "preview", *words, "--no-browser"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        lines: list[str] = []
        for line in _lines_of(process):
            lines.append(line)
            if line == "Ctrl-C ends it.":
                break
        return process, lines

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a process as they come; an error if one takes very long."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
            if "Ctrl-C" in line:
                break
        lines.put("")

    threading.Thread(target=read).start()
    while line := lines.get(timeout=60):
        yield line.rstrip("\n")


def _url(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("picosam preview")).split(": ", 1)[1]


def test_masks_only_with_a_token_beyond_this_machine_until_ctrl_c(preview: Any) -> None:
    words = ("photos", "--point", "50,50%", "--host", "0.0.0.0", "--port", "0")
    process, lines = preview(*words)
    url, token = _url(lines).split("#token=")
    assert len(token) >= 24
    assert any("masks and numbers" in line and "--picture" in line for line in lines)
    assert any("not encrypted" in line for line in lines)
    here = f"http://127.0.0.1:{httpx.URL(url).port}"
    assert httpx.get(here).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    state = httpx.get(f"{here}/api/state", headers=bearer).json()
    assert state["policy"]["picture"] == ""
    assert state["prompts"]["followed"] is True
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert time.monotonic() - began < 2


def test_a_file_with_its_picture_and_nothing_published_elsewhere_until_sigterm(
    preview: Any, tmp_path: Path
) -> None:
    path = tmp_path / "picosam.toml"
    path.write_text(TOML)
    process, lines = preview(str(path), "--picture", "--port", "0")
    url = _url(lines)
    assert url.startswith("http://127.0.0.1:")
    assert "token" not in url
    assert any("the picture, too" in line for line in lines)
    assert any("left out: jsonl, print" in line for line in lines)
    assert httpx.get(url + "api/state").json()["policy"]["picture"] == "pixels"
    assert not (tmp_path / "masks.jsonl").exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_port_that_is_taken_is_said_at_once(
    direct: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    port = httpx.URL(direct().url).port
    assert main(["preview", "photos", "--no-browser", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert "in use" in error
    assert "--port 0" in error


def test_without_a_webcam_it_says_what_works_anywhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["preview", "99", "--no-browser"]) == 1
    assert "picosam preview synthetic --picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--roi", "1,2"], ["--roi", "0,0,200%,1"], ["--point", "a,b"], ["--port", "70000"],
     ["--roi", "0,0,1,1", "--point", "0,0"]],
)  # fmt: skip
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["preview", *words])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_places() -> None:
    assert parse_place("10,20,50,40%", 4) == pytest.approx((0.1, 0.2, 0.5, 0.4))
    assert parse_place("10%,20%", 2) == pytest.approx((0.1, 0.2))
    assert parse_place("0.5,0.25", 2) == (0.5, 0.25)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("clip.mp4", "cat.JPG", "network.rpk"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "camera", "backend", "chain"),
    [
        ("0", "webcam", "onnx", ["manual", "follow"]),
        ("/dev/video2", "webcam", "onnx", ["manual", "follow"]),
        ("synthetic", "synthetic", "onnx", ["manual", "follow"]),
        ("photos", "photos", "onnx", ["manual"]),
        ("folder", "photos", "onnx", ["manual"]),
        ("cat.JPG", "photos", "onnx", ["manual"]),
        ("clip.mp4", "video", "onnx", ["manual", "follow"]),
        ("rtsp://user:pass@cam/1", "rtsp", "onnx", ["manual", "follow"]),
        ("emulated", "", "imx500-emulated", ["manual", "follow"]),
        ("network.rpk", "", "imx500", ["manual", "follow"]),
    ],
)
def test_sources(
    source: str, camera: str, backend: str, chain: list[str], files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(files)
    config = configuration(Look(source))
    assert ("" if config.camera is None else config.camera.kind) == camera
    assert config.segmenter.backend == backend
    assert [table.kind for table in config.roi] == chain
    (page,) = config.publish
    assert page.egress.grants == ()
    parts = app.make_parts(config)  # every key is known
    check_needs(parts.publishers[0].part, page.egress, "publish[0]")


def test_what_it_does_not_know_it_says(files: Path) -> None:
    with pytest.raises(InputError, match=r"a picosam\.toml, got 'no such thing'"):
        configuration(Look("no such thing"))


def test_where_to_begin_and_whether_to_follow() -> None:
    box = configuration(Look("synthetic", roi=(0.1, 0.2, 0.3, 0.4), follow=False))
    assert [table.kind for table in box.roi] == ["manual", "fixed"]
    assert box.roi[0].options["max_age_s"] == 0
    point = configuration(Look("photos", point=(0.5, 0.5), follow=True))
    assert [table.kind for table in point.roi] == ["manual", "follow", "point"]


def test_a_file_is_shown_and_publishes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "picosam.toml"
    path.write_text(TOML)
    config = configuration(Look(str(path)))
    assert config.device.name == "shelf"
    assert [table.kind for table in config.publish] == ["web"]
    assert config.publish[0].egress.grants == ()
    assert [table.kind for table in config.roi] == ["manual", "fixed"]
    granted = configuration(Look(str(path), picture=True)).publish[0]
    assert granted.egress.grants == ("pixels",)
    app.make_parts(config)


def test_a_files_own_page_keeps_its_keys_and_its_limits(tmp_path: Path) -> None:
    path = tmp_path / "picosam.toml"
    path.write_text(TOML + PAGE)
    page = configuration(Look(str(path), {"port": 0})).publish[0]
    assert page.options == {"port": 0, "max_rate_hz": 4, "picture": True}
    assert page.egress.grants == ("redacted", "gaze")
    assert page.egress.privacy_masks == ((0.0, 0.0, 0.3, 1.0),)
    assert page.egress.purpose == "mine"
    told = configuration(Look(str(path), picture=True)).publish[0]
    assert told.egress.grants == ("redacted", "gaze"), "its own grant is enough"
    elsewhere = configuration(Look(str(path), {"host": "0.0.0.0", "token": "made for it 12345"}))
    assert elsewhere.publish[0].options["token"] == "made for it 12345"
    path.write_text(TOML + PAGE + '[publish.token]\nenv = "MINE"\n')
    mine = configuration(Look(str(path), {"host": "0.0.0.0", "token": "made for it 12345"}))
    assert mine.publish[0].options["token"] == {"env": "MINE"}
    without = configuration(Look(str(path), picture=False)).publish[0]
    assert without.options["picture"] is False
    assert without.egress.grants == ("gaze",)


def test_a_signal_while_it_opens_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopped: list[bool] = []
    with pytest.raises(KeyboardInterrupt), Signals(lambda: stopped.append(True)):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    with Signals(lambda: stopped.append(True)) as signals:
        signals.running = True
        signal.raise_signal(signal.SIGINT)
    assert stopped == [True]
    assert signals.received == signal.SIGINT


def test_the_browser_is_opened_only_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    picosam_web.command._open_browser("http://a/")
    monkeypatch.setenv("DISPLAY", ":0")
    picosam_web.command._open_browser("http://b/")
    assert opened == ["http://b/"]
