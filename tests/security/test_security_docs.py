"""The tables of docs/security.md name what exists, and SECURITY.md what it must."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# Of EN 303 645 V3.1.3, table B.1: clause, and the provisions below it.
PROVISIONS = {
    "5.0": "1", "5.1": "1 2 2A 3 4 5", "5.2": "1 2 3",
    "5.3": "1 2 3 4A 4B 5 6A 6B 7 8 9 10 11 12 13 14 15A 15B 16", "5.4": "1 2 3 4",
    "5.5": "1 2 3 4 5 6 7 8", "5.6": "1 2 3 4A 4B 5 6 7 8 9", "5.7": "1 2", "5.8": "1 2 3",
    "5.9": "1 2 3", "5.10": "1", "5.11": "1 2 3 4", "5.12": "1 2 3", "5.13": "1A 1B",
    "6": "1 2 3A 3B 4 5 6 7 8",
}  # fmt: skip
TEST = re.compile(r"`((?:tests|plugins)/[\w/.-]+\.py)((?:::\w+)+)`")
ROW = re.compile(r"^\| (\d[\d.]*-\d+[AB]?) \|(.*)\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "security.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(page: str) -> list[list[str]]:
    """Of the table for ETSI: provision, what it asks, whose, how, test."""
    return [[row[1], *(cell.strip() for cell in row[2].split("|"))] for row in ROW.finditer(page)]


def test_every_provision_is_there_once(rows: list[list[str]]) -> None:
    expected = [f"{clause}-{one}" for clause, ones in PROVISIONS.items() for one in ones.split()]
    assert [row[0] for row in rows] == expected


def test_each_row_says_whose_it_is_and_how(rows: list[list[str]]) -> None:
    for provision, asks, whose, how, test in rows:
        assert asks, provision
        assert whose in ("SDK", "both", "maker"), provision
        assert how != "-" or whose == "maker", f"{provision} says nothing of how"
        assert test == "-" or TEST.fullmatch(test), f"{provision}: {test}"
    shown = [row for row in rows if row[2] == "SDK" and row[4] == "-"]
    assert [row[0] for row in shown] == ["5.5-2"], "what is done here has a test"


def test_each_test_that_is_named_is_collected(root: Path, page: str, rows: list[list[str]]) -> None:
    named = sorted({match[1] + match[2] for match in TEST.finditer(page)})
    assert len(named) > 30
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=root, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    collected = {line.split("[")[0].strip() for line in done.stdout.splitlines() if "::" in line}
    assert set(named) <= collected


@pytest.mark.parametrize("name", ["docs/security.md", "SECURITY.md"])
def test_each_file_that_is_named_is_there(root: Path, name: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    here = (root / name).parent
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)
             if "://" not in link]  # fmt: skip
    assert [link for link in links if link and not (here / link).exists()] == []
    files = re.findall(r"(?<![\w/.-])((?:scripts|packaging|docs)/[\w./-]+\.\w+)", text)
    assert files
    assert [file for file in files if not (root / file).exists()] == []
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
               for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}  # fmt: skip
    assert {link[1:] for link in re.findall(r"\]\((#[^)\s]+)\)", text)} <= anchors


def test_keys_that_are_named_exist(page: str, root: Path) -> None:
    reference = (root / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
    web = (root / "docs" / "web.md").read_text(encoding="utf-8")
    known = reference + web + (root / "docs" / "mqtt.md").read_text(encoding="utf-8")
    for key in ("key_file", "cert_file", "audit_log", "max_clients", "coarsen", "max_rate_hz",
                "allow", "token", "allowed_hosts"):  # fmt: skip
        assert key in known, key
    assert "picosam config check --strict" in page
    assert "--strict" in (root / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def test_the_policy_says_what_it_must(root: Path) -> None:
    """Where to report, when it is answered, when it is told how it stands, what is supported."""
    text = (root / "SECURITY.md").read_text(encoding="utf-8")
    assert "private vulnerability reporting" in text
    assert re.search(r"within \d+ working days \| an answer", text)
    assert re.search(r"every \d+ days \| where it stands", text)
    assert "## Supported versions" in text
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", text), "an address that nobody reads"
    version = re.search(r'^version = "(\d+\.\d+)', (root / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert f"{version[1]}.x" in text
