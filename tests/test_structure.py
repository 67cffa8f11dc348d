"""No file and no function grows so long that it needs a map."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("picosam_sdk", "plugins", "tests", "examples", "scripts", "benchmarks")
FILE_LINES, FUNCTION_LINES = 400, 60
LONGER = {"calibrate_settle"}  # its two helpers stand inside it, around one sensor


def _files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (root / folder).rglob("*.py"):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield path


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which may say as much as it has to."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def test_no_file_is_long(root: Path) -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in _files(root)}
    assert len(lengths) > 400, "the folders have moved"
    assert {str(path): lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_long(root: Path) -> None:
    long = {
        node.name: f"{path}:{node.lineno}: {_length(node)} lines"
        for path in _files(root)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if _length(node) > FUNCTION_LINES
    }
    assert {name: where for name, where in long.items() if name not in LONGER} == {}
    assert set(long) == LONGER, "an exception is no longer needed"


def test_the_rooms_on_the_map_are_there(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text("utf-8")
    rooms = re.findall(r"`([a-z0-9_/]+(?:/|\.py))`", page)
    assert len(rooms) > 40
    for room in rooms:
        assert (root / "picosam_sdk" / room).exists() or (root / room).exists(), room
    packages = {path.parent.name for path in (root / "picosam_sdk").glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}/`" not in page} == set()
