"""The parts of one application, as its configuration names them: constructed, not opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from picosam_sdk.interfaces import (
    Backend,
    Camera,
    Context,
    MaskFilter,
    Publisher,
    RoiSource,
    SensorBackend,
)
from picosam_sdk.settings import CameraTable, FilterTable, PublishTable, RoiTable

__all__ = ["Parts", "Placed"]

P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placed(Generic[P, T]):
    """A part, and where in the configuration it comes from.

    Args:
        part: the part.
        table: the common keys of its table, such as a PublishTable; its own are in
            ``part.config``.
        key: where that table stands, such as "publish[0]".
        name: what logs and metrics call it; no two parts of a role have the same.
    """

    part: P
    table: T
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of one application.

    Args:
        context: what they share.
        backend: class of what runs the network.
        backend_options: what its constructor is given.
        camera: None with a sensor, which is the camera itself.
        rois, filters, publishers: in the file's order.
    """

    context: Context
    backend: type[Backend]
    backend_options: Mapping[str, Any]
    camera: Placed[Camera, CameraTable] | None
    rois: tuple[Placed[RoiSource, RoiTable], ...]
    filters: tuple[Placed[MaskFilter, FilterTable], ...]
    publishers: tuple[Placed[Publisher, PublishTable], ...]

    @property
    def is_sensor(self) -> bool:
        """Whether the backend is the camera, too."""
        return issubclass(self.backend, SensorBackend)
