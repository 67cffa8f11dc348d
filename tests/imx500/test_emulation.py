"""The emulated camera behaves like libcamera and the driver, under the real picamera2."""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import struct
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk import ModelError, UnavailableError
from picosam_sdk.backends.imx500.card import read_card
from picosam_sdk.rpk import read_rpk
from picosam_sdk.testing.imx500 import EmulatedImx500, Faults, fit_to_view, plugged_in
from picosam_sdk.testing.imx500.rpk import cpio, firmware_block
from tests.imx500.conftest import FAST, red_scene

Plug = Callable[..., tuple[EmulatedImx500, Path]]


def real_helper(network: Path, camera: str = "") -> Any:
    """picamera2's own class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from picamera2.devices import IMX500

        return IMX500(str(network), camera)


@contextmanager
def streaming(helper: Any, **main: Any) -> Iterator[Any]:
    """picamera2's own camera class, running."""
    from picamera2 import Picamera2

    camera = Picamera2(helper.camera_num)
    try:
        camera.configure(
            camera.create_preview_configuration(
                main={"size": (1014, 760), "format": "BGR888", "preserve_ar": False, **main},
                raw={"size": (2028, 1520)}, display=None, encode=None,
            )
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            camera.start()
        yield camera
    finally:
        camera.close()


def test_the_real_class_reads_the_network_file(plugged: Plug) -> None:
    _, network = plugged()
    helper = real_helper(network)
    assert type(helper).__module__ == "picamera2.devices.imx500.imx500"
    assert helper.get_input_size() == (96, 96)
    assert helper.config["input_tensor"]["input_format"] == "RGB"
    assert helper.network_intrinsics.task == "segmentation"
    assert read_rpk(network).input_size == (96, 96)
    assert len(helper.get_device_id()) == 32


def test_metadata_is_libcameras_byte_for_byte(plugged: Plug) -> None:
    from picamera2.devices.imx500 import imx500

    _, network = plugged()
    helper = real_helper(network)
    with streaming(helper) as camera:
        request = camera.capture_request(wait=30)
        metadata = request.get_metadata()
        picture = request.make_array("main")
        request.release()
    info = metadata["CnnOutputTensorInfo"]
    assert isinstance(info, tuple)
    parsed = imx500.CnnOutputTensorInfoExported.from_buffer_copy(bytes(info))
    assert ctypes.sizeof(parsed) == len(info) == 712
    assert parsed.network_name == b"picosam3"
    assert parsed.num_tensors == 2
    assert list(parsed.info[0].size[: parsed.info[0].num_dimensions]) == [1, 96, 96]
    assert [parsed.info[i].tensor_data_num for i in (0, 1)] == [96 * 96, 1]
    assert struct.unpack_from("<I", bytes(info), 64) == (2,)
    assert isinstance(metadata["CnnOutputTensor"], tuple)
    assert len(metadata["CnnOutputTensor"]) == 96 * 96 + 1
    assert metadata["CnnKpiInfo"] == (8000, 2000)
    assert helper.get_kpi_info(metadata) == (8.0, 2.0)
    assert metadata["ScalerCrop"] == (0, 0, 4056, 3040)
    assert abs(time.monotonic_ns() - metadata["SensorTimestamp"]) < 60e9
    assert [output.shape for output in helper.get_outputs(metadata)] == [(1, 96, 96), (1, 1, 1)]
    assert picture.shape == (760, 1014, 3)
    red = picture[..., 0].astype(int) - picture[..., 1] > 100
    assert np.array_equal(red, red_scene()[1][::2, ::2])


def test_outputs_come_column_by_column(plugged: Plug) -> None:
    _, network = plugged()
    helper = real_helper(network)
    with streaming(helper) as camera:
        request = camera.capture_request(wait=30)
        metadata = request.get_metadata()
        request.release()
    mask = helper.get_outputs(metadata)[0][0] > 0
    flat = np.array(metadata["CnnOutputTensor"][: 96 * 96]).reshape(96, 96) > 0
    assert np.array_equal(flat.T, mask)
    assert not np.array_equal(flat, mask)  # the L is not its own mirror image
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert rows[0] == pytest.approx(400 / 1520 * 96, abs=1)
    assert columns[-1] == pytest.approx(1300 / 2028 * 96, abs=1)


def test_driver_clamps_widens_nothing_and_empty_means_all(plugged: Plug) -> None:
    device, network = plugged()
    helper = real_helper(network)
    assert device.driver.roi_writes[-1] == (0, 0, 4032, 3040)  # asked for 4056
    assert helper.config["roi"].width == 4056  # which the helper believes
    with streaming(helper):
        helper.set_inference_roi_abs((100, 200, 300, 400))
        assert device.driver.window == (100, 200, 300, 400)
        helper.set_inference_roi_abs((5000, 10, 20, 20))  # off the sensor: becomes empty
        assert device.driver.window == (0, 0, 4056, 3040)


def test_roi_takes_effect_after_the_delay(plugged: Plug) -> None:
    device, network = plugged(roi_delay=3)
    helper = real_helper(network)
    with streaming(helper):
        wait_for(lambda: len(device.history) > 5)
        before = time.monotonic_ns()
        helper.set_inference_roi_abs((400, 400, 800, 800))
        after = time.monotonic_ns()
        wait_for(lambda: device.history[-1].window == (400, 400, 800, 800))
    frames = device.history
    first = next(frame for frame in frames if frame.window == (400, 400, 800, 800))
    assert sum(before < frame.timestamp_ns < first.timestamp_ns for frame in frames) >= 3
    assert sum(after < frame.timestamp_ns < first.timestamp_ns for frame in frames) <= 3


def test_power_off_loses_the_network_until_it_is_sent_again(plugged: Plug) -> None:
    device, network = plugged(autosuspend_s=0.05)
    helper = real_helper(network)
    for expected in (True, False):  # stop, wait, start: pictures and no outputs
        with streaming(helper) as camera:
            request = camera.capture_request(wait=30)
            assert ("CnnOutputTensor" in request.get_metadata()) is expected
            request.release()
        time.sleep(0.1)
    again = real_helper(network)
    with streaming(again) as camera:
        request = camera.capture_request(wait=30)
        assert "CnnOutputTensor" in request.get_metadata()
        request.release()
    assert device.driver.uploads == 2


def test_network_cannot_be_sent_while_streaming(plugged: Plug) -> None:
    _, network = plugged()
    helper = real_helper(network)
    with streaming(helper), pytest.raises(RuntimeError, match="resource busy"):
        real_helper(network)


@pytest.mark.parametrize(
    ("debugfs", "kind"), [("root", 1), ("sudo", 2), ("none", 0), ("no-sudo", None)]
)
def test_progress_is_read_by_whom_the_machine_lets(
    plugged: Plug, debugfs: str, kind: int | None
) -> None:
    _, network = plugged(debugfs=debugfs)
    if kind is None:  # the helper does not expect a machine without sudo
        with pytest.raises(FileNotFoundError, match="sudo"):
            real_helper(network)
        return
    helper = real_helper(network)
    assert helper.fw_progress == kind
    if kind:
        with streaming(helper):
            size = network.stat().st_size
            assert helper.get_fw_upload_progress(2) == (size, size)
            assert helper.get_fw_upload_progress(1) == (0, 0)


def test_two_cameras_are_numbered_otherwise_than_they_are_opened(model: Path) -> None:
    left, right = EmulatedImx500(port=0, **FAST), EmulatedImx500(port=1, **FAST)
    with plugged_in(left, right):
        network = left.rpk(model)
        helper = real_helper(network, "i2c@88000")
        from picamera2 import Picamera2

        assert helper.imx500_device_id == "11-001a"
        infos = Picamera2.global_camera_info()
        assert infos[helper.camera_num]["Id"] == left.id  # which is not what was asked for
        place = [info["Num"] for info in infos].index(helper.camera_num)
        assert infos[place]["Id"] == right.id


def test_slow_network_leaves_frames_without_outputs(plugged: Plug) -> None:
    device, network = plugged(dnn_ms=70.0)  # two frames and a bit of 33 ms
    with streaming(real_helper(network)):
        wait_for(lambda: len(device.history) > 12)
    assert [frame.inference for frame in device.history[:6]] == [False, False, True] * 2


@pytest.mark.parametrize("pisp", [False, True])
def test_scaler_crop_is_what_the_stream_shows(plugged: Plug, pisp: bool) -> None:
    _, network = plugged(pisp=pisp)
    helper = real_helper(network)
    from picamera2 import Picamera2

    camera = Picamera2(helper.camera_num)
    try:
        camera.configure(
            camera.create_preview_configuration(main={"size": (500, 400), "format": "BGR888"})
        )
        crop = (1400, 800, 1000, 800)
        camera.set_controls({"ScalerCrops": [crop]} if pisp else {"ScalerCrop": crop})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            camera.start()
        request = camera.capture_request(wait=30)
        assert request.get_metadata()["ScalerCrop"] == crop
        picture = request.make_array("main")
        request.release()
        red = picture[..., 0].astype(int) - picture[..., 1] > 100
        assert np.array_equal(red, red_scene()[1][400:800, 700:1200])
    finally:
        camera.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_only_one_program_opens_the_camera(plugged: Plug) -> None:
    _, network = plugged()
    helper = real_helper(network)
    from picamera2 import Picamera2

    with streaming(helper), pytest.raises(RuntimeError, match="did not complete"):
        Picamera2(helper.camera_num)
    gc.collect()  # a camera that was not opened leaves its pipe to the garbage collector


def test_faults_of_the_driver(plugged: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    device, network = plugged()
    helper = real_helper(network)
    device.faults.roi_errno = errno.EIO
    helper.set_inference_roi_abs((0, 0, 400, 400))  # swallows it
    assert "Unable to set ROI" in capsys.readouterr().out
    assert helper.config["roi"].width == 4056
    device.faults.network_errno = errno.EIO
    with pytest.raises(RuntimeError, match="Unable to set network firmware"):
        real_helper(network)


def test_an_emulated_camera_at_a_time(plugged: Plug) -> None:
    plugged()
    with pytest.raises(UnavailableError, match="no emulated camera in use"):
        EmulatedImx500(**FAST).plug()


def test_a_process_with_the_real_libcamera_is_left_alone() -> None:
    code = (
        "import sys, types; sys.modules['libcamera'] = types.ModuleType('libcamera')\n"
        "from picosam_sdk.testing.imx500 import EmulatedImx500\n"
        "EmulatedImx500().plug()\n"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "a process without the real libcamera" in done.stderr


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"PK" + data[2:], "begin with a firmware block"),
        (lambda data: data[:200], "cut off or damaged"),
        (lambda data: data[:-400], "bytes of|CPIO entry"),
        (lambda data: data.replace(b"inputTensorWidth", b"inputTensorW1dth"), "size of the input"),
        (lambda data: data.replace(b'{"task"', b'{"task;'), "JSON in network_intrinsics"),
    ],
)
def test_damaged_network_files_are_named(
    plugged: Plug, tmp_path: Path, damage: Callable[[bytes], bytes], why: str
) -> None:
    _, network = plugged()
    broken = tmp_path / "broken.rpk"
    broken.write_bytes(damage(network.read_bytes()))
    with pytest.raises(ModelError, match=why):
        read_rpk(broken)


def test_pictures_of_any_shape_are_shown_whole() -> None:
    for height, width in ((100, 300), (300, 100), (76, 101)):
        image = np.full((height, width, 3), 200, np.uint8)
        shown = fit_to_view(image)
        assert shown.shape[1] / shown.shape[0] == pytest.approx(4056 / 3040, abs=0.01)
        assert (shown == 200).all(2).sum() == height * width


def test_faults_end_after_so_many_starts() -> None:
    device = EmulatedImx500(faults=Faults(starts=1, no_tensor=True), **FAST)
    assert device.driver.fault().no_tensor
    device.driver.starts = 2
    assert not device.driver.fault().no_tensor


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_network_file_with_a_device_lock_and_its_card_inside(plugged: Plug, tmp_path: Path) -> None:
    """Both the helper and the SDK's own reader skip the 32 bytes of the lock."""
    _, network = plugged()
    card = json.loads(network.with_suffix(".json").read_text())
    files = read_rpk(network).files
    files["network_intrinsics"] = json.dumps(
        {"task": "segmentation", "picosam_card": card}
    ).encode()
    block = bytearray(firmware_block(b"weights"))
    block[14] = 1
    locked = tmp_path / "locked.rpk"
    locked.write_bytes(bytes(block) + bytes(32) + cpio(files))
    assert read_rpk(locked).input_size == (96, 96)
    assert real_helper(locked).get_input_size() == (96, 96)
    assert read_card(locked).name == "red"
