"""Measures the mapping from the scene camera to the sensor, and keeps it in a file."""

from picosam_gaze.calibration.checks import (
    CalibrationError,
    CalibrationFileError,
    ClusteredError,
    CollinearError,
    IllConditionedError,
    MirroredError,
    TooFewInliersError,
    TooFewPairsError,
)
from picosam_gaze.calibration.files import load_calibration, read_lens, save_calibration, to_dict
from picosam_gaze.calibration.fitting import Calibration, Spread, fit
from picosam_gaze.calibration.pairs import Pairs, read_pairs

__all__ = [
    "Calibration",
    "CalibrationError",
    "CalibrationFileError",
    "ClusteredError",
    "CollinearError",
    "IllConditionedError",
    "MirroredError",
    "Pairs",
    "Spread",
    "TooFewInliersError",
    "TooFewPairsError",
    "fit",
    "load_calibration",
    "read_lens",
    "read_pairs",
    "save_calibration",
    "to_dict",
]
