"""The configuration as it takes effect: with every default, without any secret."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from picosam_sdk.config import Secret, is_shared
from picosam_sdk.egress import check_needs
from picosam_sdk.errors import ConfigError
from picosam_sdk.parts import Parts, Placed
from picosam_sdk.settings import AppConfig

__all__ = ["effective", "notes"]

HIDDEN = "<secret>"

_SECRET_NAME = re.compile(r"(.*_)?(password|passwd|passphrase|secret|token|api_?key)")
_USERINFO = re.compile(r"(?<=://)[^/@\s]*(?=@)")


def effective(config: AppConfig, parts: Parts) -> dict[str, Any]:
    """Every key of every table, ready for TOML or JSON.

    Secrets that are given by ``env`` or ``file`` are shown as such, and read from nowhere; texts
    that are secrets, or look like it, are hidden. So are users and passwords in URLs.

    Args:
        config: the whole configuration.
        parts: made of it.
    """
    placed: dict[str, tuple[Placed[Any, Any], ...]] = {
        "roi": parts.rois,
        "filter": parts.filters,
        "publish": parts.publishers,
    }
    shown: dict[str, Any] = {"device": _plain(config.device, "")}
    if parts.camera is not None:
        shown["camera"] = _table(parts.camera)
    defaults = {
        name: option.default
        for name, option in inspect.signature(parts.backend).parameters.items()
        if option.default not in (option.empty, None) and not callable(option.default)
    }
    options = defaults | dict(parts.backend_options)
    shown["segmenter"] = {"backend": parts.backend.name, **_plain(options, "")}
    for role, ones in placed.items():
        shown[role] = [_table(one) for one in ones]
    for name in ("policy", "metrics", "run"):
        shown[name] = _plain(getattr(config, name), "")
    return {key: value for key, value in shown.items() if value != []}


def notes(parts: Parts, file: Path | None = None) -> list[str]:
    """What is in order, but would keep a run from starting on this machine now, and secrets that
    every user of it can read.

    Args:
        file: the configuration's own, in which secrets may stand.

    Raises:
        EgressError: a publisher needs what its table does not grant.
    """
    for placed in parts.publishers:
        check_needs(placed.part, placed.table.egress, placed.key)
    found = []
    reason = parts.backend.unavailable()
    if reason:
        found.append(f"segmenter: '{parts.backend.name}' cannot run on this machine: {reason}")
    model = parts.backend_options.get("model")
    if isinstance(model, Path) and not model.exists():
        found.append(f"segmenter.model: there is no file {model}")
    ones: list[Placed[Any, Any]] = [*parts.rois, *parts.filters, *parts.publishers]
    for one in [parts.camera, *ones] if parts.camera is not None else ones:
        for key, secret in _secrets(one.part.config, one.key):
            holder = file if _tells(secret.text) else secret.file
            if holder is not None and is_shared(holder):
                found.append(f"{key}: every user of this machine can read {holder}")
            try:
                secret.reveal(key)
            except ConfigError as error:
                found.append(str(error))
    return found


def _tells(text: str) -> bool:
    """Whether a text is worth hiding: one of a URL without user and password is not."""
    return bool(text) and ("://" not in text or _USERINFO.search(text) is not None)


def _table(placed: Placed[Any, Any]) -> dict[str, Any]:
    """The common keys of a part, and its own."""
    common = {
        field.name: getattr(placed.table, field.name)
        for field in dataclasses.fields(placed.table)
        if field.name != "options"
    }
    if "name" in common:
        common["name"] = placed.name
    return {**_plain(common, ""), **_plain(placed.part.config, "")}


def _plain(value: Any, name: str) -> Any:
    """A value as TOML and JSON have it."""
    if isinstance(value, Secret):
        return _secret(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, name) for item in value]
    if isinstance(value, str):
        if value and _SECRET_NAME.fullmatch(name):
            return HIDDEN
        return _USERINFO.sub(HIDDEN, value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def _secret(secret: Secret) -> Any:
    if secret.env:
        return {"env": secret.env}
    if secret.file is not None:
        return {"file": str(secret.file)}
    return HIDDEN if secret.text else ""


def _secrets(value: Any, key: str) -> Iterator[tuple[str, Secret]]:
    """Every secret inside a configuration, by its key."""
    if isinstance(value, Secret):
        yield key, value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _secrets(getattr(value, field.name), f"{key}.{field.name}")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets(item, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _secrets(item, f"{key}[{index}]")
