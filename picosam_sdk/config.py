"""TOML into frozen dataclasses: unknown keys are refused with a suggestion, types are checked.

A field may be a str, bool, int, float, Path, :class:`Secret`, a Literal of strings, a dataclass,
``tuple[T, ...]``, ``tuple[T, T]``, ``dict[str, T]``, Any, or one of these or None. One field of a
dataclass may be marked with :func:`rest`: it takes the keys that no other field knows.

A dataclass that checks its values does so in ``__post_init__`` with :func:`check`; the key of the
table that it stands in is put before the message.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import os
import stat
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from picosam_sdk.errors import ConfigError
from picosam_sdk.limits import read_limited

__all__ = ["Secret", "check", "from_mapping", "is_shared", "load_toml", "rest", "warn_if_shared"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""The longest configuration that is read."""

_REST = "picosam_rest"


@dataclasses.dataclass(frozen=True, slots=True)
class Secret:
    """A password or key: never shown, read where it is used.

    In TOML ``{ env = "NAME" }``, ``{ file = "path" }``, or the text itself.

    Args:
        env: name of an environment variable that holds it.
        file: file that holds it; one newline at the end is removed.
        text: itself.
    """

    env: str = ""
    file: Path | None = None
    text: str = dataclasses.field(default="", repr=False)

    def reveal(self, key: str = "secret") -> str:
        """The secret itself.

        Args:
            key: what to call it in an error.

        Raises:
            ConfigError: the variable is not set, or the file cannot be read.
        """
        if self.env:
            if self.env not in os.environ:
                raise ConfigError(
                    f"{key}: expected the environment variable {self.env}, which is not set",
                    hint=f"Set it: export {self.env}=...",
                )
            return os.environ[self.env]
        if self.file is not None:
            warn_if_shared(self.file, key)
            try:
                return self.file.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"{key}: expected a secret in the file {self.file}, got: {error}",
                    hint="Check the path and who may read it.",
                ) from error
        return self.text

    def __str__(self) -> str:
        return "<secret>"


def is_shared(path: Path) -> bool:
    """Whether a file can be read or written by every user of this machine."""
    try:
        return bool(path.stat().st_mode & stat.S_IRWXO)
    except OSError:
        return False


@functools.lru_cache(maxsize=1024)
def warn_if_shared(path: Path, key: str) -> None:
    """Says in the log, once, that a file with a secret is open to every user of this machine.

    It is no error: a container's secrets are often like that, and nobody else is in there.

    Args:
        key: what the secret is for.
    """
    if is_shared(path):
        _LOG.warning("%s: every user of this machine can use %s; try: chmod o= %s", key, path, path)


def rest() -> Any:
    """Marks the field ``dict[str, Any]`` that takes the keys which no other field knows."""
    return dataclasses.field(default_factory=dict, metadata={_REST: True})


def check(ok: bool, key: str, expected: str, actual: Any, hint: str = "") -> None:
    """Refuses a value of a configuration.

    Raises:
        ConfigError: ``ok`` is false.
    """
    if not ok:
        raise ConfigError(
            f"{key}: expected {expected}, got {actual!r}",
            hint=hint or "Correct this value in the file.",
        )


def load_toml(path: Path, cls: type[T]) -> T:
    """Reads a TOML file into a dataclass.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, missing or of another type.
    """
    try:
        raw = tomllib.loads(read_limited(path, MAX_BYTES).decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"expected a configuration file at {path}, got: {error.strerror}",
            hint="Check the path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"expected TOML in {path}, got: {error}", hint="Correct that line of the file."
        ) from error
    return from_mapping(raw, cls)


def from_mapping(raw: Mapping[str, Any], cls: type[T], where: str = "") -> T:
    """Fills a dataclass from a mapping; nested dataclasses from nested mappings."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    others = next((name for name, field in fields.items() if _REST in field.metadata), None)
    if others is not None:
        known = {key: value for key, value in raw.items() if key in fields and key != others}
        values[others] = {key: value for key, value in raw.items() if key not in known}
        raw = known
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
    try:
        return cls(**values)
    except ConfigError as error:  # of its __post_init__, which knows only its own keys
        raise ConfigError(f"{where}{error}", hint=error.hint) from error


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Checks a TOML value against a type hint; lists become tuples, strings become paths."""
    if hint is Any:
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        check(value in args, name, f"one of {', '.join(map(repr, args))}", value)
        return value
    if hint is Secret:
        return _secret(value, name)
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in args if arg is not type(None))
        return _convert(value, inner, name)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(value, typing.cast("type[Any]", hint), f"{name}.")
    if origin is tuple and isinstance(value, list):
        if args[-1] is not Ellipsis:
            check(len(value) == len(args), name, f"{len(args)} values", value)
        return tuple(_convert(item, args[0], f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(item, args[1], f"{name}.{key}") for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        check(abs(value) < 1 << 1000, name, "a number", "one with too many digits")
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


def _secret(value: Any, name: str) -> Secret:
    if isinstance(value, str):
        return Secret(text=value)
    check(
        isinstance(value, Mapping) and set(value) in ({"env"}, {"file"}),
        name, "a text, { env = 'NAME' } or { file = 'PATH' }", type(value).__name__,
    )  # fmt: skip
    text = _convert(next(iter(value.values())), str, name)
    return Secret(env=text) if "env" in value else Secret(file=Path(text))
