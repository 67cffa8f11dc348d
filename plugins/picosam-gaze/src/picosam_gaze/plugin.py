"""What this package offers to picosam_sdk."""

from __future__ import annotations

from collections.abc import Sequence

from picosam_sdk.hookspecs import Command, hookimpl
from picosam_sdk.interfaces import RoiSource

__all__ = ["picosam_commands", "picosam_roi_sources"]


@hookimpl
def picosam_roi_sources() -> Sequence[type[RoiSource]]:
    from picosam_gaze.roi import GazeRoi

    return [GazeRoi]


@hookimpl
def picosam_commands() -> Sequence[Command]:
    from picosam_gaze import command

    return [command]
