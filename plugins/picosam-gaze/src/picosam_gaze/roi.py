"""The ROI source "gaze": an eye tracker, a filter, a mapping and a prompter in one."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from picosam_gaze.calibration import Calibration, CalibrationError, load_calibration
from picosam_gaze.filters import FilterConfig, FixationTracker, Sighting, View
from picosam_gaze.mapping import IdentityMapping, Mapping
from picosam_gaze.prompting import Look, PromptConfig, Prompter
from picosam_gaze.source import GazeSource, source_class
from picosam_sdk.config import check, from_mapping
from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.mask import Result
from picosam_sdk.types import Prompt, Roi

__all__ = ["FOV_DEG", "GazeRoi", "GazeRoiConfig", "SourceTable"]

_FUTURE_NS = 50_000_000
"""A sample this far ahead of the clock has a clock that is wrong."""

FOV_DEG = 90.0
"""The field of view of a scene camera of which nothing is known."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """``source = { kind = "...", ... }``: which gaze source, and its own keys, checked."""

    kind: type[GazeSource]
    settings: Any


@dataclass(frozen=True)
class GazeRoiConfig:
    """``kind = "gaze"``.

    Args:
        source: the table of the gaze source, such as ``{ kind = "udp", port = 5005 }``.
        calibration: file of the mapping from the scene camera to the camera that is segmented,
            from 'picosam gaze calibrate'.
        mapping: "identity" says that both are the same camera, so that there is nothing to map.
        fov_deg: horizontal field of view of the scene camera, for visual angles; None takes it
            from the lens of the calibration, or else 90 degrees.
        filter: how gaze becomes fixations.
        prompt: how fixations become prompts.
        region: name that results carry.
    """

    source: Any
    calibration: Path | None = None
    mapping: Literal["", "identity"] = ""
    fov_deg: float | None = None
    filter: FilterConfig = field(default_factory=FilterConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    region: str = ""

    def __post_init__(self) -> None:
        table = self.source if isinstance(self.source, SourceTable) else _table(self.source)
        object.__setattr__(self, "source", table)
        if self.fov_deg is not None:
            check(1 <= self.fov_deg <= 175, "fov_deg", "1 to 175 degrees", self.fov_deg)


def _table(raw: Any) -> SourceTable:
    """Checks the keys of a source; it becomes a dataclass, so that paths in it are found."""
    check(isinstance(raw, dict), "source", "a table such as { kind = 'udp' }", raw)
    options = dict(raw)
    kind = options.pop("kind", None)
    check(isinstance(kind, str), "source.kind", "the name of a gaze source", kind)
    try:
        cls = source_class(str(kind))
    except ConfigError as error:
        raise ConfigError(f"source.{error}", hint=error.hint) from error
    return SourceTable(cls, from_mapping(options, cls.Config, "source."))


class GazeRoi(RoiSource):
    """Looks where the eye looks; :mod:`picosam_gaze.prompting` says how.

    Args:
        config, context: as of every part.
        source: a gaze source in place of the one that the configuration names.
    """

    name: ClassVar[str] = "gaze"
    Config: ClassVar[type] = GazeRoiConfig

    def __init__(self, config: Any, context: Context, source: GazeSource | None = None) -> None:
        super().__init__(config, context)
        table: SourceTable = config.source
        self.source = source or table.kind(table.settings, context)
        _check_mapping(config, self.source)
        self._calibration: Calibration | None = None
        self._mapping: Mapping = IdentityMapping()
        self._size_px: tuple[int, int] | None = None
        self._tracker = FixationTracker(config.filter)
        self._prompter = Prompter(config.prompt)
        self._counts: Counter[str] = Counter()
        self._sighting: Sighting | None = None

    def open(self) -> None:
        path = self.config.calibration
        self._calibration = None if path is None else load_calibration(path)
        self._mapping = IdentityMapping()
        if self._calibration is not None:
            self._mapping = self._calibration.mapping
        self._prompter = Prompter(self.config.prompt)
        self._counts = Counter(dict.fromkeys(("samples", "future", "prompts"), 0))
        self._sighting = None
        self.source.open()
        try:
            self._take_size(self.source.view_px)
        except InputError:
            self.source.close()
            raise

    def close(self) -> None:
        self.source.close()
        self._prompter.reset()
        self._sighting = None

    def latest(self, now_ns: int) -> Prompt | Roi | None:
        samples = self.source.samples()
        if self.source.view_px != self._size_px:  # some know it only when they are connected
            self._take_size(self.source.view_px)
        clock_ns = self.source.clock_ns
        clock_ns = now_ns if clock_ns is None else clock_ns
        for gaze in samples:
            self._counts["samples"] += 1
            if gaze.timestamp_ns > clock_ns + _FUTURE_NS:
                self._counts["future"] += 1
                continue
            self._sighting = self._tracker.push(gaze)
            self._prompter.see(self._look(self._sighting))
        prompt = self._prompter.prompt(clock_ns)
        if prompt is None or prompt.gaze is None:
            return None
        self._counts["prompts"] += 1
        since_ns = now_ns - max(0, clock_ns - prompt.timestamp_ns)
        gaze = replace(prompt.gaze, timestamp_ns=since_ns)
        return replace(prompt, timestamp_ns=since_ns, gaze=gaze, region=self.config.region)

    def observe(self, result: Result) -> None:
        self._prompter.observe(result)

    @property
    def stats(self) -> Table[str, Any]:
        sighting = self._sighting
        age_s = None
        if sighting is not None:
            age_s = (time.monotonic_ns() - sighting.gaze.timestamp_ns) / 1e9
        return {
            "eye": "unseen" if sighting is None else sighting.state.value,
            "target": self._prompter.state,
            "gaze_age_s": age_s,
            **self._counts,
            **self._prompter.counts,
            "source": _plain(self.source.stats),
        }

    def _take_size(self, size_px: tuple[int, int] | None) -> None:
        """Makes a tracker for a scene camera of this size."""
        calibration, fov_deg = self._calibration, self.config.fov_deg
        self._size_px = size_px
        if calibration is not None:
            _check_size(calibration.scene_px, size_px)
            size_px = size_px or calibration.scene_px
            if fov_deg is None and calibration.lens is not None:
                fov_deg = calibration.lens.fov_deg
        aspect = 4 / 3 if size_px is None else size_px[0] / size_px[1]
        self._tracker = FixationTracker(self.config.filter, View(fov_deg or FOV_DEG, aspect))

    def _look(self, sighting: Sighting) -> Look:
        x, y = self._mapping.point(sighting.x, sighting.y)
        gaze = replace(sighting.gaze, x=x, y=y)
        return Look(sighting.state, gaze, sighting.dwell_ns)


def _check_mapping(config: GazeRoiConfig, source: GazeSource) -> None:
    """Where the gaze lies in the view that is segmented must be known, not guessed.

    Glasses have a scene camera of their own: to take its shares for those of another camera gives
    masks of what nobody looked at. So there is no default, save for sources that measure in that
    very view, such as a pointer on its picture.
    """
    given = [key for key, value in (("calibration", config.calibration),
                                    ("mapping", config.mapping)) if value]  # fmt: skip
    if len(given) == 2:
        raise ConfigError(
            "mapping: expected either calibration or mapping, got both",
            hint="Remove mapping = 'identity' to map by the calibration.",
        )
    if source.in_view and config.calibration is not None:
        raise ConfigError(
            f"calibration: expected none for the source '{source.name}', whose gaze lies in the "
            f"view that is segmented, got {config.calibration}",
            hint="Remove calibration.",
        )
    if not given and not source.in_view:
        raise ConfigError(
            f"calibration: expected to be told how the scene camera of the source '{source.name}' "
            "lies to the camera that is segmented, got nothing",
            hint="Make a calibration: picosam gaze calibrate PAIRS.csv -o calibration.json, and "
            "set calibration = 'calibration.json'. If both are one camera, set mapping = "
            "'identity'.",
        )


def _check_size(calibrated: tuple[int, int] | None, size_px: tuple[int, int] | None) -> None:
    """Refuses a calibration of a picture of another shape: its shares are others."""
    if calibrated is None or size_px is None:
        return
    ratio = (calibrated[0] / calibrated[1]) / (size_px[0] / size_px[1])
    if abs(ratio - 1) > 0.02:
        raise CalibrationError(
            f"expected a calibration for the scene camera's {size_px[0]} x {size_px[1]} px, got "
            f"one for {calibrated[0]} x {calibrated[1]} px",
            hint="Calibrate with pictures of that shape: picosam gaze calibrate.",
        )


def _plain(stats: Table[str, Any]) -> dict[str, Any]:
    """What a third party's source tells, as far as it fits into JSON."""
    try:
        loaded: dict[str, Any] = json.loads(json.dumps(dict(stats), allow_nan=False))
    except (TypeError, ValueError):
        return {key: value for key, value in stats.items()
                if isinstance(value, int | str) or (isinstance(value, float)
                                                    and math.isfinite(value))}  # fmt: skip
    return loaded
