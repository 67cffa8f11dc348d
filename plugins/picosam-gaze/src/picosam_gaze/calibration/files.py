"""Calibrations and lenses as JSON files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from picosam_gaze.calibration.checks import CalibrationFileError
from picosam_gaze.calibration.fitting import Calibration, Spread
from picosam_gaze.lens import Lens
from picosam_gaze.mapping import HomographyMapping
from picosam_sdk.errors import InputError
from picosam_sdk.types import size_of

__all__ = ["FORMAT", "VERSION", "load_calibration", "read_lens", "save_calibration", "to_dict"]

FORMAT = "picosam-gaze-calibration"
VERSION = 1
_MAX_BYTES = 1_000_000

_DISTORTION = ("distortion", "distortion_coefficients", "dist_coefs")
"""What the coefficients are called: here, and in Pupil Labs' files."""


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """What stands in the file."""
    lens = calibration.lens
    return {
        "format": FORMAT,
        "version": VERSION,
        "homography": [list(row) for row in calibration.matrix],
        "scene_px": calibration.scene_px,
        "sensor_px": calibration.sensor_px,
        "lens": None if lens is None else {
            "size_px": lens.size_px,
            "camera_matrix": [list(row) for row in lens.matrix],
            "distortion": list(lens.distortion),
        },
        "pairs": calibration.pairs,
        "inliers": calibration.inliers,
        "outliers": list(calibration.outliers),
        "error": asdict(calibration.error),
        "left_out": None if calibration.left_out is None else asdict(calibration.left_out),
    }  # fmt: skip


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Writes the file.

    Raises:
        CalibrationFileError: it cannot be written.
    """
    text = json.dumps(to_dict(calibration), indent=2, allow_nan=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CalibrationFileError(
            f"expected to write {path}, got: {error.strerror}", hint="Check the folder."
        ) from error


def load_calibration(path: Path) -> Calibration:
    """Reads the file back.

    Raises:
        CalibrationFileError: it is no such file, of a newer version, or damaged.
    """
    raw = _read(path, "a calibration")
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise CalibrationFileError(
            f"expected a calibration of picosam-gaze in {path}, got another file",
            hint="Make one with: picosam gaze calibrate PAIRS.csv -o calibration.json",
        )
    if raw.get("version") != VERSION:
        raise CalibrationFileError(
            f"expected version {VERSION} of a calibration in {path}, got {raw.get('version')!r}",
            hint="Update picosam-gaze, or calibrate again.",
        )
    try:
        calibration = _calibration(raw)
        HomographyMapping(calibration.matrix, calibration.lens)
        if calibration.lens is not None:
            calibration.lens.check()
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationFileError(
            f"expected a complete calibration in {path}, got: {type(error).__name__}: {error}",
            hint="Calibrate again.",
        ) from error
    return calibration


def read_lens(path: Path, size_px: tuple[int, int] | None) -> Lens:
    """Reads a lens: ``{"camera_matrix": [[...]], "distortion": [...], "size_px": [w, h]}``.

    The ``scene_camera.json`` of a Pupil Labs export is such a file; it has no size.

    Args:
        path: the file.
        size_px: of the scene camera's picture, if the file does not say.

    Raises:
        CalibrationFileError: it is no such file.
        InputError: its values are no lens.
    """
    raw = _read(path, "a lens")
    name = next((key for key in _DISTORTION if isinstance(raw, dict) and key in raw), None)
    if not isinstance(raw, dict) or "camera_matrix" not in raw or name is None:
        raise CalibrationFileError(
            f"expected camera_matrix and {' or '.join(_DISTORTION)} in {path}, got others",
            hint="Copy them from the calibration of the scene camera.",
        )
    size = raw.get("size_px", size_px)
    if size is None:
        raise CalibrationFileError(
            f"expected the size of the scene camera's picture for the lens in {path}, got none",
            hint="Give --scene-size, as in 1600x1200.",
        )
    distortion = raw[name]
    if isinstance(distortion, list) and len(distortion) == 1 and isinstance(distortion[0], list):
        distortion = distortion[0]
    lens = _lens({"camera_matrix": raw["camera_matrix"], "distortion": distortion, "size_px": size})
    lens.check()
    return lens


def _read(path: Path, what: str) -> Any:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationFileError(
            f"expected {what} as JSON at {path}, got: {error}",
            hint="Check the path, or calibrate again.",
        ) from error


def _calibration(raw: dict[str, Any]) -> Calibration:
    matrix = tuple(tuple(float(value) for value in row) for row in raw["homography"])
    if [len(row) for row in matrix] != [3, 3, 3]:
        raise ValueError("homography is not 3 x 3")
    if not all(math.isfinite(value) for row in matrix for value in row):
        raise ValueError("homography is not finite")
    left_out = raw["left_out"]
    return Calibration(
        matrix=matrix,
        lens=None if raw["lens"] is None else _lens(raw["lens"]),
        scene_px=_size(raw["scene_px"]),
        sensor_px=_size(raw["sensor_px"]),
        pairs=int(raw["pairs"]),
        inliers=int(raw["inliers"]),
        error=_spread(raw["error"]),
        left_out=None if left_out is None else _spread(left_out),
        outliers=tuple(int(row) for row in raw["outliers"]),
    )


def _lens(raw: dict[str, Any]) -> Lens:
    try:
        matrix = tuple(tuple(float(value) for value in row) for row in raw["camera_matrix"])
        distortion = tuple(float(value) for value in raw["distortion"])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"expected numbers as camera_matrix and distortion, got: {error}",
            hint="Copy them from the calibration of the scene camera.",
        ) from error
    return Lens(size_of(tuple(raw["size_px"])), matrix, distortion)


def _spread(raw: dict[str, Any]) -> Spread:
    return Spread(**{key: None if value is None else float(value) for key, value in raw.items()})  # type: ignore[arg-type]


def _size(raw: Any) -> tuple[int, int] | None:
    return None if raw is None else size_of(tuple(raw))


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
