"""An emulated Raspberry Pi AI Camera (Sony IMX500) under the real picamera2.

:class:`EmulatedImx500` is the camera; ``Segmenter(backend="imx500-emulated")`` uses one.
:class:`Faults` is what can be made to go wrong.
"""

from picosam_sdk.testing.imx500.device import EmulatedImx500, plugged_in
from picosam_sdk.testing.imx500.faults import Faults
from picosam_sdk.testing.imx500.rpk import build_rpk
from picosam_sdk.testing.imx500.scene import Scene, fit_to_view
from picosam_sdk.testing.imx500.sensor import Exposure

__all__ = [
    "EmulatedImx500",
    "Exposure",
    "Faults",
    "Scene",
    "build_rpk",
    "fit_to_view",
    "plugged_in",
]
