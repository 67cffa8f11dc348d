"""docs/plugins.md tells the truth: its plugins work, its hooks, classes and commands exist."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from picosam_sdk import Context, Plugins, Publisher, hookspecs
from picosam_sdk.cli.main import build_parser
from picosam_sdk.plugins import EVERY_ROLE
from picosam_sdk.scaffold import ROLES
from picosam_sdk.testing import contract
from picosam_sdk.testing.results import a_result

Add = Callable[..., None]


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "plugins.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_plugin_in_ten_lines_is_a_plugin(
    text: str, packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = blocks(text, "python")[0]
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 10
    (project,) = blocks(text, "toml")
    entries = tomllib.loads(project)["project"]["entry-points"]["picosam_sdk"]
    packages("acme_picosam", plugin, "\n".join(f"{key} = {entries[key]}" for key in entries))
    plugins = Plugins()
    assert plugins.offers()["acme"] == ["publisher score"]
    cls = plugins.part(Publisher, "score")  # type: ignore[type-abstract]
    publisher = cls(cls.Config(), Context())
    publisher.publish(a_result())
    publisher.publish(a_result(mask=None))
    assert capsys.readouterr().out.startswith("0.9")


def test_hookspecs_shows_the_same_plugin(text: str) -> None:
    plugin = inspect.cleandoc(blocks(text, "python")[0])
    shown = inspect.cleandoc(hookspecs.__doc__ or "")
    lines = [line.strip() for line in plugin.splitlines() if line.strip()]
    at = -1
    for line in lines:
        at = shown.index(line, at + 1)


def test_the_plugin_without_a_package_runs(text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocks(text, "python")[1]],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Quiet" in done.stdout


def test_the_contract_fails_where_it_says_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "acme_picosam.py").write_text(blocks(text, "python")[0])
    (tmp_path / "test_acme.py").write_text(blocks(text, "python")[2])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert re.search(r"FAILED .*test_counts_the_bytes_that_leave", done.stdout)
    assert "1 failed" in done.stdout


def test_hooks_roles_contracts_and_commands_exist(text: str) -> None:
    hooks = set(re.findall(r"^\| `(picosam_\w+)`", text, re.MULTILINE))
    assert hooks == {name for name in hookspecs.__all__ if name.startswith("picosam_")}
    assert hooks == {f"picosam_{role}s" for role in EVERY_ROLE}
    assert all(f"`{role}`" in text for role in ROLES)
    classes = set(re.findall(r"^\| `(\w+Contract)`", text, re.MULTILINE))
    assert classes == set(contract.__all__)
    parser = build_parser([])
    for block in blocks(text, "bash"):
        for line in block.splitlines():
            words = line.split("#")[0].split()
            if words[0] == "picosam":
                assert parser.parse_args(words[1:]).run
