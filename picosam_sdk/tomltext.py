"""Writes TOML: tables and arrays of tables at the top, everything below them inline."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["to_toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tables: Mapping[str, Any]) -> str:
    """The text of a file.

    Args:
        tables: each a mapping, or a list of mappings for an array of tables; other values come
            first. In them str, bool, int, float, dates, and lists and mappings of these. None
            is left out, since TOML has no word for it.

    Raises:
        TypeError: a value is of another type.
    """
    plain = {key: value for key, value in tables.items() if not _is_table(value)}
    blocks = [_lines(plain)] if plain else []
    for key, value in tables.items():
        if not _is_table(value):
            continue
        one = isinstance(value, Mapping)
        head = f"[{_key(key)}]" if one else f"[[{_key(key)}]]"
        for table in [value] if one else value:
            blocks.append("\n".join(filter(None, (head, _lines(table)))))
    return "\n\n".join(blocks) + "\n"


def _is_table(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _lines(table: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None
    )


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, too; that of DEL is TOML's alone.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        items = (f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        inside = ", ".join(items)
        return f"{{ {inside} }}" if inside else "{}"
    raise TypeError(f"expected a value that TOML has, got {type(value).__name__} {value!r}")
