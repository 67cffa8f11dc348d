"""The hooks that a plugin may implement; discovered by pluggy, called once at start.

A plugin is a module (or an object) named in the entry-point group ``picosam_sdk``::

    [project.entry-points.picosam_sdk]
    acme = "acme_picosam"

with, in ``acme_picosam.py``::

    from picosam_sdk import hookimpl

    @hookimpl
    def picosam_backends():
        return [AcmeBackend]
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from picosam_sdk.interfaces import Backend

__all__ = ["PROJECT", "hookimpl", "hookspec", "picosam_backends"]

PROJECT = "picosam_sdk"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def picosam_backends() -> Sequence[type[Backend]]:  # type: ignore[empty-body]
    """Backend classes of this plugin.

    Importing the plugin must be cheap: a class imports what it needs in its constructor.
    """
