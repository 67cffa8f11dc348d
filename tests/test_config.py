"""TOML into dataclasses: what is wrong is named by its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import ConfigError
from picosam_sdk.config import from_mapping, load_toml


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    on: bool = True


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    paths: tuple[Path, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    init: Path | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def test_values_are_converted() -> None:
    raw = {
        "name": "a", "inner": {"rate": 2}, "paths": ["x", "y"], "shares": {"coco": 1},
        "init": "w.pt", "notes": {"a": [1, {"b": 2}]},
    }  # fmt: skip
    assert from_mapping(raw, Outer) == Outer(
        "a", Inner(2.0), (Path("x"), Path("y")), {"coco": 1.0}, Path("w.pt"), {"a": [1, {"b": 2}]}
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"name": "a", "inner": {"raet": 1}},
            r"inner\.raet: unknown key; did you mean 'inner\.rate'",
        ),
        ({}, "name: expected a value, got none"),
        ({"name": 3}, "name: expected str, got int 3"),
        ({"name": "a", "inner": {"rate": True}}, r"inner\.rate: expected float, got bool"),
        ({"name": "a", "inner": {"on": 1}}, r"inner\.on: expected bool, got int"),
        ({"name": "a", "paths": "x"}, "paths: expected tuple.*, got str"),
        ({"name": "a", "paths": [1]}, r"paths\[0\]: expected Path, got int"),
        ({"name": "a", "inner": 5}, "inner: expected Inner, got int"),
    ],
)
def test_wrong_values_name_their_key(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(raw, Outer)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(ConfigError, match="No such file"):
        load_toml(path, Outer)
    path.write_text("name = ")
    with pytest.raises(ConfigError, match="expected TOML"):
        load_toml(path, Outer)
    path.write_text('name = "b"')
    assert load_toml(path, Outer).name == "b"
