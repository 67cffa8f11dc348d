"""Checks that what core and plugins depend on has wheels for 64-bit Raspberry Pi OS.

Asks pip to resolve the dependencies in pyproject.toml, and those of the plugins with all their
extras, for Bookworm (Python 3.11, glibc 2.36) and
Trixie (Python 3.13, glibc 2.41) on aarch64, wheels only, and prints what it would install; for
Bookworm also under numpy 1, which its picamera2 is built against. Nothing is installed.
Exit code 1 if something has no wheel; the dependency that brings it is named.

    python scripts/check_aarch64.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

SYSTEMS = [  # name, Python, minor version of glibc 2, further requirements
    ("Bookworm", "3.11", 36, []),
    ("Bookworm with its own picamera2", "3.11", 36, ["numpy<2"]),
    ("Trixie", "3.13", 41, []),
]


def main() -> int:
    requirements = all_requirements(Path(__file__).parents[1])
    failed = False
    for system, python, glibc_minor, further in SYSTEMS:
        print(f"Raspberry Pi OS {system}: Python {python}, aarch64, glibc 2.{glibc_minor}")
        wheels = resolve([*requirements, *further], python, glibc_minor)
        for name, version, tag in wheels or []:
            print(f"  {name:<24} {version:<12} {tag}")
        if wheels is None:
            failed = True
            alone = [r for r in requirements if resolve([r, *further], python, glibc_minor) is None]
            print(f"  no wheels for: {', '.join(alone) or 'all of them together'}")
    return int(failed)


def all_requirements(root: Path) -> list[str]:
    """What the core needs, and what each plugin needs with all its extras."""
    core = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    found: set[str] = set(core["dependencies"])
    for path in root.glob("plugins/*/pyproject.toml"):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        found.update(project["dependencies"])
        for extra in project.get("optional-dependencies", {}).values():
            found.update(extra)
    return sorted(line for line in found if not line.startswith("picosam-"))


def resolve(
    requirements: list[str], python: str, glibc_minor: int
) -> list[tuple[str, str, str]] | None:
    """What pip would install: (name, version, wheel tag) of each; None if it finds no way."""
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(17, glibc_minor + 1)]
    platforms = [f"--platform={tag}" for tag in ("manylinux2014_aarch64", *tags)]
    with tempfile.TemporaryDirectory() as target:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--report=-", f"--target={target}", "--only-binary=:all:",
             f"--python-version={python}", *platforms, *requirements],
            capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        return None
    wheels = []
    for item in json.loads(done.stdout)["install"]:
        file = item["download_info"]["url"].rsplit("/", 1)[-1]
        tag = "-".join(file.removesuffix(".whl").split("-")[-3:])
        wheels.append((item["metadata"]["name"], item["metadata"]["version"], tag))
    return sorted(wheels)


if __name__ == "__main__":
    sys.exit(main())
