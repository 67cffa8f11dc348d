"""The SDK's own plugin, registered through the hooks that everybody uses."""

from __future__ import annotations

from collections.abc import Sequence

from picosam_sdk.backends.imx500.backend import Imx500Backend
from picosam_sdk.backends.imx500.emulated import EmulatedImx500Backend
from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.backends.replay import ReplayBackend
from picosam_sdk.cameras.photos import PhotosCamera
from picosam_sdk.cameras.replay import ReplayCamera
from picosam_sdk.cameras.rtsp import RtspCamera
from picosam_sdk.cameras.synthetic import SyntheticCamera
from picosam_sdk.cameras.video import VideoCamera
from picosam_sdk.cameras.webcam import WebcamCamera
from picosam_sdk.filters.hysteresis import HysteresisFilter
from picosam_sdk.hookspecs import hookimpl
from picosam_sdk.interfaces import Backend, Camera, MaskFilter, Publisher, RoiSource
from picosam_sdk.publishers.lines import JsonlPublisher, PrintPublisher
from picosam_sdk.publishers.record import RecordPublisher
from picosam_sdk.rois.fixed import FixedSource
from picosam_sdk.rois.follow import FollowSource
from picosam_sdk.rois.grid import GridSource
from picosam_sdk.rois.manual import ManualSource
from picosam_sdk.rois.point import LadderSource, PointSource
from picosam_sdk.rois.replay import ReplaySource

__all__ = [
    "picosam_backends",
    "picosam_cameras",
    "picosam_mask_filters",
    "picosam_publishers",
    "picosam_roi_sources",
]


@hookimpl
def picosam_backends() -> Sequence[type[Backend]]:
    return [OnnxBackend, Imx500Backend, EmulatedImx500Backend, ReplayBackend]


@hookimpl
def picosam_cameras() -> Sequence[type[Camera]]:
    return [WebcamCamera, VideoCamera, RtspCamera, PhotosCamera, SyntheticCamera, ReplayCamera]


@hookimpl
def picosam_roi_sources() -> Sequence[type[RoiSource]]:
    return [
        FixedSource, FollowSource, GridSource, LadderSource, ManualSource, PointSource,
        ReplaySource,
    ]  # fmt: skip


@hookimpl
def picosam_publishers() -> Sequence[type[Publisher]]:
    return [PrintPublisher, JsonlPublisher, RecordPublisher]


@hookimpl
def picosam_mask_filters() -> Sequence[type[MaskFilter]]:
    return [HysteresisFilter]
