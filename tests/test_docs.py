"""The documentation: builds without a warning, and every key, hook, verb and error is in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from picosam_sdk import errors

VERB = re.compile(r"^\$ picosam (?!--)([a-z0-9]+)", re.MULTILINE)


def test_the_reference_is_what_the_code_says(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts" / "make_reference.py", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(
    root: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path / "site"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)[^>]+(?:src|href)="(https?://[^"]+)', page.read_text()
        )
        assert not loaded, f"{page.name} loads {loaded}"


@pytest.mark.parametrize("name", errors.__all__)
def test_what_to_do_about_an_error_is_in_the_troubleshooting(root: Path, name: str) -> None:
    assert f"`{name}`" in (root / "docs" / "troubleshooting.md").read_text("utf-8")


def test_verbs_in_the_docs_exist(root: Path) -> None:
    known = set(re.findall(r"^## `picosam (\w+)", _page(root, "reference/cli.md"), re.MULTILINE))
    for path in [root / "README.md", *(root / "docs").rglob("*.md")]:
        used = set(VERB.findall(path.read_text("utf-8")))
        assert used <= known, f"{path.name}: {used - known}"


def test_llms_txt_names_files_that_exist(root: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (root / "llms.txt").read_text("utf-8"))
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (root / link).exists()] == []


def _page(root: Path, name: str) -> str:
    return (root / "docs" / name).read_text("utf-8")
