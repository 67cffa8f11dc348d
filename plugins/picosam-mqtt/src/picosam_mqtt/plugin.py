"""What this package offers to picosam_sdk."""

from __future__ import annotations

from collections.abc import Sequence

from picosam_mqtt.publisher import MqttPublisher
from picosam_mqtt.roi import MqttRoi
from picosam_sdk.hookspecs import Command, hookimpl
from picosam_sdk.interfaces import Publisher, RoiSource

__all__ = ["picosam_commands", "picosam_publishers", "picosam_roi_sources"]


@hookimpl
def picosam_publishers() -> Sequence[type[Publisher]]:
    return [MqttPublisher]


@hookimpl
def picosam_roi_sources() -> Sequence[type[RoiSource]]:
    return [MqttRoi]


@hookimpl
def picosam_commands() -> Sequence[Command]:
    from picosam_mqtt import command

    return [command]
