"""Promptable segmentation on the device: a ROI goes in, the mask of the object in it comes out.

::

    from picosam_sdk import Roi, Segmenter

    with Segmenter() as segmenter:
        mask = segmenter.segment("photo.jpg", point=(320, 240))
"""

from picosam_sdk import telemetry
from picosam_sdk.errors import (
    BackendError,
    BackendTimeoutError,
    CameraError,
    ConfigError,
    EgressError,
    InputError,
    MissingExtraError,
    ModelError,
    PicoSamError,
    PluginError,
    PublishError,
    RoiRejectedError,
    UnavailableError,
    UnknownPluginError,
    UnsupportedError,
)
from picosam_sdk.hookspecs import hookimpl
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import (
    Backend,
    Camera,
    Context,
    HostBackend,
    MaskFilter,
    Publisher,
    RoiSource,
    SensorBackend,
)
from picosam_sdk.mask import Mask, Result
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.plugins import Plugins
from picosam_sdk.segmenter import Segmenter
from picosam_sdk.types import Box, CropRule, Frame, Gaze, Prompt, Roi

__version__ = "0.1.0"

telemetry.turn_off()  # before onnxruntime is loaded

__all__ = [
    "Backend",
    "BackendError",
    "BackendTimeoutError",
    "Box",
    "Camera",
    "CameraError",
    "ConfigError",
    "Context",
    "CropRule",
    "EgressError",
    "Frame",
    "Gaze",
    "HostBackend",
    "InputError",
    "Mask",
    "MaskFilter",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "PicoSamError",
    "PluginError",
    "Plugins",
    "Prompt",
    "PublishError",
    "Publisher",
    "Result",
    "Roi",
    "RoiRejectedError",
    "RoiSource",
    "Segmenter",
    "SensorBackend",
    "UnavailableError",
    "UnknownPluginError",
    "UnsupportedError",
    "hookimpl",
    "load_image",
]
