"""What goes wrong in the camera, and what becomes of it: restarts, and errors that say why."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import BackendError, BackendTimeoutError, PicoSamError, Roi, UnavailableError
from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.watchdog import Watchdog
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults
from tests.imx500.conftest import QUICK
from tests.imx500.test_backend import LEFT, RIGHT, WAIT_S, read_many, settled

Open = Callable[..., tuple[Imx500Backend, EmulatedImx500]]
Plug = Callable[..., tuple[EmulatedImx500, Path]]
ALERT: dict[str, Any] = {"frame_timeout_s": 0.3, "inference_frames": 8}
PATIENT: dict[str, Any] = {"frame_timeout_s": 30.0, "inference_frames": 8}


def test_frames_that_stop_are_started_again(opened: Open) -> None:
    backend, device = opened({"faults": Faults(starts=1, frames_stop_after=12)}, **ALERT)
    settled(backend, LEFT)
    while device.driver.starts < 2:
        assert backend.read(WAIT_S) is not None
    assert settled(backend, LEFT).mask is not None
    assert backend.stats["restarts"] == 1
    assert backend.stats["state"] == "streaming"


def test_after_a_restart_the_prompt_is_written_again_before_any_mask(opened: Open) -> None:
    backend, device = opened({"faults": Faults(starts=1, frames_stop_after=12)}, **ALERT)
    settled(backend, LEFT)
    while device.driver.starts < 2:
        backend.read(WAIT_S)
    result = backend.read(WAIT_S)
    assert result.mask is not None
    assert result.roi == LEFT
    truth = {frame.timestamp_ns: frame.window for frame in device.history}
    x, y, width, height = truth[result.frame.timestamp_ns]
    assert result.mask.roi == Roi(x / 4056, y / 3040, width / 4056, height / 3040)
    assert width < 2000


def test_a_camera_that_stops_again_and_again_is_given_up(opened: Open) -> None:
    backend, device = opened({"faults": Faults(frames_stop_after=12)}, **ALERT, restarts=2)
    with pytest.raises(BackendTimeoutError, match=r"keep running after 2 restarts.*no frame"):
        read_many(backend, 10_000)
    assert device.driver.starts == 3


@pytest.mark.parametrize("how", ["network_lost_after", "power_off"])
def test_a_lost_network_is_sent_again(opened: Open, how: str) -> None:
    lost = how == "network_lost_after"
    faults = Faults(starts=1, network_lost_after=12) if lost else Faults()
    backend, device = opened({"faults": faults}, **PATIENT)
    settled(backend, LEFT)
    if not lost:
        device.power_off()
    while device.driver.starts < 2:
        backend.read(WAIT_S)
    assert settled(backend, RIGHT).mask is not None
    assert device.driver.network is not None
    assert backend.stats["restarts"] == 1


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"no_tensor": True}, "no inference in "),
        ({"no_info": True}, "tensor without its description"),
        ({"tensor_values": 5000}, "tensor of 5000 values, described as 9217"),
        ({"info_bytes": 300}, "description of 300 bytes"),
        ({"not_finite": True}, "NaN"),
    ],
)
def test_outputs_that_stay_unusable_end_in_an_error_that_says_what_was_tried(
    opened: Open, faults: dict[str, Any], why: str
) -> None:
    backend, device = opened(**PATIENT, restarts=2)
    for name, value in faults.items():
        setattr(device.faults, name, value)
    backend.aim(LEFT)
    with pytest.raises(BackendTimeoutError, match=r"2 restarts.*network sent again") as caught:
        settled(backend, LEFT)
    assert "docs/imx500.md" in caught.value.hint
    assert why in str(caught.value) + str(backend.stats["problems"])
    assert backend.stats["state"] == "failed"
    assert device.driver.starts == 3
    with pytest.raises(BackendTimeoutError, match="2 restarts"):
        backend.aim(RIGHT)  # and stays so until it is opened again


def test_a_few_odd_frames_are_counted_and_nothing_more(opened: Open) -> None:
    backend, device = opened(inference_frames=10_000)
    settled(backend, LEFT)
    device.faults.tensor_values = 100
    odd = "tensor of 100 values, described as 9217"
    wait_for(lambda: backend.stats["problems"].get(odd, 0) > 3)
    device.faults.tensor_values = None
    assert settled(backend, LEFT).mask is not None
    assert backend.stats["restarts"] == 0


def test_older_libcamera_works_and_is_mentioned(opened: Open) -> None:
    backend, _ = opened({"faults": Faults(info_bytes=708)})
    assert settled(backend, LEFT).mask is not None
    assert any("708" in name for name in backend.stats["problems"])


def test_an_upload_that_fails_once_is_tried_again(opened: Open) -> None:
    backend, device = opened({"faults": Faults(starts=1, upload_fails_at=0.5)})
    assert settled(backend, LEFT).mask is not None
    assert device.driver.starts == 2


def test_an_upload_that_always_fails_says_so(opened: Open) -> None:
    with pytest.raises(BackendTimeoutError, match=r"3 restarts.*temporarily unavailable"):
        opened({"faults": Faults(upload_fails_at=0.5)})


def test_an_upload_that_stalls_is_given_up(opened: Open) -> None:
    began = time.monotonic()
    with pytest.raises(BackendTimeoutError, match=r"upload stalled at \d+ of \d+ bytes"):
        opened(
            {"faults": Faults(upload_hangs_at=0.4), "upload_s": 0.1},
            restarts=1, stall_timeout_s=0.6,
        )  # fmt: skip
    assert time.monotonic() - began < 40


def test_a_driver_that_refuses_the_network(opened: Open) -> None:
    with pytest.raises(BackendTimeoutError, match="driver to take the network"):
        opened({"faults": Faults(network_errno=errno.EIO)})


@pytest.mark.parametrize("debugfs", ["none", "no-sudo", "sudo"])
def test_without_root_it_opens_all_the_same(opened: Open, debugfs: str) -> None:
    backend, _ = opened({"debugfs": debugfs})
    assert settled(backend, LEFT).mask is not None


def test_a_camera_in_use_is_unavailable(opened: Open, model: Path) -> None:
    _, device = opened()
    with pytest.raises((UnavailableError, BackendError), match="busy"):
        Imx500Backend(device.rpk(model), **QUICK | {"restarts": 0})


def test_no_camera_is_said_at_once(plugged: Plug, model: Path) -> None:
    device, network = plugged()
    device.links.clear()
    with pytest.raises(UnavailableError, match="found none"):
        Imx500Backend(network, **QUICK)


def test_reading_in_vain_says_what_came_instead(opened: Open) -> None:
    backend, device = opened(inference_frames=10**9)
    device.faults.no_tensor = True
    backend.aim(LEFT)
    wait_for(lambda: backend.stats["frames"] > 20)
    backend.aim(LEFT)
    with pytest.raises(BackendTimeoutError, match=r"got none \(state streaming, frames"):
        backend.read(0.05)


def test_a_broken_observer_does_not_stop_the_camera(opened: Open) -> None:
    backend, _ = opened()

    def broken(*_: object) -> None:
        raise RuntimeError("observer")

    backend.observer = broken
    time.sleep(0.05)
    backend.observer = None
    assert settled(backend, LEFT).mask is not None


def test_watchdog_backs_off_and_starts_over_after_an_inference() -> None:
    watchdog = Watchdog(frame_timeout_s=60, inference_frames=3, restarts=3, backoff_s=0.5)
    watchdog.opened()
    assert watchdog.trouble() == ""
    for _ in range(3):
        watchdog.frame(inference=False)
    assert watchdog.trouble() == "no inference in 3 frames"
    assert [watchdog.next_attempt("lost") for _ in range(3)] == [0.5, 1.0, 2.0]
    with pytest.raises(PicoSamError, match=r"3 restarts.*lost; lost; lost; again"):
        watchdog.next_attempt("again")
    for index in range(1000):  # an inference now and then does not make it healthy
        with pytest.raises(PicoSamError):
            watchdog.next_attempt(str(index))
        watchdog.frame(inference=True)
    assert watchdog.next_attempt("lost") == 0.5
    assert watchdog.total == 4


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_camera_that_is_gone_for_a_while_is_found_again(opened: Open) -> None:
    backend, device = opened({"faults": Faults(starts=1, frames_stop_after=12)}, **ALERT)
    settled(backend, LEFT)
    links = dict(device.links)
    device.links.clear()
    wait_for(lambda: backend._watchdog.trouble() != "")
    threading.Timer(0.1, device.links.update, [links]).start()
    backend._watchdog.backoff_s = 0.2
    while device.driver.starts < 2:
        assert backend.read(WAIT_S).mask is not None
    assert settled(backend, LEFT).mask is not None
    assert backend.stats["restarts"] >= 1
