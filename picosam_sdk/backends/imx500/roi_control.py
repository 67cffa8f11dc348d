"""The sensor's ROI: written through picamera2's helper, read back from the driver."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from picosam_sdk.backends.imx500.grid import MAX_SIDE_PX, SENSOR_BOX
from picosam_sdk.errors import RoiRejectedError
from picosam_sdk.types import Box

__all__ = ["read_roi", "write_roi"]


def write_roi(helper: Any, box: Box) -> None:
    """Writes a ROI and makes sure that the driver has it.

    The helper swallows a refusal, and the driver clamps silently; an empty ROI would show the
    network the whole sensor. So the box is checked before, and read back after.

    Raises:
        RoiRejectedError: the driver refused it or has another one now.
    """
    inside = (
        0 <= box.x0 < box.x1 <= SENSOR_BOX.x1 and 0 <= box.y0 < box.y1 <= SENSOR_BOX.y1
    ) and max(box.width, box.height) <= MAX_SIDE_PX
    if not inside:
        raise RoiRejectedError(
            f"expected a ROI inside the sensor of 4056 x 3040 pixels and at most "
            f"{MAX_SIDE_PX} long, got {box}",
            hint="Make it with picosam_sdk.backends.imx500.grid.sensor_box.",
        )
    values = (box.x0, box.y0, box.width, box.height)
    before = helper.config.get("roi")
    helper.set_inference_roi_abs(values)
    after = helper.config.get("roi")
    if after is before or (after.x, after.y, after.width, after.height) != values:
        raise RoiRejectedError(
            f"expected the driver to take the ROI {values}, but it refused",
            hint="See 'dmesg' for imx500 messages; restarting the camera often helps.",
        )
    now = read_roi(helper)
    if now is not None and now != values:
        raise RoiRejectedError(
            f"expected the driver to hold the ROI {values}, got {now}",
            hint="Another program may be writing the ROI; stop it.",
        )


def read_roi(helper: Any) -> tuple[int, int, int, int] | None:
    """The ROI that the driver holds: x, y, width, height; None if it does not tell."""
    names = vars(_module(helper))
    values = (ctypes.c_uint32 * 4)()
    control = (names["v4l2_ext_control"] * 1)()
    control[0].p_u32 = values
    control[0].id = names["ROI_CTRL_ID"]
    control[0].size = ctypes.sizeof(values)
    controls = names["v4l2_ext_controls"]()
    controls.count = 1
    controls.controls = control
    try:
        names["fcntl"].ioctl(helper.device_fd, names["VIDIOC_G_EXT_CTRLS"], controls)
    except (OSError, KeyError):  # an older driver, or an older picamera2
        return None
    return values[0], values[1], values[2], values[3]


def _module(helper: Any) -> Any:
    """picamera2's module of the helper class, whose names for the driver's interface are used."""
    return next(
        sys.modules[cls.__module__]
        for cls in type(helper).__mro__
        if "ROI_CTRL_ID" in vars(sys.modules[cls.__module__])
    )
