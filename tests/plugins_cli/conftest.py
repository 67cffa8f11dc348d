"""An environment away from the checkout: the SDK and new plugins as wheels, as users have them."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from picosam_sdk.scaffold import ROLES
from tests.plugins_cli.fake_package import fake_packages

BUILD = """
import os, sys, hatchling.build
out, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    hatchling.build.build_wheel(out)
"""


@dataclass
class Installed:
    """A clean environment, and the folder with the packages that were made in it.

    Args:
        bin: of the environment.
        folder: holds a package a role, called picosam-new-<role>.
        packages: their names.
    """

    bin: Path
    folder: Path
    packages: list[str]

    def run(
        self, program: str, *args: str | Path, cwd: Path | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        # Nothing of the checkout, and no tool's settings, may reach the environment.
        env = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
        done = subprocess.run(
            [self.bin / program, *args],
            cwd=cwd or self.folder, env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The environment: the SDK's wheel makes the packages; their wheels are installed beside it.

    What the SDK depends on is linked from where the tests run, which takes no network; pip checks
    that nothing is missing.
    """
    folder = tmp_path_factory.mktemp("new plugins").resolve()
    env, wheels = folder / "venv", folder / "wheels"
    venv.create(env, symlinks=True)
    (site,) = env.glob("lib/python*/site-packages")
    for name in _needed({"pytest"} | _requirements("picosam-sdk")):
        _link(name, site)
    installed = Installed(env / "bin", folder, [f"picosam-new-{role}" for role in ROLES])
    _install(env, wheels, [root])
    for role, name in zip(ROLES, installed.packages, strict=True):
        installed.run("picosam", "plugins", "new", name, "--role", role, "-o", folder)
    _install(env, wheels, [folder / name for name in installed.packages])
    return installed


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts packages with an entry point where Python finds them, as pip would."""
    with fake_packages(tmp_path, monkeypatch) as add:
        yield add


def _install(env: Path, wheels: Path, folders: list[Path]) -> None:
    before = set(wheels.glob("*.whl"))
    _do(sys.executable, "-c", BUILD, wheels, *folders)
    new = set(wheels.glob("*.whl")) - before
    assert len(new) == len(folders)
    _do(
        sys.executable, "-m", "pip", "--python", env, "--disable-pip-version-check",
        "install", "--quiet", "--no-index", *new,
    )  # fmt: skip


def _do(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _needed(names: set[str]) -> set[str]:
    """These packages and all that they need."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        names |= _requirements(name) - found
    return found


def _requirements(name: str) -> set[str]:
    wanted = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    return {
        re.sub(r"[-_.]+", "-", one.name).lower()
        for one in wanted
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def _link(name: str, site: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        link = site / top
        if not link.exists():
            link.symlink_to(Path(str(distribution.locate_file(top))))
