"""The settings of an application's gaze source, for looking at recordings offline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from picosam_gaze.calibration import load_calibration
from picosam_gaze.filters import FilterConfig, View
from picosam_gaze.mapping import IdentityMapping, Mapping
from picosam_gaze.prompting import PromptConfig
from picosam_gaze.roi import FOV_DEG, GazeRoiConfig
from picosam_gaze.timeline import Recorded
from picosam_sdk import app
from picosam_sdk.config import from_mapping
from picosam_sdk.errors import ConfigError

__all__ = ["Offline", "offline_settings"]


@dataclass(frozen=True)
class Offline:
    """How a recording is looked at."""

    view: View
    mapping: Mapping
    filter: FilterConfig = field(default_factory=FilterConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)


def offline_settings(
    path: Path | None,
    recorded: Recorded,
    *,
    kind: str | None = None,
    dwell_ms: float | None = None,
    fov_deg: float | None = None,
) -> Offline:
    """Those of a picosam.toml, or the defaults; then what is given here.

    Args:
        path: of the picosam.toml; None for none.
        recorded: what they are for; gaze that was mapped already is not mapped again.
        kind, dwell_ms, fov_deg: in place of the file's, if not None.

    Raises:
        ConfigError: the file cannot be read, or has no gaze source; or a value is out of range.
    """
    config = None if path is None else _gaze_config(path)
    mapping: Mapping = IdentityMapping()
    size_px = recorded.view_px
    fov_deg = fov_deg or (config.fov_deg if config is not None else None)
    if config is not None and config.calibration is not None:
        calibration = load_calibration(config.calibration)
        size_px = size_px or calibration.scene_px
        if not recorded.mapped:
            mapping = calibration.mapping
        if fov_deg is None and calibration.lens is not None:
            fov_deg = calibration.lens.fov_deg
    aspect = 4 / 3 if size_px is None else size_px[0] / size_px[1]
    filter_config = FilterConfig() if config is None else config.filter
    prompt_config = PromptConfig() if config is None else config.prompt
    if kind is not None:
        filter_config = replace(filter_config, kind="idt" if kind == "idt" else "ivt")
    if dwell_ms is not None:
        prompt_config = replace(prompt_config, dwell_ms=dwell_ms)
    return Offline(View(fov_deg or FOV_DEG, aspect), mapping, filter_config, prompt_config)


def _gaze_config(path: Path) -> GazeRoiConfig:
    config = app.load(path)
    for index, table in enumerate(config.roi):
        if table.kind == "gaze":
            found = from_mapping(table.options, GazeRoiConfig, f"roi[{index}].")
            calibration = found.calibration
            if calibration is None:
                return found
            return replace(found, calibration=config.folder / calibration.expanduser())
    raise ConfigError(
        f"expected a [[roi]] with kind = 'gaze' in {path}, got none",
        hint="Give another file, or leave --config out.",
    )
