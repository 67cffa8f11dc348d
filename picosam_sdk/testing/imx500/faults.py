"""What can be made to go wrong on the emulated sensor."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Faults"]


@dataclass(slots=True)
class Faults:
    """Faults on demand; may be changed while the camera runs.

    Args:
        starts: the faults below hold for the first so many starts of the stream, then all is
            well; None for ever.
        roi_errno: error number with which writing the ROI fails.
        roi_offset_px: the driver takes another ROI than asked, this far to the right.
        network_errno: error number with which handing over the network fails.
        upload_fails_at: share of the upload after which the driver gives up (an I/O error).
        upload_hangs_at: share of the upload after which nothing happens any more.
        frames_stop_after: frames of a stream after which no more come.
        network_lost_after: frames of a stream after which the sensor has no network.
        no_tensor: inferences are missing from the metadata altogether.
        no_info: tensors come without their description.
        tensor_values: so many values of the output tensor arrive.
        info_bytes: size of the description; 708 is what older libcamera sends.
        no_kpi: no run times in the metadata.
        not_finite: the output tensor holds NaN.
    """

    starts: int | None = None
    roi_errno: int = 0
    roi_offset_px: int = 0
    network_errno: int = 0
    upload_fails_at: float | None = None
    upload_hangs_at: float | None = None
    frames_stop_after: int | None = None
    network_lost_after: int | None = None
    no_tensor: bool = False
    no_info: bool = False
    tensor_values: int | None = None
    info_bytes: int = 712
    no_kpi: bool = False
    not_finite: bool = False
