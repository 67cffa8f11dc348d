"""Where a ROI lies on the sensor: whole cells of pixels, within what the driver takes.

Three frames of reference meet here. The *sensor* has 4056 x 3040 pixels, in which the driver
takes the ROI in every mode. The *view* is the part of it that the stream shows (libcamera's
ScalerCrop; all of it unless the user zooms), and the user's shares are shares of the view. The
*mask* covers the ROI in force, which is what was written, as shares of the view.

The sensor is divided into cells of 4 x 4 pixels; the host's crop rule is applied to a picture
of 1014 x 760 such cells, so a ROI differs from the host's by less than a cell.
"""

from __future__ import annotations

from picosam_sdk.geometry import crop_box
from picosam_sdk.types import Box, CropRule, Roi

__all__ = ["CELL_PX", "MAX_SIDE_PX", "MIN_SIDE_PX", "SENSOR_BOX", "region_in_view", "sensor_box"]

SENSOR_BOX = Box(0, 0, 4056, 3040)
CELL_PX = 4
MAX_SIDE_PX = 4032
"""The driver clamps what is larger, without saying so."""
MIN_SIDE_PX = 96
"""The side of the network's input: the sensor scales down, not up."""


def sensor_box(roi: Roi, rule: CropRule, view: Box = SENSOR_BOX) -> Box:
    """The pixels of the sensor that the network shall see for a ROI.

    Padded, squared and clipped by the same rule as on the host; then at least 96 and at most
    4032 pixels long each way (about its centre, moved inside where needed), on whole cells,
    within the view.

    Args:
        roi: as shares of the view.
        rule: the model's.
        view: the part of the sensor that the stream shows, in its pixels.

    Raises:
        InputError: the ROI lies wholly outside the view.
    """
    cells_wide, cells_high = SENSOR_BOX.width // CELL_PX, SENSOR_BOX.height // CELL_PX
    roi.to_pixels(cells_wide, cells_high)  # refuses a ROI outside the view
    on_sensor = Roi(
        (view.x0 + roi.x * view.width) / SENSOR_BOX.width,
        (view.y0 + roi.y * view.height) / SENSOR_BOX.height,
        roi.width * view.width / SENSOR_BOX.width,
        roi.height * view.height / SENSOR_BOX.height,
    )
    box = crop_box(on_sensor, cells_wide, cells_high, rule)
    x0, x1 = _fitted(box.x0, box.x1, view.x0, view.x1)
    y0, y1 = _fitted(box.y0, box.y1, view.y0, view.y1)
    return Box(x0, y0, x1, y1)


def region_in_view(box: Box, view: Box) -> Roi | None:
    """A box of the sensor as shares of the view; None where it is not all inside."""
    if box.x0 < view.x0 or box.y0 < view.y0 or box.x1 > view.x1 or box.y1 > view.y1:
        return None
    return Roi(
        (box.x0 - view.x0) / view.width,
        (box.y0 - view.y0) / view.height,
        box.width / view.width,
        box.height / view.height,
    )


def _fitted(first: int, end: int, view_first_px: int, view_end_px: int) -> tuple[int, int]:
    """A span of cells, brought to an allowed length inside the view; in pixels."""
    low, high = -(-view_first_px // CELL_PX), view_end_px // CELL_PX
    first, end = max(first, low), min(end, high)
    wanted = min(max(end - first, MIN_SIDE_PX // CELL_PX), MAX_SIDE_PX // CELL_PX)
    length = max(1, min(wanted, high - low))
    start = min(max((first + end - length) // 2, low), high - length)
    return start * CELL_PX, (start + length) * CELL_PX
