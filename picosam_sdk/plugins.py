"""Finds plugins, guards against broken ones, and indexes what they offer.

pluggy discovers; nothing here runs inside a frame loop. A plugin that fails to load becomes a
warning that names it and is left out. Two plugins that offer one name are an error.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pluggy

from picosam_sdk import hookspecs
from picosam_sdk.errors import PluginError, UnknownPluginError
from picosam_sdk.interfaces import Backend

__all__ = ["PluginRecord", "Plugins"]


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin as ``picosam doctor`` shows it; ``problem`` is empty if it works."""

    name: str
    origin: str
    problem: str = ""


class Plugins:
    """The plugins of one application.

    Args:
        discover: whether to load what other packages name in the entry-point group
            ``picosam_sdk``; the built-ins are always there.
    """

    def __init__(self, *, discover: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        from picosam_sdk.backends import builtin

        self.register(builtin, "builtin", "picosam-sdk")
        if discover:
            self._discover()

    def register(self, plugin: Any, name: str, origin: str = "registered") -> None:
        """Adds a plugin object; warns and leaves it out if it does not fit the hooks."""
        try:
            self._manager.register(plugin, name)
            # A hook that no specification knows is a misspelt one.
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            if self._manager.has_plugin(name) and self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            self._report(name, origin, error)
        else:
            self.records.append(PluginRecord(name, origin))

    def backends(self) -> dict[str, type[Backend]]:
        """Backend classes by name.

        Raises:
            PluginError: two plugins offer the same name.
        """
        index: dict[str, tuple[str, type[Backend]]] = {}
        for implementation in self._manager.hook.picosam_backends.get_hookimpls():
            plugin = implementation.plugin_name
            try:
                offered: Any = implementation.function()
                classes = list(offered)
                names = [cls.name for cls in classes if issubclass(cls, Backend)]
                if len(names) != len(classes):
                    raise TypeError("picosam_backends returned something that is no Backend class")
            except Exception as error:  # a plugin's own code: whatever it raises, we go on
                self._report(plugin, "picosam_backends", error)
                continue
            for name, cls in zip(names, classes, strict=True):
                if name in index:
                    raise PluginError(
                        f"expected one backend named '{name}', got two: from plugin "
                        f"'{index[name][0]}' and from plugin '{plugin}'",
                        hint="Uninstall one of the two plugins.",
                    )
                index[name] = (plugin, cls)
        return {name: cls for name, (_, cls) in sorted(index.items())}

    def backend(self, name: str) -> type[Backend]:
        """The backend class of a name.

        Raises:
            UnknownPluginError: there is none; the message lists those that exist.
        """
        known = self.backends()
        if name not in known:
            raise UnknownPluginError(
                f"expected a backend out of {', '.join(known)}, got '{name}'",
                hint="Check the spelling, or install the plugin that brings this backend.",
            )
        return known[name]

    def _discover(self) -> None:
        from importlib.metadata import entry_points  # 13 ms that 'import picosam_sdk' need not wait

        for entry in entry_points(group=hookspecs.PROJECT):
            origin = entry.dist.name if entry.dist else "unknown package"
            try:
                plugin = entry.load()
            except Exception as error:  # a plugin's own code: whatever it raises, we go on
                self._report(entry.name, origin, error)
            else:
                self.register(plugin, entry.name, origin)

    def _report(self, name: str, origin: str, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        self.records = [record for record in self.records if record.name != name]
        self.records.append(PluginRecord(name, origin, problem))
        warnings.warn(
            f"picosam_sdk plugin '{name}' ({origin}) is left out: {problem}", stacklevel=3
        )
