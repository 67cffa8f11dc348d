"""The source "lsl", against real LSL outlets, one of them in a process with another clock."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from picosam_gaze.source import GazeSource, make_source
from picosam_gaze.sources.lsl import Layout, LslConfig, layout
from picosam_gaze.sources.place import INVISIBLE_PX, NEON_PX
from picosam_gaze.sources.threaded import PeerLostError
from picosam_gaze.testing import GazeSourceContract
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

pytestmark = pytest.mark.usefixtures("lsl_config")

ALL = ["x", "y", "confidence", "worn"]


def outlet(
    name: str, labels: Sequence[str] = ALL, unit: str = "normalized", type_name: str = "Gaze"
) -> Any:
    """An outlet whose description is as Pupil Labs' programs make it."""
    import pylsl

    info = pylsl.StreamInfo(name, type_name, len(labels), 0, "double64", uuid.uuid4().hex)
    channels = info.desc().append_child("channels")
    for label in labels:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", unit)
    return pylsl.StreamOutlet(info, 1)


def make(stream: str, **keys: Any) -> GazeSource:
    table = {"kind": "lsl", "stream": stream, "retry_s": 0.05, "retry_max_s": 0.2}
    return make_source({**table, **keys}, Context())


class TestLsl(GazeSourceContract):
    @pytest.fixture(autouse=True)
    def glasses(self) -> Iterator[None]:
        self.stream = f"glasses {uuid.uuid4().hex}"
        self.outlet = outlet(self.stream)
        yield
        self.outlet = None

    def make(self, **keys: Any) -> GazeSource:
        return make(self.stream, worn="worn", **keys)

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        if self.outlet is not None:
            values = [gaze.x, gaze.y, gaze.confidence, float(gaze.worn)]
            self.outlet.push_sample(values, gaze.timestamp_ns / 1e9)

    def lose(self, source: GazeSource) -> None:
        self.outlet = None

    def restore(self, source: GazeSource) -> None:
        self.outlet = outlet(self.stream)


@pytest.fixture
def stream() -> str:
    return f"stream {uuid.uuid4().hex}"


def establish(peer: Any, source: GazeSource, values: list[float]) -> Gaze:
    def arrives() -> list[Gaze]:
        peer.push_sample(values)
        time.sleep(0.02)
        return source.samples()

    gaze: Gaze = poll(arrives, f"a sample; stats: {source.stats}")[-1]
    return gaze


def test_neons_own_stream_is_understood(stream: str) -> None:
    name = f"{stream}_Neon Gaze"
    peer = outlet(name, ["x", "y", "PupilDiameter"], "pixels")
    source = make(name)
    source.open()
    try:
        gaze = establish(peer, source, [400.0, 900.0, 3.0])
        assert (gaze.x, gaze.y, gaze.worn) == (0.25, 0.75, True)
        assert source.view_px == NEON_PX
    finally:
        source.close()


def test_pupil_captures_stream_is_understood(stream: str) -> None:
    labels = ["confidence", "norm_pos_x", "norm_pos_y", "gaze_point_3d_x"]
    peer = outlet(stream, labels)
    source = make(stream, min_confidence=0.6)
    source.open()
    try:
        gaze = establish(peer, source, [0.75, 0.25, 0.9, math.nan])
        assert (gaze.x, gaze.confidence) == (0.25, 0.75)
        assert gaze.y == pytest.approx(0.1)
        assert source.view_px is None
        gaze = establish(peer, source, [0.5, 0.5, 0.5, 0.5])
        peer.push_sample([0.5, 0.25, 0.75, 0.0])
        lost = poll(source.samples, "it")[-1]
        assert not lost.valid
        assert lost.confidence == 0.5
    finally:
        source.close()


def test_a_stream_that_does_not_fit_is_said(stream: str) -> None:
    peer = outlet(stream, ["x", "y"], "pixels")
    source = make(stream)
    source.open()
    try:
        poll(lambda: "view_px" in str(source.stats["last_error"]), "the complaint")
        assert not source.connected
        del peer
    finally:
        source.close()


def test_a_stream_of_text_is_said(stream: str) -> None:
    import pylsl

    peer = pylsl.StreamOutlet(pylsl.StreamInfo(stream, "Gaze", 2, 0, "string", stream))
    source = make(stream)
    source.open()
    try:
        poll(lambda: "text" in str(source.stats["last_error"]), "the complaint")
        del peer
    finally:
        source.close()


def test_a_stream_that_went_silent_is_looked_for_anew(stream: str) -> None:
    peer = outlet(stream)
    source = make(stream, silent_s=0.3, timeout_s=0.2)
    source.open()
    try:
        establish(peer, source, [0.5, 0.5, 1.0, 1.0])
        poll(lambda: "sent nothing" in str(source.stats["last_error"]), "the silence")
        assert not source.connected
        establish(peer, source, [0.5, 0.5, 1.0, 1.0])
    finally:
        source.close()


def test_wrong_times_and_values_are_refused(stream: str) -> None:
    peer = outlet(stream)
    source = make(stream)
    source.open()
    try:
        establish(peer, source, [0.5, 0.5, 1.0, 1.0])
        now_s = time.monotonic()
        peer.push_sample([0.25, 0.5, 1.0, 1.0], now_s + 7200)
        peer.push_sample([0.25, 0.5, 1.0, 1.0], now_s)
        peer.push_sample([1e300, 0.5, math.nan, 1.0], now_s + 1e-4)
        poll(lambda: source.stats["clock_refused"] == 1, "the refusal")
        taken: list[Gaze] = []  # some of those that established it may come first

        def both() -> bool:
            taken.extend(source.samples())
            return any(not gaze.valid for gaze in taken)

        poll(both, "the others")
        first, second = taken[-2:]
        assert first.x == 0.25
        assert not second.valid
        assert second.confidence == 0
    finally:
        source.close()


OTHER_HOST = """
import sys, time
sys.path.insert(0, sys.argv[2])
import pylsl
info = pylsl.StreamInfo(sys.argv[1], "Gaze", 2, 0, "double64", sys.argv[1])
channels = info.desc().append_child("channels")
for label in "xy":
    channels.append_child("channel").append_child_value("label", label)
outlet = pylsl.StreamOutlet(info, 1)
for step in range(3000):
    outlet.push_sample([0.25, 0.75])
    if not outlet.have_consumers() and step > 2900:
        break
    time.sleep(0.01)
"""


def test_a_host_whose_clock_is_two_hours_ahead(stream: str, lsl_config: Path) -> None:
    """Another host: a process in a time namespace of its own."""
    import pylsl

    unshare = shutil.which("unshare")
    enter = [unshare or "", "--user", "--map-root-user", "--time", "--monotonic", "7200", "--fork"]
    if unshare is None or subprocess.run([*enter, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no process have a clock of its own")
    packages = str(Path(pylsl.__file__).parent.parent)
    peer = subprocess.Popen([*enter, "--kill-child", sys.executable, "-c", OTHER_HOST, stream,
                             packages])  # fmt: skip
    source = make(stream)
    source.open()
    try:
        poll(lambda: source.connected, f"the other host; stats: {source.stats}", 20)
        gaze = poll(source.samples, "a sample")[-1]
        assert (gaze.x, gaze.y) == (0.25, 0.75)
        assert abs(source.stats["clock_offset_ns"] + 7200e9) < 100e6
        assert 0 <= time.monotonic_ns() - gaze.timestamp_ns < 1_000_000_000
        assert source.stats["clock_refused"] == 0
        peer.kill()
        peer.wait(10)
        poll(lambda: not source.connected, "the loss")
    finally:
        source.close()
        peer.kill()
        peer.wait(10)


def labelled(labels: list[str], unit: str = "", maker: str = "", **keys: Any) -> Layout:
    return layout(LslConfig(**keys), labels, [unit] * len(labels), maker)


def test_channels_are_found_by_label_or_number() -> None:
    assert labelled(["a", "Y", "X"]) == Layout(2, 1, None, None, (1, 1), False)
    assert labelled(["a", "b", "c"], x="2", y="0") == Layout(2, 0, None, None, (1, 1), False)
    found = labelled(["gx", "gy", "ok", "on"], x="gx", y="gy", confidence="ok", worn="on")
    assert found == Layout(0, 1, 2, 3, (1, 1), False)
    assert labelled(["x", "y"], y_up=True).y_up
    assert labelled(["norm_pos_x", "norm_pos_y"], y_up=False) == Layout(
        0, 1, None, None, (1, 1), False
    )


def test_pixels_need_a_camera_of_known_size() -> None:
    assert labelled(["x", "y"], "pixels", "me_Neon Gaze").size_px == NEON_PX
    assert labelled(["x", "y"], "pixels", "Pupil Invisible").size_px == INVISIBLE_PX
    assert labelled(["x", "y"], "pixels", "", view_px=(640, 480)).size_px == (640, 480)
    assert labelled(["x", "y"], "", "", units="pixels", view_px=(64, 48)).size_px == (64, 48)
    assert labelled(["x", "y"], "pixels", "", units="shares").size_px == (1, 1)
    with pytest.raises(PeerLostError, match="view_px"):
        labelled(["x", "y"], "pixels", "Acme")
    with pytest.raises(PeerLostError, match="no channel 'x'"):
        labelled(["a", "b"])


@pytest.mark.parametrize(
    ("keys", "key"),
    [({"stream": "", "type": ""}, "stream"), ({"x": "a"}, "x"), ({"stream": "a'b"}, "stream")],
)
def test_a_wrong_key_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        make_source({"kind": "lsl", **keys}, Context())
