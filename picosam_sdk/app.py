"""From a configuration to an application: reads the file, makes the parts.

::

    from picosam_sdk import app

    with app.build(app.load("picosam.toml")) as application:
        application.run()
"""

from __future__ import annotations

import builtins
import dataclasses
import difflib
import inspect
import secrets
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from picosam_sdk.application import Application
from picosam_sdk.config import Secret, from_mapping, load_toml
from picosam_sdk.egress import for_recipient, shared_context
from picosam_sdk.errors import ConfigError, PicoSamError, PluginError, UnknownPluginError
from picosam_sdk.interfaces import (
    Backend,
    Camera,
    Context,
    MaskFilter,
    Part,
    Publisher,
    RoiSource,
    SensorBackend,
)
from picosam_sdk.parts import Parts, Placed
from picosam_sdk.plugins import Plugins
from picosam_sdk.settings import AppConfig, CameraTable, EgressRule

__all__ = ["Application", "FileConfig", "Parts", "Placed", "build", "load", "make_parts"]

P = TypeVar("P", bound=Part)

_TOML = (str, bool, int, float, list, dict)


@dataclasses.dataclass(frozen=True, slots=True)
class FileConfig(AppConfig):
    """A configuration that was read from a file.

    Args:
        folder: of the file; relative paths in it start there.
    """

    folder: Path = Path()


def load(path: str | Path) -> FileConfig:
    """Reads a picosam.toml. Relative paths in it start at the folder that it lies in.

    Raises:
        ConfigError: it cannot be read, or a key is unknown, missing or of another type. The keys
            of the parts themselves are checked by :func:`make_parts`.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(
            f"expected a configuration file at {path}, which is not there",
            hint=f"Check the path, or write one with: picosam config init {path}",
        )
    config = load_toml(path, AppConfig)
    folder = path.absolute().parent
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return _rooted(FileConfig(**values, folder=folder), folder)


def make_parts(config: AppConfig, plugins: Plugins | None = None) -> Parts:
    """Makes all parts that a configuration names, and opens none of them.

    Args:
        config: of :func:`load`, or made in Python.
        plugins: where the kinds are looked up; None finds the installed ones.

    Raises:
        ConfigError: a key of a part is unknown, missing or of another type, or the tables do not
            go together.
        UnknownPluginError: a kind is not known.
        PluginError: a part cannot be made.
    """
    plugins = plugins or Plugins()
    folder = config.folder if isinstance(config, FileConfig) else Path()
    context = shared_context(config.device.name, secrets.token_hex(8))
    backend = _backend_class(plugins, config.segmenter.backend)
    _check_camera(config, backend)
    if not config.roi:
        raise ConfigError(
            "roi: expected at least one [[roi]] table, got none",
            hint='Say where to look, such as: [[roi]] kind = "fixed"',
        )

    def placed(role: type[P], tables: Sequence[Any], key: str) -> tuple[Any, ...]:
        names = _names([getattr(table, "name", "") for table in tables],
                       [table.kind for table in tables], key)  # fmt: skip
        return tuple(
            Placed(_make(plugins, role, table, f"{key}[{index}]",
                         _own_context(context, role, table), folder), table,
                   f"{key}[{index}]", names[index])
            for index, table in enumerate(tables)
        )  # fmt: skip

    camera: Placed[Camera, CameraTable] | None = None
    if config.camera is not None:
        part = _make(plugins, Camera, config.camera, "camera",  # type: ignore[type-abstract]
                     for_recipient(context), folder)  # fmt: skip
        camera = Placed(part, config.camera, "camera", config.camera.kind)
    _check_waiting(config, live=camera is None or camera.part.live)
    return Parts(
        context=context,
        backend=backend,
        backend_options=_backend_options(backend, config, folder),
        camera=camera,
        rois=placed(RoiSource, config.roi, "roi"),  # type: ignore[type-abstract]
        filters=placed(MaskFilter, config.filter, "filter"),  # type: ignore[type-abstract]
        publishers=placed(Publisher, config.publish, "publish"),  # type: ignore[type-abstract]
    )


def build(config: AppConfig, plugins: Plugins | None = None) -> Application:
    """Makes an application of a configuration; nothing is opened before its ``with`` block.

    Args:
        config: of :func:`load`, or made in Python.
        plugins: where the kinds are looked up; None finds the installed ones.

    Raises:
        EgressError: a publisher needs what its table does not grant.
        ConfigError, UnknownPluginError, PluginError: see :func:`make_parts`.
    """
    plugins = plugins or Plugins()
    return Application(config, make_parts(config, plugins), plugins)


def _own_context(context: Context, role: type[Part], table: Any) -> Context:
    """What a part sees of the shared context, and what its table grants it."""
    own = context if role is RoiSource else for_recipient(context)
    # A copy: what a part does to it must not reach the rule that its gate holds to.
    rule = dataclasses.replace(getattr(table, "egress", EgressRule()))
    return dataclasses.replace(own, egress=rule)


def _make(
    plugins: Plugins, role: type[P], table: Any, key: str, context: Context, folder: Path
) -> P:
    """One part from its table."""
    try:
        cls = plugins.part(role, table.kind)
    except UnknownPluginError as error:
        raise _named(error, f"{key}.kind", table.kind, plugins.parts(role)) from error
    if not dataclasses.is_dataclass(cls.Config):
        raise PluginError(
            f"{key}: expected a dataclass as {cls.__name__}.Config, got {cls.Config!r}",
            hint=f"Tell the author of the plugin that brings '{table.kind}'.",
        )
    settings = _rooted(from_mapping(table.options, cls.Config, f"{key}."), folder)
    try:
        return cls(settings, context)
    except ConfigError as error:  # it knows only its own keys
        raise ConfigError(f"{key}.{error}", hint=error.hint) from error
    except PicoSamError:
        raise
    except Exception as error:  # a plugin's own code
        raise PluginError(
            f"{key}: expected to make '{table.kind}', got {type(error).__name__}: {error}",
            hint=f"Tell the author of the plugin that brings '{table.kind}'.",
        ) from error


def _backend_class(plugins: Plugins, name: str) -> type[Backend]:
    try:
        return plugins.backend(name)
    except UnknownPluginError as error:
        raise _named(error, "segmenter.backend", name, plugins.backends()) from error


def _check_camera(config: AppConfig, backend: type[Backend]) -> None:
    is_sensor = issubclass(backend, SensorBackend)
    if is_sensor and config.camera is not None:
        raise ConfigError(
            f"camera: expected no [camera] beside the sensor '{backend.name}', which is one "
            f"itself, got kind '{config.camera.kind}'",
            hint="Remove [camera], or choose another backend in [segmenter].",
        )
    if not is_sensor and config.camera is None:
        raise ConfigError(
            f"camera: expected a [camera] for the backend '{backend.name}', got none",
            hint='Add one, such as: [camera] kind = "webcam"',
        )


def _check_waiting(config: AppConfig, live: bool) -> None:
    for index, table in enumerate(config.publish):
        if table.wait and live:
            raise ConfigError(
                f"publish[{index}].wait: expected false with a live camera or a sensor, whose "
                "frames are lost meanwhile, got true",
                hint="Leave it out; a longer queue bridges what is slow now and then.",
            )


def _backend_options(backend: type[Backend], config: AppConfig, folder: Path) -> dict[str, Any]:
    """Checks options against the constructor of a backend, as a table against a dataclass.

    What cannot stand in a file, such as a function given from Python, is passed on as it is.
    A sensor that can be told to send no pictures is, unless somebody is granted some.
    """
    hints, options = _hints(backend), config.segmenter.options
    if issubclass(backend, SensorBackend) and "frames" in hints and "frames" not in options:
        rules = [table.egress for table in config.publish] + [table.egress for table in config.roi]
        granted = {grant for rule in rules for grant in rule.grants}
        options = {**options, "frames": bool(granted - {"gaze"})}
    written = {key: value for key, value in options.items() if isinstance(value, _TOML)}
    given = {key: value for key, value in options.items() if key not in written}
    fields = [
        (name, hints[name], dataclasses.field(default=option.default)
         if option.default is not option.empty else dataclasses.field())
        for name, option in inspect.signature(backend).parameters.items()
        if option.kind in (option.POSITIONAL_OR_KEYWORD, option.KEYWORD_ONLY) and name not in given
    ]  # fmt: skip
    wanted = dataclasses.make_dataclass(f"{backend.__name__}Options", fields, kw_only=True)
    checked: Any = from_mapping(written, wanted, "segmenter.")
    return given | {key: _option(getattr(checked, key), hints[key], folder) for key in written}


def _option(value: Any, hint: Any, folder: Path) -> Any:
    """An option that may be a path is one that starts at the file's folder."""
    if isinstance(value, str) and Path in typing.get_args(hint):
        value = Path(value)
    return _rooted(value, folder)


class _Names(dict[str, Any]):
    """Names for evaluating annotations; those that only a type checker imports are Any."""

    def __missing__(self, key: str) -> Any:
        return Any


def _hints(backend: type[Backend]) -> dict[str, Any]:
    """Type hints of a constructor's parameters; Any where they have none."""
    function: Any = backend.__init__
    names = _Names({**vars(builtins), **getattr(function, "__globals__", {})})
    try:
        hints = typing.get_type_hints(function, globalns={}, localns=names)
    except NameError:
        hints = {}
    return {name: hints.get(name, Any) for name in inspect.signature(backend).parameters}


def _rooted(value: Any, folder: Path) -> Any:
    """The value with every relative path in it starting at the folder; "-" is no path."""
    if isinstance(value, Path):
        return value if value == Path("-") else folder / value.expanduser()
    if isinstance(value, Secret):
        return value if value.file is None else dataclasses.replace(
            value, file=_rooted(value.file, folder)
        )  # fmt: skip
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)
               if field.init}  # fmt: skip
        new = {name: _rooted(item, folder) for name, item in old.items()}
        changed = {name: item for name, item in new.items() if item is not old[name]}
        return dataclasses.replace(value, **changed) if changed else value
    if type(value) is tuple:
        items = tuple(_rooted(item, folder) for item in value)
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def _named(
    error: UnknownPluginError, key: str, got: str, known: Mapping[str, Any]
) -> UnknownPluginError:
    near = difflib.get_close_matches(got, known, n=1)
    return UnknownPluginError(
        f"{key}: {error}" + (f"; did you mean '{near[0]}'?" if near else ""), hint=error.hint
    )


def _names(given: Sequence[str], kinds: Sequence[str], key: str) -> list[str]:
    """A name for each part of a role: its own, or its kind, with a number if that is taken."""
    names: list[str] = []
    for index, (own, kind) in enumerate(zip(given, kinds, strict=True)):
        if own and own in given[:index]:
            raise ConfigError(
                f"{key}[{index}].name: expected a name of its own, got '{own}' again",
                hint="Give each one another name.",
            )
        name, number = own or kind, 1
        while name in names or (not own and name in given):
            number += 1
            name = f"{kind}-{number}"
        names.append(name)
    return names
