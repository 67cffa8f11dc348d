"""Whether an AI Camera is here, and what of its surroundings could stand in its way. Cheap."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["facts", "problem"]

_VIDEO = Path("/sys/class/video4linux")
_HEAPS = ("/dev/dma_heap/vidbuf_cached", "/dev/dma_heap/linux,cma")


def problem() -> str:
    """Why no sensor can be opened here, or ""."""
    if emulated():
        from picosam_sdk.testing.imx500.install import plugged

        return "" if plugged() else "this process uses the emulated camera"
    if not cameras():
        return "no Raspberry Pi AI Camera is connected"
    return ""


def emulated() -> bool:
    """Whether this process runs picamera2 on the emulation."""
    return hasattr(sys.modules.get("libcamera"), "picosam_stub")


def cameras() -> list[str]:
    """The device-tree paths of the AI Cameras that the kernel has."""
    found = []
    for device in sorted(_VIDEO.glob("v4l-subdev*/device")):
        try:
            if "imx500" in str((device / "driver" / "module").readlink()):
                node = str((device / "of_node").readlink())
                found.append(node[node.rindex("/base/") :] if "/base/" in node else node)
        except OSError:
            continue
    return found


def facts() -> dict[str, Any]:
    """What ``picosam doctor`` shows about the sensor; opens no camera."""
    progress = "not readable: no bar while a network is uploaded"
    if os.access("/sys/kernel/debug", os.R_OK | os.X_OK):
        progress = "readable"
    elif shutil.which("sudo") and Path("/usr/sbin/debug_stream_imx500.sh").exists():
        progress = "readable through sudo, if it asks for no password"
    return {
        "cameras": cameras(),
        "picamera2": _version("picamera2"),
        "libcamera": "installed" if find_spec("libcamera") else None,
        "description_bytes": _description_bytes(),
        "upload_progress": progress,
        "memory_heap": next((heap for heap in _HEAPS if os.access(heap, os.R_OK | os.W_OK)), None),
        "packager": shutil.which("imx500-package"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _description_bytes() -> int | None:
    """The size of the tensors' description that picamera2 expects; libcamera's may differ.

    Only read where libcamera is there: without it, picamera2 cannot be imported.
    """
    if find_spec("libcamera") is None or find_spec("picamera2") is None:
        return None
    import ctypes

    try:
        from picamera2.devices.imx500 import imx500
    except Exception:  # a broken installation: the backend will say so when it is opened
        return None
    struct = getattr(imx500, "CnnOutputTensorInfoExported", None)
    return None if struct is None else ctypes.sizeof(struct)
