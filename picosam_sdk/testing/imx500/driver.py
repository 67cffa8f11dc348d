"""The kernel driver of the emulated sensor: controls, power, upload, progress.

As in the real one: an ROI is clamped to 4032 per value; one without width or height becomes the
whole sensor; it reaches the registers at once only while streaming; handing over a network while
streaming is refused; power goes off some seconds after the stream stops, and with it the network.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Any

from picosam_sdk.errors import ModelError
from picosam_sdk.testing.imx500.faults import Faults

__all__ = ["Driver"]

ROI_ID, NETWORK_ID, DEVICE_ID, INJECTION_ID = 0x982900, 0x982901, 0x982902, 0x982903
ROI_MAX = 4032
SENSOR = (4056, 3040)
STAGES = ("loader", "main", "network")
MIB = 1 << 20


class Driver:
    """State of one sensor.

    Args:
        faults: what goes wrong.
        upload_s: how long an upload of all three stages takes.
        autosuspend_s: how long after the end of a stream the power goes off.
    """

    def __init__(self, faults: Faults, upload_s: float, autosuspend_s: float) -> None:
        self.faults = faults
        self.upload_s, self.autosuspend_s = upload_s, autosuspend_s
        self.lock = threading.Lock()
        self.window = (0, 0, *SENSOR)
        """The registers: what the network is shown, in pixels of the sensor."""
        self.roi_writes: list[tuple[int, int, int, int]] = []
        self.network: bytes | None = None
        self.starts = self.uploads = 0
        self.streaming = False
        self.released = threading.Event()
        """Set to end whatever hangs."""
        self._roi = (0, 0, 0, 0)
        self._powered = self._written = self._base_written = False
        self._idle_since = 0.0
        self._stage = self._progress = self._size = 0

    def fault(self) -> Faults:
        """The faults that hold now."""
        limit = self.faults.starts
        return self.faults if limit is None or self.starts <= limit else Faults()

    # What a program asks of the device node.

    def set_controls(self, control: Any) -> None:
        """VIDIOC_S_EXT_CTRLS with one array of four numbers."""
        if control.id != ROI_ID or control.size != 16:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self.lock:
            fault = self.fault()
            if fault.roi_errno:
                raise OSError(fault.roi_errno, os.strerror(fault.roi_errno))
            values = [min(control.p_u32[index], ROI_MAX) for index in range(4)]
            values[0] += fault.roi_offset_px
            for index, value in enumerate(values):
                control.p_u32[index] = value
            self._roi = (values[0], values[1], values[2], values[3])
            self.roi_writes.append(self._roi)
            if self.streaming:
                self._apply_roi()

    def get_controls(self, control: Any) -> None:
        """VIDIOC_G_EXT_CTRLS."""
        values = {ROI_ID: self._roi, DEVICE_ID: (0x10, 0x20, 0x30, 0x40)}.get(control.id)
        if values is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        for index, value in enumerate(values):
            control.p_u32[index] = value

    def set_control(self, control: Any) -> None:
        """VIDIOC_S_CTRL: the file of the network."""
        if control.id != NETWORK_ID:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self.lock:
            self._suspend_if_idle()
            number = errno.EBUSY if self.streaming else self.fault().network_errno
            if number:
                raise OSError(number, os.strerror(number))
            self.network = os.pread(control.value, os.fstat(control.value).st_size, 0)
            self._size, self._written, self._progress = len(self.network), False, 0
            control.value = -1

    def progress_text(self) -> str:
        """debugfs: stage, bytes of it, bytes of the network (of the network in any stage)."""
        return f"{self._stage} {self._progress // MIB * MIB} {self._size}\n"

    def chunk_text(self) -> str:
        """debugfs of the bridge: bytes of the present block."""
        return f"{self._progress % MIB}\n"

    # What libcamera and the world do to it.

    def start_streaming(self) -> bool:
        """Powers up and uploads; blocks meanwhile. Returns whether the network runs.

        Raises:
            OSError: as the driver does.
        """
        with self.lock:
            self._suspend_if_idle()
            self._powered = True
            self.starts += 1
            self._apply_roi()
        if self.network is not None:
            if not self._base_written:
                for stage in (0, 1):
                    self._upload(stage, self._size)
                self._base_written = True
            if not self._written:
                self._check_network(self.network)
                self._upload(2, len(self.network))
                self._written = True
                self.uploads += 1
        self.streaming = True
        return self.network is not None

    def stop_streaming(self) -> None:
        with self.lock:
            self.streaming = False
            self._idle_since = time.monotonic()

    def power_off(self) -> None:
        """The regulators go off: everything that was uploaded is gone."""
        self._powered = self._written = self._base_written = False
        self.network = None
        self._progress = 0

    def _suspend_if_idle(self) -> None:
        idle_s = time.monotonic() - self._idle_since
        if self._powered and not self.streaming and idle_s > self.autosuspend_s:
            self.power_off()

    def _apply_roi(self) -> None:
        x, y, width, height = self._roi
        if not width or not height:
            self.window = (0, 0, *SENSOR)
        else:
            self.window = (x, y, min(width, SENSOR[0]), min(height, SENSOR[1]))

    def _check_network(self, network: bytes) -> None:
        """Refuses what has no whole block or no registers, as the driver does."""
        import tempfile
        from pathlib import Path

        from picosam_sdk.rpk import read_rpk

        with tempfile.NamedTemporaryFile(suffix=".rpk") as file:
            file.write(network)
            file.flush()
            try:
                regs = read_rpk(Path(file.name)).files.get("imx500_regs")
            except ModelError:
                regs = None
        if regs is None or len(regs) % 7:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _upload(self, stage: int, size: int) -> None:
        fault = self.fault()
        steps = 10
        self._stage, self._progress = stage, 0
        for step in range(1, steps + 1):
            share = step / steps
            if stage == 2 and fault.upload_fails_at is not None and share > fault.upload_fails_at:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            if stage == 2 and fault.upload_hangs_at is not None and share > fault.upload_hangs_at:
                self.released.wait()
                raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
            self.released.wait(self.upload_s / steps / len(STAGES))
            self._progress = size * step // steps
