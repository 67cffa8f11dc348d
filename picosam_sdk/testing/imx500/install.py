"""Puts the emulated devices under the real picamera2: stub modules and a stand-in for the OS.

picamera2 is imported with stubs of ``libcamera`` and ``pykms``. Inside those of its modules that
touch the system, the names ``os``, ``fcntl``, ``open`` and ``subprocess`` are replaced; nothing
outside picamera2 is changed.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib
import os
import subprocess
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from picosam_sdk.errors import UnavailableError
from picosam_sdk.testing.imx500 import geometry_types, libcamera_camera, libcamera_types

if TYPE_CHECKING:
    from picosam_sdk.testing.imx500.device import EmulatedImx500

__all__ = ["import_picamera2", "plug", "plugged", "unplug"]

STUB = "picosam_stub"
HEAP = "/dev/dma_heap/vidbuf_cached"
_plugged: list[EmulatedImx500] = []


def plugged() -> list[EmulatedImx500]:
    """The emulated cameras that are plugged in now."""
    return _plugged


def plug(devices: list[EmulatedImx500]) -> None:
    """Makes picamera2 see these cameras.

    Raises:
        UnavailableError: picamera2 is not installed or runs on the real libcamera, or emulated
            cameras are plugged in already.
    """
    if _plugged:
        raise UnavailableError(
            "expected no emulated camera in use in this process, got one",
            hint="Close the other one first.",
        )
    import_picamera2()
    _plugged.extend(devices)
    libcamera_camera.CameraManager.plugged = [device.camera for device in devices]


def unplug() -> None:
    """Takes all emulated cameras away."""
    _plugged.clear()
    libcamera_camera.CameraManager.plugged = []


def import_picamera2() -> None:
    """Imports the real picamera2 on stubs, once."""
    present = sys.modules.get("libcamera")
    if present is not None and not hasattr(present, STUB):
        raise UnavailableError(
            "expected a process without the real libcamera, got one that has imported it",
            hint="Use backend='imx500-emulated' in a program of its own.",
        )
    if present is None:
        _add_stubs()
    try:
        # The release's own code warns on newer Python; that is not for our users to see.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in ("picamera2.devices.imx500.imx500", "picamera2.dma_heap"):
                _patch(importlib.import_module(name))
            _patch(importlib.import_module("picamera2.allocators.dmaallocator"))
    except (ImportError, OSError, AttributeError) as error:  # such as: libarchive is not there
        raise UnavailableError(
            f"the emulated sensor needs picamera2, which cannot be imported: {error}",
            hint="Install it with: apt install libcap-dev libarchive-tools && "
            "pip install 'picosam-sdk[imx500]'",
        ) from error


def _add_stubs() -> None:
    libcamera = _stub("libcamera")
    for source in (geometry_types, libcamera_types, libcamera_camera):
        for name in source.__all__:
            setattr(libcamera, name, getattr(source, name))
    setattr(libcamera, "_libcamera", _stub("libcamera._libcamera"))  # noqa: B010
    vars(libcamera._libcamera).update(
        ColorSpace=libcamera.ColorSpace, Transform=libcamera.Transform
    )
    # A preview on a screen is drawn with pykms; its module names these formats when imported.
    names = "RGB888 BGR888 XRGB8888 XBGR8888 ARGB8888 ABGR8888 YUV420 YVU420 NV12 NV21 YUYV YVYU"
    _stub("pykms").PixelFormat = SimpleNamespace(**{name: name for name in names.split()})


def _stub(name: str) -> Any:
    module = ModuleType(name, "Stands in for a module of Raspberry Pi OS.")
    module.__spec__ = ModuleSpec(name, None)
    setattr(module, STUB, True)
    sys.modules[name] = module
    return module


def _patch(module: ModuleType) -> None:
    """Replaces what one of picamera2's modules uses of the system, once."""
    names = vars(module)
    if STUB in names:
        return
    names[STUB] = True
    for name, stand_in in (("os", _Os()), ("fcntl", _Fcntl()), ("subprocess", _Subprocess())):
        if name in names:
            names[name] = stand_in
    names["open"] = _open


def _find(path: str) -> tuple[EmulatedImx500, str] | None:
    """The device that a path belongs to, and what the path is to it."""
    for device in _plugged:
        kind = device.path_kind(path)
        if kind:
            return device, kind
    return None


class _Node:
    """An open device node."""

    def __init__(self, device: EmulatedImx500) -> None:
        self.device = device

    def close(self) -> None:
        pass


class _Os:
    """``os``, in which the emulated cameras' files exist."""

    def __init__(self) -> None:
        self.path = _Path()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def readlink(self, path: str) -> str:
        found = _find(path)
        if found and found[1] == "link":
            return found[0].links[path]
        return os.readlink(path)  # noqa: PTH115 - this stands in for it

    def open(self, path: str, flags: int) -> int:
        if path == HEAP:
            return os.open(os.devnull, flags)
        return os.open(path, flags)


class _Path:
    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)

    def exists(self, path: str) -> bool:
        return _find(path) is not None or os.path.exists(path)  # noqa: PTH110

    def islink(self, path: str) -> bool:
        found = _find(path)
        return found[1] == "link" if found else os.path.islink(path)  # noqa: PTH114


class _Fcntl:
    """``fcntl``, whose ioctl reaches the emulated driver and memory heap."""

    def __getattr__(self, name: str) -> Any:
        return getattr(fcntl, name)

    def ioctl(self, fd: Any, request: int, arg: Any = 0) -> Any:
        from picamera2 import dma_heap

        if isinstance(fd, _Node):
            driver = fd.device.driver
            # Its numbers have come from different packages; the module itself has them.
            names = vars(sys.modules["picamera2.devices.imx500.imx500"])
            if request == names["VIDIOC_S_EXT_CTRLS"]:
                driver.set_controls(arg.controls[0])
            elif request == names.get("VIDIOC_G_EXT_CTRLS"):
                driver.get_controls(arg.controls[0])
            elif request == names["VIDIOC_S_CTRL"]:
                driver.set_control(arg)
            else:
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
            return 0
        if request == dma_heap.DMA_HEAP_IOCTL_ALLOC:
            arg.fd = os.memfd_create("imx500-emulated")
            os.ftruncate(arg.fd, arg.len)
            return 0
        if request in (dma_heap.DMA_BUF_SET_NAME, dma_heap.DMA_BUF_IOCTL_SYNC):
            return 0
        return fcntl.ioctl(fd, request, arg)


class _Subprocess:
    """``subprocess``, in which ``cat`` and ``sudo`` read the emulated driver's progress."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def check_output(self, command: list[str], **options: Any) -> Any:
        for device in _plugged:
            text = device.progress(command)
            if text is not None:
                return text
        return subprocess.check_output(command, **options)


class _ProgressFile:
    """A file of debugfs, which picamera2 before 0.3.37 keeps open."""

    def __init__(self, device: EmulatedImx500, path: str) -> None:
        self._device, self._path = device, path
        try:
            self.readline()
        except subprocess.CalledProcessError:
            raise PermissionError(errno.EACCES, "Permission denied", path) from None

    def seek(self, offset: int) -> None:
        pass

    def readline(self) -> str:
        return self._device.progress(["cat", self._path]) or ""


def _open(path: Any, *args: Any, **options: Any) -> Any:
    found = _find(path) if isinstance(path, str) else None
    if found and found[1] == "node":
        return _Node(found[0])
    for device in _plugged:
        if isinstance(path, str) and device.watches(path):
            return _ProgressFile(device, path)
    return builtins.open(path, *args, **options)  # noqa: PTH123
