"""Fills the templates and writes the package: all of it, or nothing."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template

from picosam_sdk.errors import InputError
from picosam_sdk.scaffold.names import Names
from picosam_sdk.scaffold.roles import ROLES, Role

__all__ = ["render", "write_package"]

_TEMPLATES = Path(__file__).parent / "templates"


def write_package(names: Names, roles: Iterable[str], folder: Path) -> list[Path]:
    """Writes a package into a new folder of its name.

    Args:
        names: see :func:`picosam_sdk.scaffold.names_of`.
        roles: one or more of :data:`picosam_sdk.scaffold.ROLES`.
        folder: where the package's own folder is made; made itself if it is not there.

    Returns:
        The files, relative to ``folder``.

    Raises:
        InputError: there is something of that name already, or it cannot be written.
    """
    target = folder / names.project
    if os.path.lexists(target):
        raise InputError(
            f"expected no {target} yet, got one that is there",
            hint="Take another name, name another folder with -o, or remove it first.",
        )
    files = render(names, roles)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Under another name until it is complete, so that no half of it is ever there.
        with tempfile.TemporaryDirectory(prefix=f".{names.project}-", dir=folder) as scratch:
            package = Path(scratch) / names.project
            for path, text in files.items():
                (package / path).parent.mkdir(parents=True, exist_ok=True)
                (package / path).write_text(text, encoding="utf-8")
            package.rename(target)
    except OSError as error:
        raise InputError(
            f"expected to write a package to {target}, got: {error.strerror or error}",
            hint="Name a folder that you may write to with -o DIR.",
        ) from error
    return [Path(names.project) / path for path in files]


def render(names: Names, roles: Iterable[str]) -> dict[Path, str]:
    """The files of a package: path inside it, and text."""
    asked = set(roles)
    chosen = [role for role in ROLES.values() if role.name in asked]
    module = Path("src") / names.module
    values = _values(names, chosen)
    files = {
        Path("pyproject.toml"): "pyproject.toml",
        Path("README.md"): "README.md",
        Path(".gitignore"): "gitignore",
        module / "__init__.py": "init.py",
        module / "py.typed": "py.typed",
        module / "plugin.py": "plugin.py",
        Path("tests/conftest.py"): "conftest.py",
        Path("tests/test_plugin.py"): "test_plugin.py",
    }
    for role in chosen:
        files[module / f"{role.name}.py"] = f"{role.name}.py"
        files[Path(f"tests/test_{role.name}.py")] = f"test_{role.name}.py"
    rendered = {path: _fill(name, values) for path, name in files.items()}
    if any(role.table for role in chosen):
        rendered[Path("example.toml")] = _example(names, chosen)
        rendered[Path("tests/test_example.py")] = _fill("test_example.py", values)
    return dict(sorted(rendered.items()))


def _fill(name: str, values: Mapping[str, str]) -> str:
    text = (_TEMPLATES / f"{name}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _values(names: Names, roles: list[Role]) -> dict[str, str]:
    kind = {"kind": names.kind}
    classes = [role for role in roles if role.suffix]
    imports = [
        f"from {names.module}.{role.name} import {names.prefix}{role.suffix}" for role in classes
    ]
    sdk = sorted(role.base for role in classes)
    commands = [role for role in roles if not role.suffix]
    lines = [f"from picosam_sdk import {', '.join([*sdk, 'hookimpl'])}"]
    if commands:
        lines.append("from picosam_sdk.hookspecs import Command")
        imports.append(f"from {names.module} import command")
    return {
        **dataclasses.asdict(names),
        "sdk_version": version("picosam-sdk"),
        "imports": "\n".join([*lines, "", *sorted(imports)]),
        "hooks": "\n\n\n".join(_hook(names, role) for role in roles),
        "offers": "\n".join(
            f'        "{role} {names.kind}",' for role in sorted(role.name for role in roles)
        ),
        "uses": "\n".join(f"- {Template(role.use).substitute(kind)}" for role in roles),
    }  # fmt: skip


def _hook(names: Names, role: Role) -> str:
    thing = f"{names.prefix}{role.suffix}" if role.suffix else "command"
    kind = f"type[{role.base}]" if role.suffix else role.base
    return (
        f"@hookimpl\n"
        f"def picosam_{role.name}s() -> Sequence[{kind}]:\n"
        f"    return [{thing}]"
    )  # fmt: skip


def _example(names: Names, roles: list[Role]) -> str:
    tables = [role.table if role in roles else role.usual for role in ROLES.values()]
    text = "\n".join(table for table in tables if table)
    return "# picosam run example.toml\n\n" + Template(text).substitute(kind=names.kind)
