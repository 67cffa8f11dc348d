"""What must not stand in the sources, as far as ruff's rules S (flake8-bandit) do not find it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SECRET = re.compile(
    r"(.*_)?(token|signature|sig|digest|hexdigest|hmac|mac|password|passwd|secret|cookie|bearer)"
)
_OLD_TLS = frozenset({"SSLv2", "SSLv3", "TLSv1", "TLSv1_1", "MINIMUM_SUPPORTED"})
_LOADERS = frozenset({"joblib.load", "cloudpickle.load", "cloudpickle.loads", "yaml.unsafe_load",
                      "yaml.full_load", "dill.load", "dill.loads"})  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A line that breaks a rule."""

    rule: str
    line: int


def findings(source: str) -> list[Finding]:
    """Every breach in a Python source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for rule in _broken(node):
            found.append(Finding(rule, node.lineno))  # type: ignore[attr-defined]
    return sorted(found, key=lambda one: (one.line, one.rule))


def _broken(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _of_assignment(target, node.value)
    elif isinstance(node, ast.Compare):
        yield from _of_comparison(node)


def _of_call(node: ast.Call) -> Iterator[str]:
    name = _name(node.func)
    last = name.rpartition(".")[2]
    given = {word.arg: word.value for word in node.keywords}
    if name == "compile":
        yield "compile"
    if name in _LOADERS:
        yield "loader"
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        yield "torch-load"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow-pickle"
    if last in ("extractall", "unpack_archive") and "filter" not in given:
        yield "unpacking"
    if last == "tls_insecure_set" or "CERT_NONE" in map(_last, given.values()):
        yield "unverified"
    if _is(given.get("verify"), False) or _is(given.get("check_hostname"), False):
        yield "unverified"


def _of_assignment(target: ast.expr, value: ast.expr) -> Iterator[str]:
    if not isinstance(target, ast.Attribute):
        return
    if target.attr == "verify_mode" and _last(value) != "CERT_REQUIRED":
        yield "unverified"
    if target.attr == "check_hostname" and not _is(value, True):
        yield "unverified"
    if target.attr in ("minimum_version", "maximum_version") and _last(value) in _OLD_TLS:
        yield "old-tls"


def _of_comparison(node: ast.Compare) -> Iterator[str]:
    """``==`` ends at the first byte that differs, and so tells how many were right."""
    if not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        return
    sides = [node.left, *node.comparators]
    if any(isinstance(side, ast.Constant) for side in sides):
        return  # whether there is one at all
    if any(_SECRET.fullmatch(_last(side)) for side in sides):
        yield "compared"


def _name(node: ast.expr) -> str:
    """``a.b.c`` as text; "" where it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _last(node: ast.expr) -> str:
    """The last name of an expression; of a call, that of its function."""
    if isinstance(node, ast.Call):
        return _last(node.func)
    if isinstance(node, ast.Subscript):
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""
    return _name(node).rpartition(".")[2]


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
