"""What a picosam.toml says: the tables that every application has.

Tables that a plugin reads (``[camera]``, ``[[roi]]``, ``[[filter]]``, ``[[publish]]``) hold the
keys below; all their others are the plugin's own and fill its ``Config``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from picosam_sdk.config import check, rest

__all__ = [
    "AppConfig",
    "CameraTable",
    "DeviceConfig",
    "EgressRule",
    "FilterTable",
    "Grant",
    "MetricsConfig",
    "PolicyConfig",
    "PublishTable",
    "RoiTable",
    "RunConfig",
    "SegmenterTable",
]

Grant = Literal["pixels", "cutout", "redacted", "gaze"]
"""What a recipient may have beside masks and numbers: whole pictures, the object's pixels alone,
pictures with everything but the object made unrecognisable, or where the eye looked."""

_WINDOW = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


@dataclass(frozen=True, slots=True)
class EgressRule:
    """What one recipient may have, ``egress = { ... }`` in its table. The default is no pixel.

    Args:
        grants: see :data:`Grant`.
        redaction: how "redacted" hides what lies outside the mask: "blur" or "blank".
        min_area: share of the view under which a mask is withheld, 0 to 1.
        coarsen: how many cells a side the view has for it: the mask becomes those that it covers
            by half; 0 leaves it. It goes with no picture, which would show the shape.
        privacy_masks: parts of the view as x, y, width, height, as shares of it, such as
            ``[[0.0, 0.0, 0.3, 1.0]]``: black in each picture, and no mask reaches in.
        max_rate_hz: results a second at most; 0 is no limit.
        windows: times of day in which results may leave, such as "08:00-18:00", in local time;
            one over midnight is "22:00-06:00". None: always.
        purpose: why the recipient gets it, for the manifest.
        kept: how long it is kept there, for the manifest, such as "30 days".
    """

    grants: tuple[Grant, ...] = ()
    redaction: Literal["blur", "blank"] = "blur"
    min_area: float = 0.0
    coarsen: int = 0
    privacy_masks: tuple[tuple[float, float, float, float], ...] = ()
    max_rate_hz: float = 0.0
    windows: tuple[str, ...] = ()
    purpose: str = ""
    kept: str = ""

    def __post_init__(self) -> None:
        check(0 <= self.min_area <= 1, "min_area", "a share of the view, 0 to 1", self.min_area)
        check(0 <= self.coarsen <= 4096, "coarsen", "1 to 4096 cells, or 0", self.coarsen)
        shown = [grant for grant in self.grants if grant != "gaze" and self.coarsen]
        check(not shown, "coarsen", f"0 beside a picture of the shape ({', '.join(shown)})",
              self.coarsen, hint="Remove one of the two.")  # fmt: skip
        for zone in self.privacy_masks:
            ok = all(map(math.isfinite, zone)) and zone[2] > 0 and zone[3] > 0
            check(ok, "privacy_masks", "x, y, width, height, the last two above 0", zone)
        check(0 <= self.max_rate_hz < 1e6, "max_rate_hz", "a rate, or 0", self.max_rate_hz)
        for window in self.windows:
            ok = _WINDOW.fullmatch(window) is not None and window[:5] != window[6:]
            check(ok, "windows", "two different times as '08:00-18:00'", window)


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """``[device]``: name, as in topics and manifests: letters, digits, dash and underscore."""

    name: str = "picosam"

    def __post_init__(self) -> None:
        ok = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name) is not None
        check(ok, "name", "1 to 64 of letters, digits, '-' and '_'", self.name)


@dataclass(frozen=True, slots=True)
class CameraTable:
    """``[camera]``: where frames come from; left out for a sensor, which is the camera itself."""

    kind: str
    options: dict[str, Any] = rest()


@dataclass(frozen=True, slots=True)
class SegmenterTable:
    """``[segmenter]``: the backend; its other keys are the backend's own options."""

    backend: str = "onnx"
    options: dict[str, Any] = rest()


@dataclass(frozen=True, slots=True)
class RoiTable:
    """``[[roi]]``: a ROI source. The first of the chain that has a prompt is followed."""

    kind: str
    name: str = ""
    egress: EgressRule = EgressRule()
    options: dict[str, Any] = rest()


@dataclass(frozen=True, slots=True)
class FilterTable:
    """``[[filter]]``: a mask filter; they are applied in the file's order."""

    kind: str
    options: dict[str, Any] = rest()


@dataclass(frozen=True, slots=True)
class PublishTable:
    """``[[publish]]``: a publisher.

    Args:
        name: for logs and metrics; the kind if "".
        queue: results that may wait for it; beyond, the oldest is dropped and counted.
        wait: the loop waits for room instead, and at the end until all are delivered. Only for
            cameras that lose nothing by it, such as a file or a folder.
        retry_s: pause after a failure, doubled each time up to ``retry_max_s``.
        egress: what it may have.
    """

    kind: str
    name: str = ""
    queue: int = 8
    wait: bool = False
    retry_s: float = 0.5
    retry_max_s: float = 30.0
    egress: EgressRule = EgressRule()
    options: dict[str, Any] = rest()

    def __post_init__(self) -> None:
        check(1 <= self.queue <= 100_000, "queue", "a number from 1 to 100000", self.queue)
        check(0 < self.retry_s <= self.retry_max_s, "retry_s", "0 < retry_s <= retry_max_s",
              self.retry_s)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """``[policy]``: the audit log, and who answers for the data, for the manifest.

    Args:
        audit_log: file for JSON lines; None for none.
        audit_max_bytes, audit_files: its size at which it is rotated, and how many are kept.
        controller: person or organisation that answers for the data.
        contact: how to reach them.
    """

    audit_log: Path | None = None
    audit_max_bytes: int = 1_000_000
    audit_files: int = 5
    controller: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """``[metrics]``: Prometheus text over HTTP (extra ``metrics``); port 0 for none."""

    port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """``[run]``: the loop.

    Args:
        max_fps: frames a second at most; 0 for as many as come.
        max_frames: stop after so many; 0 for no end.
        shutdown_s: how long publishers may deliver what they hold after the end.
        status_s: seconds between two status lines on the terminal; 0 for none.
    """

    max_fps: float = 0.0
    max_frames: int = 0
    shutdown_s: float = 1.5
    status_s: float = 2.0


@dataclass(frozen=True, slots=True)
class AppConfig:
    """A whole picosam.toml."""

    device: DeviceConfig = DeviceConfig()
    camera: CameraTable | None = None
    segmenter: SegmenterTable = field(default_factory=SegmenterTable)
    roi: tuple[RoiTable, ...] = ()
    filter: tuple[FilterTable, ...] = ()
    publish: tuple[PublishTable, ...] = ()
    policy: PolicyConfig = PolicyConfig()
    metrics: MetricsConfig = MetricsConfig()
    run: RunConfig = RunConfig()
