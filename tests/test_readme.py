"""The README tells the truth: its Python runs, its commands, options and links exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from picosam_sdk.cli.main import main

README = Path(__file__).resolve().parent.parent / "README.md"
SHELLS = ("bash", "console", "sh", "shell")


def _blocks(*languages: str) -> list[str]:
    """The bodies of the fenced blocks in these languages."""
    fenced = re.findall(
        r"^```(\w+)\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [body for language, body in fenced if language in languages]


def _commands() -> list[list[str]]:
    """The words of each command in the shell blocks, without prompt and comment."""
    lines = "".join(_blocks(*SHELLS)).replace("\\\n", " ").splitlines()
    texts = [re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")) for line in lines]
    return [text.split() for text in texts if text.split()]


def test_python_blocks_run(tmp_path: Path, photos: Path) -> None:
    """Runs all of them in order, as one program, in a folder that holds only the photographs."""
    blocks = _blocks("python")
    assert blocks, "the README has no Python block"
    shutil.copytree(photos, tmp_path / "picosam_sdk" / "assets" / "photos")
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", "".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [words for words in _commands() if Path(words[0]).name == "picosam"]
    assert commands, "the README shows no picosam command"
    for _, *words in commands:
        verb = [word for word in words[:1] if not word.startswith("-")]
        with pytest.raises(SystemExit) as stop:
            main([*verb, "--help"])
        assert stop.value.code == 0, f"picosam {' '.join(words)}"
        offered = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out))
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= offered, f"picosam {' '.join(words)}"


def test_make_targets_exist(root: Path) -> None:
    targets = {word for words in _commands() if words[0] == "make" for word in words[1:]}
    assert {"demo", "test"} <= targets
    makefile = (root / "Makefile").read_text("utf-8")
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))


def test_linked_files_exist(root: Path) -> None:
    text = README.read_text("utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    local = [link for link in links if "://" not in link]
    assert local, "the README links to no file"
    missing = [link for link in local if not (root / link).exists()]
    assert not missing
