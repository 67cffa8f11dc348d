"""The loop from frames to results; :mod:`picosam_sdk.app` puts it together."""

from __future__ import annotations

from picosam_sdk.pipeline.filter_chain import FilterChain
from picosam_sdk.pipeline.host import HostEye
from picosam_sdk.pipeline.look import Watch
from picosam_sdk.pipeline.loop import Pipeline
from picosam_sdk.pipeline.roi_chain import RoiChain
from picosam_sdk.pipeline.sensor import SensorEye

__all__ = ["FilterChain", "HostEye", "Pipeline", "RoiChain", "SensorEye", "Watch"]
