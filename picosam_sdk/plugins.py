"""Finds plugins, guards against broken ones, and indexes what they offer.

pluggy discovers; nothing here runs inside a frame loop. A plugin that fails to load becomes a
warning that names it and is left out. Two plugins that offer one name are an error.

What cannot be guarded: a plugin is Python in our process. One that crashes the interpreter, calls
``os._exit`` or never returns from its import takes the process with it.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import pluggy

from picosam_sdk import hookspecs
from picosam_sdk.errors import PicoSamError, PluginError, UnknownPluginError
from picosam_sdk.interfaces import Backend, Camera, MaskFilter, Part, Publisher, RoiSource

__all__ = ["EVERY_ROLE", "Offer", "PluginRecord", "PluginWarning", "Plugins", "ROLES", "State"]

P = TypeVar("P", bound=Part)
C = TypeVar("C")

ROLES: dict[type[Part], str] = {
    Camera: "camera",
    RoiSource: "roi_source",
    Publisher: "publisher",
    MaskFilter: "mask_filter",
}
"""The roles that are parts of a pipeline; the hook of each is called picosam_<role>s."""

_CLASSES: dict[str, type] = {"backend": Backend, **{name: role for role, name in ROLES.items()}}

EVERY_ROLE = (*_CLASSES, "command")
"""All that a plugin may bring; each has a hook of that name."""

_HOOKS = frozenset(f"picosam_{role}s" for role in EVERY_ROLE)

_SDK = "picosam-sdk"
_PACKAGES = {"gaze": "picosam-gaze", "mqtt": "picosam-mqtt", "web": "picosam-web"}
"""What brings the names that the SDK's own plugin packages offer."""

State = Literal["loaded", "broken", "left out"]
"""``loaded``: all of it works. ``broken``: its code raised an error when it was imported or in one
of its hooks; what that hook would have brought is missing. ``left out``: it was not taken, since
its name is taken or it does not fit the hooks."""


class PluginWarning(UserWarning):
    """A plugin, or a part of what it offers, is left out; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin as ``picosam plugins`` and ``picosam doctor`` show it.

    Args:
        name: of its entry point.
        origin: name of the package that it comes from.
        problem: why it is not, or not wholly, in use; "" if it is.
        version: of the package, "" if unknown.
        state: see :data:`State`.
    """

    name: str
    origin: str
    problem: str = ""
    version: str = ""
    state: State = "loaded"


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that a plugin brings: a class, or an object with a verb."""

    plugin: str
    role: str
    name: str
    thing: Any


class Plugins:
    """The plugins of one application.

    Args:
        discover: whether to load what other packages name in the entry-point group
            ``picosam_sdk``; the built-ins are always there.

    Attributes:
        records: the plugins in the order in which they came. A problem in a hook shows when the
            hook has been asked; :meth:`offers` asks all.
    """

    def __init__(self, *, discover: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        self._asked: dict[tuple[str, str], list[Offer]] = {}
        from picosam_sdk import builtin

        self.register(builtin, "builtin", _SDK, _version_of_sdk())
        if discover:
            self._discover()

    def register(
        self, plugin: Any, name: str, origin: str = "registered", version: str = ""
    ) -> None:
        """Adds a plugin object; warns and leaves it out if it does not fit the hooks."""
        record = PluginRecord(name, origin, version=version)
        try:
            problem = self._refusal(plugin, name) or self._add(plugin, name)
            state: State = "left out"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # looking into a plugin can run its code
            problem, state = _describe(error), "broken"
        if not problem:
            self.records.append(record)
            return
        if self._manager.get_plugin(name) is plugin and plugin is not None:
            self._manager.unregister(plugin)
        self._report(replace(record, problem=problem, state=state))

    def backends(self) -> dict[str, type[Backend]]:
        """Backend classes by name.

        Raises:
            PluginError: two plugins offer the same name.
        """
        return self._index("backend")

    def backend(self, name: str) -> type[Backend]:
        """The backend class of a name.

        Raises:
            UnknownPluginError: there is none; the message lists those that exist.
            PluginError: two plugins offer the same name.
        """
        return self._pick("backend", name, self.backends())

    def parts(self, role: type[P]) -> dict[str, type[P]]:
        """Classes of a role by the name that the user writes as ``kind``.

        Args:
            role: Camera, RoiSource, Publisher or MaskFilter.

        Raises:
            PluginError: two plugins offer the same name.
        """
        return self._index(ROLES[role])

    def part(self, role: type[P], name: str) -> type[P]:
        """The class of a role and a name.

        Raises:
            UnknownPluginError: there is none; the message lists those that exist.
            PluginError: two plugins offer the same name.
        """
        return self._pick(ROLES[role], name, self.parts(role))

    def commands(self) -> list[hookspecs.Command]:
        """The verbs that plugins bring, sorted by name.

        Raises:
            PluginError: two plugins offer the same verb.
        """
        return list(self._index("command").values())

    def offered(self, role: str) -> list[Offer]:
        """What all plugins offer in a role, two of one name included; each hook is asked once.

        A plugin whose hook fails becomes a warning, and brings nothing there.

        Args:
            role: one of :data:`EVERY_ROLE`.
        """
        offers = []
        for implementation in getattr(self._manager.hook, f"picosam_{role}s").get_hookimpls():
            key = role, implementation.plugin_name
            if key not in self._asked:
                self._asked[key] = []
                self._asked[key] = self._ask(*key, implementation.function)
            offers += self._asked[key]
        return offers

    def offers(self) -> dict[str, list[str]]:
        """What each plugin brings, such as ``{"builtin": ["backend onnx", ...]}``."""
        found: dict[str, list[str]] = {}
        for role in EVERY_ROLE:
            for offer in self.offered(role):
                found.setdefault(offer.plugin, []).append(f"{role} {offer.name}")
        return {name: sorted(offers) for name, offers in sorted(found.items())}

    def conflicts(self) -> list[PluginError]:
        """An error for each name that two plugins offer in one role."""
        return [error for role in EVERY_ROLE for error in self._conflicts(role)]

    def _index(self, role: str) -> dict[str, Any]:
        for error in self._conflicts(role):
            raise error
        return {
            offer.name: offer.thing
            for offer in sorted(self.offered(role), key=lambda offer: offer.name)
        }

    def _conflicts(self, role: str) -> list[PluginError]:
        first: dict[str, Offer] = {}
        errors = []
        for offer in self.offered(role):
            other = first.setdefault(offer.name, offer)
            if other is offer:
                continue
            origins = {self._record(one.plugin).origin for one in (other, offer)} - {_SDK}
            errors.append(
                PluginError(
                    f"expected one {_words(role)} named '{offer.name}', got two: from plugin "
                    f"'{other.plugin}' and from plugin '{offer.plugin}'",
                    hint=f"Uninstall one of the two: pip uninstall {' or '.join(sorted(origins))}",
                )
            )
        return errors

    def _pick(self, role: str, name: str, known: Mapping[str, type[C]]) -> type[C]:
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1)
        hint = "Check the spelling, or install the plugin that brings it."
        if near:
            hint = f"Did you mean '{near[0]}'?"
        elif name in _PACKAGES:
            hint = f"Install the plugin that brings it: pip install {_PACKAGES[name]}"
        failed = [record.name for record in self.records if record.problem]
        if failed:
            hint += f" Not all plugins work: {', '.join(failed)}; 'picosam plugins' says why."
        raise UnknownPluginError(
            f"expected a {_words(role)} out of {', '.join(known) or 'none'}, got '{name}'",
            hint=hint,
        )

    def _refusal(self, plugin: Any, name: str) -> str:
        """Why a plugin is not even added, or ""."""
        if plugin is None:
            return "its entry point names something that is None"
        for record in self.records:
            if record.name == name:
                return f"the package {record.origin} has a plugin named '{name}', too"
        other = self._manager.get_name(plugin)
        return f"it is the same as the plugin '{other}'" if other else ""

    def _add(self, plugin: Any, name: str) -> str:
        """Registers a plugin; returns what does not fit the hooks, or ""."""
        try:
            self._manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            return " ".join(str(error).split())
        callers = self._manager.get_hookcallers(plugin) or []
        for caller in callers:
            optional = [impl.optionalhook for impl in caller.get_hookimpls()
                        if impl.plugin is plugin]  # fmt: skip
            if not caller.has_spec() and not all(optional):
                near = difflib.get_close_matches(caller.name, _HOOKS, n=1)
                return f"there is no hook '{caller.name}'" + (
                    f"; did you mean '{near[0]}'?" if near else ""
                )
        for hook in _HOOKS - {caller.name for caller in callers}:
            function = getattr(plugin, hook, None)
            imported = function is getattr(hookspecs, hook)  # the specification itself
            if inspect.isroutine(function) and not imported:
                return f"its function {hook} is not marked with @hookimpl"
        return ""

    def _ask(self, role: str, plugin: str, hook: Any) -> list[Offer]:
        try:
            things = hook()
            if isinstance(things, (str, type)) or not hasattr(things, "__iter__"):
                raise TypeError(f"it returned {things!r}, not a list")
            offers = [Offer(plugin, role, _name_of(role, thing), thing) for thing in things]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin's own code: whatever it raises, we go on
            problem = f"picosam_{role}s: {_describe(error)}"
            record = self._record(plugin)
            before = f"{record.problem}; " if record.problem else ""
            self._report(replace(record, problem=before + problem, state="broken"), of=record)
            return []
        return offers

    def _record(self, name: str) -> PluginRecord:
        """Of a plugin that is registered: the first of its name, the others were refused."""
        return next(record for record in self.records if record.name == name)

    def _discover(self) -> None:
        from importlib.metadata import entry_points  # 13 ms that 'import picosam_sdk' need not wait

        try:
            entries = entry_points(group=hookspecs.PROJECT)
        except Exception as error:  # one package with a damaged entry_points.txt is enough
            warnings.warn(
                f"the installed packages' entry points cannot be read, so no plugin is loaded: "
                f"{_describe(error)}",
                PluginWarning,
                stacklevel=3,
            )
            return
        for entry in entries:
            origin, version = "unknown package", ""
            try:
                if entry.dist is not None:
                    origin, version = entry.dist.name or origin, entry.dist.version or version
                plugin = entry.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin's own code: whatever it raises, we go on
                self._report(PluginRecord(entry.name, origin, _describe(error), version, "broken"))
            else:
                self.register(plugin, entry.name, origin, version)

    def _report(self, record: PluginRecord, of: PluginRecord | None = None) -> None:
        if of is None:
            self.records.append(record)
        else:
            self.records[self.records.index(of)] = record
        what = "is left out" if of is None else "works in part at best"
        warnings.warn(
            f"picosam_sdk plugin '{record.name}' ({record.origin}) {what}: {record.problem}",
            PluginWarning,
            stacklevel=3,
        )


def _words(role: str) -> str:
    return role.replace("roi", "ROI").replace("_", " ")


def _name_of(role: str, thing: Any) -> str:
    """The name of something that a plugin offers.

    Raises:
        TypeError: it is nothing for this role, or has no name.
    """
    if role == "command":
        if not callable(getattr(thing, "add_parser", None)):
            raise TypeError(f"it returned something without add_parser: {thing!r}")
        label = repr(thing)
    else:
        base = _CLASSES[role]
        if not (isinstance(thing, type) and issubclass(thing, base)):
            raise TypeError(f"it returned something that is no {base.__name__} class: {thing!r}")
        if inspect.isabstract(thing):
            missing = ", ".join(sorted(getattr(thing, "__abstractmethods__", ())))
            raise TypeError(f"its class {thing.__name__} lacks {missing}")
        label = f"its class {thing.__name__}"
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"{label} has no 'name'")
    return name


def _describe(error: BaseException) -> str:
    """An error of somebody else's code in one line, with its hint if it is one of ours."""
    try:
        text = " ".join(str(error).split())
        if isinstance(error, PicoSamError) and error.hint:
            text += f" ({error.hint})"
    except Exception:
        text = "its message cannot be shown"
    if isinstance(error, SystemExit):
        text = f"{text} (it tried to end the process)".strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _version_of_sdk() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_SDK)
    except PackageNotFoundError:
        return ""
