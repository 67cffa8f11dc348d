"""Where gaze comes from: the role ``GazeSource``, and making one from a table of the configuration.

A source that another package brings is named in the entry-point group ``picosam_gaze_sources``::

    [project.entry-points.picosam_gaze_sources]
    acme-glasses = "acme.gaze:AcmeGlasses"

``picosam_gaze.testing.GazeSourceContract`` tests it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from picosam_sdk.config import check, from_mapping
from picosam_sdk.errors import ConfigError, MissingExtraError, PicoSamError, PluginError
from picosam_sdk.interfaces import Context, Part
from picosam_sdk.types import Gaze

__all__ = [
    "GROUP",
    "GazeSource",
    "GazeSourceError",
    "MissingGazeExtraError",
    "SourceConfig",
    "make_source",
    "source_class",
    "source_kinds",
]

GROUP = "picosam_gaze_sources"
"""The entry-point group in which other packages name their sources."""

_BUILTIN = {
    "lsl": "picosam_gaze.sources.lsl:LslSource",
    "mqtt": "picosam_gaze.sources.mqtt:MqttSource",
    "pointer": "picosam_gaze.sources.pointer:PointerSource",
    "pupil-core": "picosam_gaze.sources.pupil_core:PupilCoreSource",
    "pupil-labs": "picosam_gaze.sources.pupil_labs:PupilLabsSource",
    "replay": "picosam_gaze.sources.replay:ReplaySource",
    "udp": "picosam_gaze.sources.udp:UdpSource",
}


class GazeSourceError(PicoSamError):
    """A gaze source cannot be opened."""


class MissingGazeExtraError(MissingExtraError):
    """An optional package of picosam-gaze is not installed; the hint is its install line.

    Args:
        module: the module that could not be imported.
        extra: the extra of ``picosam-gaze`` that brings it.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(module, extra)
        self.hint = f"Install it with: pip install 'picosam-gaze[{extra}]'"


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The keys that every source has.

    Args:
        timeout_s: without a sample for so long, the source no longer counts as connected.
        buffer: samples that may wait to be read; beyond, the oldest is dropped and counted.
        view_px: width and height of the scene camera's picture, where the source cannot tell.
    """

    timeout_s: float = 1.0
    buffer: int = 2048
    view_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check(0 < self.timeout_s <= 3600, "timeout_s", "seconds, up to 3600", self.timeout_s)
        check(1 <= self.buffer <= 1_000_000, "buffer", "a number from 1 to 1000000", self.buffer)
        if self.view_px is not None:
            ok = all(1 <= side <= 100_000 for side in self.view_px)
            check(ok, "view_px", "a width and a height in pixels", self.view_px)


class GazeSource(Part):
    """An eye tracker, or what stands in for one.

    It is opened, read from one thread by ``samples``, and closed; like every part, it can then be
    opened again. Losing the eye tracker is no error: ``connected`` becomes False, no samples come,
    and the source looks for it again.
    """

    Config: ClassVar[type] = SourceConfig

    @abstractmethod
    def samples(self) -> list[Gaze]:
        """What came since the last call; never blocks.

        Returns:
            In order of ``timestamp_ns``, which never runs back from call to call, lies on the
            host's monotonic clock and never in the future. x and y are shares of the scene
            camera's view, origin top left; NaN where the tracker lost the eye.
        """

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether samples are coming: False on loss, and ``timeout_s`` after the last one."""

    @property
    def view_px(self) -> tuple[int, int] | None:
        """Width and height of the scene camera's picture, if known."""
        size: tuple[int, int] | None = self.config.view_px
        return size

    @property
    def in_view(self) -> bool:
        """Whether the gaze lies in the very view that is segmented, so that nothing is to be
        mapped; of glasses, it lies in that of their scene camera.
        """
        return False

    @property
    def clock_ns(self) -> int | None:
        """What time it is for the samples, of a source that does not keep to the host's clock."""
        return None


def source_kinds() -> list[str]:
    """The names of all sources, sorted."""
    return sorted({*_BUILTIN, *(entry.name for entry in _entry_points())})


def source_class(kind: str) -> type[GazeSource]:
    """The class of a source.

    Raises:
        ConfigError: there is none of that name; the hint lists those that exist.
        PluginError: the package that brings it is broken.
    """
    if kind in _BUILTIN:
        module, _, name = _BUILTIN[kind].partition(":")
        cls = getattr(importlib.import_module(module), name)
    else:
        entry = next((entry for entry in _entry_points() if entry.name == kind), None)
        if entry is None:
            kinds = source_kinds()
            near = difflib.get_close_matches(kind, kinds, n=1)
            raise ConfigError(
                f"kind: expected a gaze source, got {kind!r}"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                hint=f"The gaze sources are: {', '.join(kinds)}.",
            )
        try:
            cls = entry.load()
        except Exception as error:
            raise PluginError(
                f"the gaze source '{kind}' ({entry.value}) cannot be loaded: {error!r}",
                hint="Update or remove the package that brings it.",
            ) from error
    if not (isinstance(cls, type) and issubclass(cls, GazeSource)):
        raise PluginError(
            f"expected a class derived from GazeSource for '{kind}', got {cls!r}",
            hint="Correct the entry point of the package that brings it.",
        )
    return cls


def make_source(table: Mapping[str, Any], context: Context, where: str = "") -> GazeSource:
    """Makes a source from its table, such as ``{kind = "udp", port = 5005}``; does not open it.

    Args:
        table: ``kind``, and the keys of that source.
        context: of the application.
        where: how the table is called in errors, such as ``roi[0].source``.

    Raises:
        ConfigError: there is no such source, or a key is unknown, missing or wrong.
    """
    prefix = f"{where.removesuffix('.')}." if where else ""
    options = dict(table)
    kind = options.pop("kind", None)
    try:
        check(isinstance(kind, str), "kind", "the name of a gaze source", kind)
        cls = source_class(str(kind))
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}", hint=error.hint) from error
    return cls(from_mapping(options, cls.Config, prefix), context)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=GROUP))
