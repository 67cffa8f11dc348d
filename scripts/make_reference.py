"""Writes docs/reference/: configuration, hooks, command line and errors, out of the code.

    python scripts/make_reference.py [--check]

--check writes nothing and fails if a page is not what the code says.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from picosam_sdk import errors, hookspecs, settings
from picosam_sdk.cli.main import build_parser
from picosam_sdk.plugins import ROLES, Plugins

OUT = Path(__file__).resolve().parent.parent / "docs" / "reference"
HEAD = "<!-- Written by scripts/make_reference.py. Change the docstrings instead. -->\n\n"
TABLES = {
    "camera": ("[camera]", settings.CameraTable),
    "segmenter": ("[segmenter]", settings.SegmenterTable),
    "roi_source": ("[[roi]]", settings.RoiTable),
    "mask_filter": ("[[filter]]", settings.FilterTable),
    "publisher": ("[[publish]]", settings.PublishTable),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    check = parser.parse_args().check
    plugins = Plugins()
    stale = 0
    for name, text in {
        "config.md": config_page(plugins),
        "hooks.md": hooks_page(),
        "cli.md": cli_page(),
        "errors.md": errors_page(),
    }.items():
        path = OUT / name
        if not path.exists() or path.read_text("utf-8") != HEAD + text:
            stale += 1
            print(f"{name}: {'stale' if check else 'written'}")
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(HEAD + text, encoding="utf-8")
    if check and stale:
        print("Run: python scripts/make_reference.py", file=sys.stderr)
    return int(check and stale > 0)


def config_page(plugins: Plugins) -> str:
    """Every key of picosam.toml, with its type, default and meaning."""
    parts = ["# Configuration\n", "Every key of a `picosam.toml`. An unknown key is refused.\n"]
    for key, cls in (
        ("[device]", settings.DeviceConfig),
        ("[run]", settings.RunConfig),
        ("[policy]", settings.PolicyConfig),
        ("[metrics]", settings.MetricsConfig),
        ("egress = { ... }", settings.EgressRule),
    ):
        parts += [f"## `{key}`\n", *_class(cls)]
    for role, (key, table) in TABLES.items():
        parts += [f"## `{key}`\n", *_class(table)]
        base = {name: cls for cls, name in ROLES.items()}.get(role)
        kinds = plugins.parts(base) if base else {}
        for kind, part in kinds.items():
            parts += [f'### `kind = "{kind}"`\n', _first(part) + "\n", *_fields(part.Config)]
        if role == "segmenter":
            for name, backend in plugins.backends().items():
                parts += [f'### `backend = "{name}"`\n', *_options(backend)]
    return "\n".join(parts).rstrip() + "\n"


def hooks_page() -> str:
    """Every hook, with its docstring."""
    parts = ["# Hooks\n", _block(hookspecs.__doc__ or "")]
    for name in sorted(name for name in hookspecs.__all__ if name.startswith("picosam_")):
        parts += [f"## `{name}`\n", _block(inspect.getdoc(getattr(hookspecs, name)) or "")]
    return "\n".join(parts).rstrip() + "\n"


def cli_page() -> str:
    """The help of every verb."""
    parts = ["# Command line\n"]
    for title, parser in _parsers("picosam", build_parser()):
        parts += [f"## `{title}`\n", f"```text\n{parser.format_help().rstrip()}\n```\n"]
    return "\n".join(parts).rstrip() + "\n"


def errors_page() -> str:
    """Every error, with its docstring."""
    parts = ["# Errors\n", _block(errors.__doc__ or "")]
    for name in errors.__all__:
        parts += [f"## `{name}`\n", _block(inspect.getdoc(getattr(errors, name)) or "")]
    return "\n".join(parts).rstrip() + "\n"


def _parsers(title: str, parser: Any) -> Iterator[tuple[str, Any]]:
    parser.formatter_class = _narrow(parser.formatter_class)
    yield title, parser
    for action in parser._actions:  # argparse has no public way to its subparsers
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in sorted(action.choices.items()):
                yield from _parsers(f"{title} {name}", sub)


def _narrow(formatter: Any) -> Any:
    """The same formatter at a width that does not depend on the terminal."""
    return lambda prog: formatter(prog, width=100)


def _class(cls: type) -> list[str]:
    return [_first(cls) + "\n", *_fields(cls)]


def _first(cls: type) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(cls) or "").split("\n\n")[0]).replace("``", "`")


def _fields(cls: Any) -> list[str]:
    """A table of a dataclass's fields, and of those of the plugin's tables in it."""
    rows = _rows(cls, "")
    if not rows:
        return ["No keys of its own.\n"]
    return ["| key | type | default | |\n| --- | --- | --- | --- |", "\n".join(rows) + "\n"]


def _rows(cls: Any, where: str) -> list[str]:
    hints = typing.get_type_hints(cls)
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):  # a base class describes its own keys
        notes |= _notes(inspect.cleandoc(base.__doc__ or ""))
    rows = []
    for field in dataclasses.fields(cls):
        if field.metadata:
            continue
        default = "required"
        if field.default is not dataclasses.MISSING:
            default = f"`{_value(field.default)}`"
        elif field.default_factory is not dataclasses.MISSING:
            default = f"`{_value(field.default_factory())}`"
        hint = hints[field.name]
        rows.append(f"| `{where}{field.name}` | {_type(hint)} | {default} | "
                    f"{notes.get(field.name, '')} |")  # fmt: skip
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner) and not inner.__module__.startswith("picosam_sdk."):
                rows += _rows(inner, f"{where}{field.name}.")
    return rows


def _options(cls: type) -> list[str]:
    notes = _notes(inspect.getdoc(cls) or "")
    rows = []
    for option in inspect.signature(cls).parameters.values():
        default = "required" if option.default is option.empty else f"`{_value(option.default)}`"
        kind = str(option.annotation).strip("'").replace("|", "\\|")
        rows.append(f"| `{option.name}` | {kind} | {default} | {notes.get(option.name, '')} |")
    return [_first(cls) + "\n", "| key | type | default | |\n| --- | --- | --- | --- |",
            "\n".join(rows) + "\n"]  # fmt: skip


def _notes(doc: str) -> dict[str, str]:
    """What the Args section of a docstring says of each name."""
    found = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.DOTALL | re.MULTILINE)
    notes: dict[str, str] = {}
    for names, text in re.findall(
        r"^    ([\w, ]+): (.*?)(?=^    \w|\Z)", found[1] if found else "", re.DOTALL | re.MULTILINE
    ):
        words = re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")
        for name in names.split(", "):
            notes[name] = re.sub(r":\w+:`[.~]*([^`]+)`", r"`\1`", words)
    return notes


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f'`"{value}"`' for value in typing.get_args(hint))
    name = getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
    name = re.sub(r"typing\.|picosam_\w+\.(\w+\.)*|pathlib\.(_local\.)?", "", name)
    return name.replace("|", "\\|")


def _value(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _block(doc: str) -> str:
    """A docstring as Markdown: literal blocks become fenced ones, roles plain names."""
    text = re.sub(r":\w+:`[.~]*([^`]+)`", r"`\1`", inspect.cleandoc(doc)).replace("``", "`")
    out, fenced = [], False
    for line in text.split("\n"):
        if fenced and line and not line.startswith("    "):
            out += ["```", ""]
            fenced = False
        if line.endswith("::"):
            out += [line[:-1] if line != "::" else "", "", "```python"]
            fenced = True
            continue
        out.append(line[4:] if fenced else line)
    text = "\n".join([*out, "```"] if fenced else out)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"```python\n\n", "```python\n", re.sub(r"\n+```\n", "\n```\n", text)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
