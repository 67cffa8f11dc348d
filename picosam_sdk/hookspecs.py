"""The hooks that a plugin may implement; discovered by pluggy, called once at start.

A plugin is a module (or an object) named in the entry-point group ``picosam_sdk``::

    [project.entry-points.picosam_sdk]
    acme = "acme_picosam"

with, in ``acme_picosam.py``::

    from picosam_sdk import Publisher, hookimpl

    class Score(Publisher):
        name = "score"

        def publish(self, result):
            print(result.mask.score if result.mask else "nothing there")

    @hookimpl
    def picosam_publishers():
        return [Score]

Every hook returns classes (that for commands: objects); the SDK makes the objects, from the
user's configuration. Importing the plugin must be cheap and silent: a class imports what is heavy
in its ``open`` (a backend in its constructor). ``picosam plugins`` lists what was found, ``picosam
plugins new`` writes a plugin to start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pluggy

from picosam_sdk.interfaces import Backend, Camera, MaskFilter, Publisher, RoiSource

__all__ = [
    "PROJECT",
    "Command",
    "hookimpl",
    "hookspec",
    "picosam_backends",
    "picosam_cameras",
    "picosam_commands",
    "picosam_mask_filters",
    "picosam_publishers",
    "picosam_roi_sources",
]

PROJECT = "picosam_sdk"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Command(Protocol):
    """A verb of the ``picosam`` command: an object or a module with these two."""

    name: str
    """The verb: ``picosam NAME``."""

    def add_parser(self, verbs: Any) -> None:
        """Adds the verb's parser to argparse's subparsers, with ``set_defaults(run=...)``.

        ``run(args)`` returns the exit code; a PicoSamError is printed in two lines.
        """


@hookspec
def picosam_backends() -> Sequence[type[Backend]]:  # type: ignore[empty-body]
    """What runs the network: classes for ``Segmenter(backend=NAME)``.

    ::

        @hookimpl
        def picosam_backends():
            return [AcmeNpuBackend]
    """


@hookspec
def picosam_cameras() -> Sequence[type[Camera]]:  # type: ignore[empty-body]
    """Where frames come from: classes for ``[camera] kind = NAME``.

    ::

        @hookimpl
        def picosam_cameras():
            return [ThermalCamera]
    """


@hookspec
def picosam_roi_sources() -> Sequence[type[RoiSource]]:  # type: ignore[empty-body]
    """What says where to look: classes for ``[[roi]] kind = NAME``.

    ::

        @hookimpl
        def picosam_roi_sources():
            return [RadarTarget]
    """


@hookspec
def picosam_publishers() -> Sequence[type[Publisher]]:  # type: ignore[empty-body]
    """Where results go: classes for ``[[publish]] kind = NAME``.

    ::

        @hookimpl
        def picosam_publishers():
            return [OpcUaPublisher]
    """


@hookspec
def picosam_mask_filters() -> Sequence[type[MaskFilter]]:  # type: ignore[empty-body]
    """What changes masks on their way: classes for ``[[filter]] kind = NAME``.

    ::

        @hookimpl
        def picosam_mask_filters():
            return [LargestPart]
    """


@hookspec
def picosam_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Verbs of the ``picosam`` command: objects with a name and ``add_parser``.

    ::

        @hookimpl
        def picosam_commands():
            from acme_picosam import command

            return [command]
    """
