"""Filters of gaze, all causal: each is fed one sample at a time and looks only back."""

from picosam_gaze.filters.angles import View
from picosam_gaze.filters.config import FilterConfig
from picosam_gaze.filters.detector import Detector, Still
from picosam_gaze.filters.gating import Gate, Verdict
from picosam_gaze.filters.idt import DispersionDetector
from picosam_gaze.filters.ivt import VelocityDetector
from picosam_gaze.filters.one_euro import OneEuro, PointSmoother
from picosam_gaze.filters.tracker import EyeState, FixationTracker, Sighting

__all__ = [
    "Detector",
    "DispersionDetector",
    "EyeState",
    "FilterConfig",
    "FixationTracker",
    "Gate",
    "OneEuro",
    "PointSmoother",
    "Sighting",
    "Still",
    "VelocityDetector",
    "Verdict",
    "View",
]
