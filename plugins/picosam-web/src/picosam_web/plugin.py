"""What this package offers to picosam_sdk."""

from __future__ import annotations

from collections.abc import Sequence

from picosam_sdk.hookspecs import Command, hookimpl
from picosam_sdk.interfaces import Publisher
from picosam_web.publisher import WebPublisher

__all__ = ["picosam_commands", "picosam_publishers"]


@hookimpl
def picosam_publishers() -> Sequence[type[Publisher]]:
    return [WebPublisher]


@hookimpl
def picosam_commands() -> Sequence[Command]:
    from picosam_web import command

    return [command]
