"""TOML into frozen dataclasses: unknown keys are refused with a suggestion, types are checked."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from picosam_sdk.errors import ConfigError

__all__ = ["from_mapping", "load_toml"]

T = TypeVar("T")


def load_toml(path: Path, cls: type[T]) -> T:
    """Reads a TOML file into a dataclass.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, missing or of another type.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            f"expected a configuration file at {path}, got: {error.strerror}",
            hint="Check the path.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"expected TOML in {path}, got: {error}", hint="Correct that line of the file."
        ) from error
    return from_mapping(raw, cls)


def from_mapping(raw: Mapping[str, Any], cls: type[T], where: str = "") -> T:
    """Fills a dataclass from a mapping; nested dataclasses from nested mappings."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{where}{key}"
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"{name}: unknown key" + (f"; did you mean '{where}{near[0]}'?" if near else ""),
                hint=f"The keys here are: {', '.join(sorted(fields))}.",
            )
        values[key] = _convert(value, hints[key], name)
    for key, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and key not in values:
            raise ConfigError(
                f"{where}{key}: expected a value, got none", hint="Add this key to the file."
            )
    return cls(**values)


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Checks a TOML value against a type hint; lists become tuples, strings become paths."""
    if hint is Any:
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in args if arg is not type(None))
        return _convert(value, inner, name)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(value, typing.cast("type[Any]", hint), f"{name}.")
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(item, args[0], f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(item, args[1], f"{name}.{key}") for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == isinstance(value, bool)
    ):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise ConfigError(
        f"{name}: expected {wanted}, got {type(value).__name__} {value!r}",
        hint="Correct this value in the file.",
    )
