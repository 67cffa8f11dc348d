"""The SDK's own plugin, registered through the hooks that everybody uses."""

from __future__ import annotations

from collections.abc import Sequence

from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.emulated import EmulatedImx500Backend
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.hookspecs import hookimpl
from picosam_sdk.interfaces import Backend

__all__ = ["picosam_backends"]


@hookimpl
def picosam_backends() -> Sequence[type[Backend]]:
    return [OnnxBackend, Imx500Backend, EmulatedImx500Backend]
