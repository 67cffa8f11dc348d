"""Pairs of points, one in the scene camera's picture and one in the sensor's, from a CSV file."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picosam_gaze.calibration.checks import CalibrationError, CalibrationFileError
from picosam_sdk.limits import read_limited
from picosam_sdk.types import size_of

__all__ = ["COLUMNS", "MAX_BYTES", "MAX_PAIRS", "Pairs", "read_pairs"]

COLUMNS = ("scene_x", "scene_y", "sensor_x", "sensor_y")

MAX_PAIRS = 5000
MAX_BYTES = 1 << 20
_REACH = 0.25


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Points that belong together.

    Args:
        scene, sensor: float64 (n, 2), as shares of their views.
        scene_px, sensor_px: sizes of the pictures; None if unknown.

    Raises:
        CalibrationError: they are not as many, not finite, or far outside their pictures.
    """

    scene: NDArray[np.float64]
    sensor: NDArray[np.float64]
    scene_px: tuple[int, int] | None = None
    sensor_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        shapes = np.shape(self.scene), np.shape(self.sensor)
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] != 2:
            raise CalibrationError(
                f"expected as many points in both pictures, (n, 2), got {shapes[0]} and "
                f"{shapes[1]}",
                hint="Give one point in each picture for every spot.",
            )
        for points, whose in ((self.scene, "scene"), (self.sensor, "sensor")):
            far = ~(np.abs(np.asarray(points) - 0.5) <= 0.5 + _REACH).all(axis=1)
            if far.any():
                row = int(np.flatnonzero(far)[0])
                x, y = points[row]
                raise CalibrationError(
                    f"expected points inside the {whose} picture, got ({x:.3g}, {y:.3g}) as "
                    f"shares of it in pair {row + 1}",
                    hint="If they are pixels, give the sizes of both pictures: "
                    "--scene-size 1600x1200 --sensor-size 2028x1520.",
                )


def read_pairs(
    path: Path,
    scene_px: tuple[int, int] | None = None,
    sensor_px: tuple[int, int] | None = None,
) -> Pairs:
    """Reads pairs from a CSV file with the columns scene_x, scene_y, sensor_x, sensor_y.

    Args:
        path: the file; other columns are ignored.
        scene_px, sensor_px: width and height of the pictures, if the file has pixels; without
            them it has shares, 0 to 1. Origin top left in both.

    Raises:
        CalibrationFileError: the file cannot be read; the message names the line.
        CalibrationError: the points do not lie in their pictures.
    """
    if (scene_px is None) != (sensor_px is None):
        raise CalibrationError(
            "expected the sizes of both pictures, or of none, got one",
            hint="Give --scene-size and --sensor-size, as in 1600x1200.",
        )
    rows = _rows(path)
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    scene, sensor = values[:, :2], values[:, 2:]
    if scene_px is not None and sensor_px is not None:
        scene_px, sensor_px = size_of(scene_px), size_of(sensor_px)
        scene, sensor = scene / scene_px, sensor / sensor_px
    return Pairs(scene, sensor, scene_px, sensor_px)


def _rows(path: Path) -> list[list[float]]:
    rows: list[list[float]] = []
    try:
        with io.StringIO(read_limited(path, MAX_BYTES).decode("utf-8-sig"), newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise CalibrationFileError(
                    f"expected the columns {', '.join(COLUMNS)} in {path}, got "
                    f"{', '.join(table.fieldnames or ()) or 'none'}",
                    hint="Name them in the first line.",
                )
            for row in table:
                rows.append([_number(row[name], name, path, table.line_num) for name in COLUMNS])
                if len(rows) > MAX_PAIRS:
                    raise CalibrationFileError(
                        f"expected at most {MAX_PAIRS} pairs in {path}, got more",
                        hint="A few dozen are enough.",
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationFileError(
            f"expected a CSV file of pairs at {path}, got: {error}", hint="Check the path."
        ) from error
    return rows


def _number(text: str | None, name: str, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CalibrationFileError(
            f"expected a number as {name} in line {line} of {path}, got {text!r}",
            hint="Remove or complete that line.",
        )
    return value
