"""Finds plugins, guards against broken ones, and indexes what they offer.

pluggy discovers; nothing here runs inside a frame loop. A plugin that fails to load becomes a
warning that names it and is left out. Two plugins that offer one name are an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pluggy

from picosam_sdk import hookspecs
from picosam_sdk.errors import PluginError, UnknownPluginError
from picosam_sdk.interfaces import Backend, Camera, MaskFilter, Part, Publisher, RoiSource

__all__ = ["PluginRecord", "Plugins", "ROLES"]

P = TypeVar("P", bound=Part)
C = TypeVar("C")

ROLES: dict[type[Part], str] = {
    Camera: "camera",
    RoiSource: "roi_source",
    Publisher: "publisher",
    MaskFilter: "mask_filter",
}
"""The roles that are parts of a pipeline; the hook of each is called picosam_<role>s."""

_BY_ROLE: dict[str, type] = {"backend": Backend, **{name: role for role, name in ROLES.items()}}


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
        self._offers: dict[str, set[str]] = {}
        from picosam_sdk import builtin

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
        return self._index("backend", Backend)  # type: ignore[type-abstract]

    def backend(self, name: str) -> type[Backend]:
        """The backend class of a name.

        Raises:
            UnknownPluginError: there is none; the message lists those that exist.
        """
        return _pick("backend", name, self.backends())

    def parts(self, role: type[P]) -> dict[str, type[P]]:
        """Classes of a role by the name that the user writes as ``kind``.

        Args:
            role: Camera, RoiSource, Publisher or MaskFilter.

        Raises:
            PluginError: two plugins offer the same name.
        """
        return self._index(ROLES[role], role)

    def part(self, role: type[P], name: str) -> type[P]:
        """The class of a role and a name.

        Raises:
            UnknownPluginError: there is none; the message lists those that exist.
        """
        return _pick(ROLES[role], name, self.parts(role))

    def commands(self) -> list[hookspecs.Command]:
        """The verbs that plugins bring, sorted by name.

        Raises:
            PluginError: two plugins offer the same verb.
        """
        offered = self._offered("command", _check_command)
        return [command for _, command in sorted(offered.items(), key=lambda item: item[0])]

    def offers(self) -> dict[str, list[str]]:
        """What each plugin brings, such as ``{"builtin": ["backend onnx", ...]}``."""
        for role in ("backend", "command", *ROLES.values()):
            check = _check_command if role == "command" else partial(_check_class, _BY_ROLE[role])
            self._offered(role, check)
        return {name: sorted(offers) for name, offers in sorted(self._offers.items())}

    def _index(self, role: str, base: type[C]) -> dict[str, type[C]]:
        return dict(sorted(self._offered(role, partial(_check_class, base)).items()))

    def _offered(self, role: str, check: Callable[[Any], str]) -> dict[str, Any]:
        """What the hook of a role gives, by name; a plugin that fails in it is left out of it."""
        index: dict[str, tuple[str, Any]] = {}
        hook = getattr(self._manager.hook, _hook_name(role))
        for implementation in hook.get_hookimpls():
            plugin = implementation.plugin_name
            try:
                things = list(implementation.function())
                names = [check(thing) for thing in things]
            except Exception as error:  # a plugin's own code: whatever it raises, we go on
                self._report(plugin, _hook_name(role), error)
                continue
            for name, thing in zip(names, things, strict=True):
                if name in index:
                    raise PluginError(
                        f"expected one {role} named '{name}', got two: from plugin "
                        f"'{index[name][0]}' and from plugin '{plugin}'",
                        hint="Uninstall one of the two plugins.",
                    )
                index[name] = (plugin, thing)
                self._offers.setdefault(plugin, set()).add(f"{role} {name}")
        return {name: thing for name, (_, thing) in index.items()}

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


def _hook_name(role: str) -> str:
    return f"picosam_{role}s"


def _check_class(base: type, thing: Any) -> str:
    """The name of a class that a plugin offers.

    Raises:
        TypeError: it is no such class, or has no name.
    """
    if not (isinstance(thing, type) and issubclass(thing, base)):
        raise TypeError(f"its hook returned something that is no {base.__name__} class: {thing!r}")
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"its class {thing.__name__} has no 'name'")
    return name


def _check_command(thing: Any) -> str:
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not callable(getattr(thing, "add_parser", None)):
        raise TypeError(f"its hook returned something without name and add_parser: {thing!r}")
    return name


def _pick(role: str, name: str, known: Mapping[str, type[C]]) -> type[C]:
    if name not in known:
        raise UnknownPluginError(
            f"expected a {role.replace('_', ' ')} out of {', '.join(known) or 'none'}, "
            f"got '{name}'",
            hint="Check the spelling, or install the plugin that brings it.",
        )
    return known[name]
