"""Builds core and plugins twice and compares the bytes; prints the SHA-256 of what was built::

    python scripts/reproducible.py [--json] [--out DIR] [PROJECT ...]

The first build is of the checkout. The second is of the source archive that the first has made,
unpacked into another folder, with other file times, umask, locale, time zone and hash seed. The
time in the archives is fixed, unless SOURCE_DATE_EPOCH says another one. It ends with 1 if two
files differ. What else goes into the bytes, the versions of hatchling and zlib, is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = {
    "picosam-sdk": ROOT,
    **{path.parent.name: path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))},
}
"""The folder of each project, by its name."""

ELSEWHERE = {
    "LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "4321",
    "HOME": "/nonexistent",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """One file that was built twice.

    Args:
        name: of the file.
        sha256: of the first.
        n_bytes: its size in bytes.
        same: whether the second has the same bytes.
    """

    name: str
    sha256: str
    n_bytes: int
    same: bool


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=", ".join(PROJECTS))
    parser.add_argument("--out", type=Path, help="folder to keep what the first build made")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    unknown = sorted(set(args.projects) - set(PROJECTS))
    if unknown:
        parser.error(f"no such project: {unknown[0]}; there are {', '.join(PROJECTS)}")
    found: list[Compared] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.projects or PROJECTS:
            folder = Path(scratch) / name
            first = (args.out or folder / "first").resolve()
            found += build_twice(PROJECTS[name], first, folder)
    tools = {"python": platform.python_version(), "hatchling": version("hatchling"),
             "zlib": zlib.ZLIB_RUNTIME_VERSION}  # fmt: skip
    if args.json:
        print(json.dumps({"tools": tools, "files": [asdict(one) for one in found]}, indent=2))
    else:
        for one in found:
            print(f"{one.sha256}  {one.name}{'' if one.same else '  NOT THE SAME TWICE'}")
        print("built with " + ", ".join(f"{name} {text}" for name, text in tools.items()))
    return 0 if all(one.same for one in found) else 1


def build_twice(project: Path, first: Path, scratch: Path) -> list[Compared]:
    """Builds a project's wheel and source archive, and once more from that archive.

    Args:
        project: folder with its pyproject.toml.
        first: folder that gets what the first build makes.
        scratch: folder that gets the rest: the archive in ``source``, the second build in
            ``second``.

    Raises:
        subprocess.CalledProcessError: a build failed; its output is in the error.
    """
    _build(project, first, {}, 0o022)
    (archive,) = first.glob(f"{project_name(project)}-*.tar.gz")
    source = scratch / "source"
    with tarfile.open(archive) as tar:
        tar.extractall(source, filter="data")
    (unpacked,) = source.iterdir()
    for index, path in enumerate(sorted(unpacked.rglob("*"))):
        if path.is_file():
            path.chmod(0o600)
            os.utime(path, (1e9 + index, 1e9 + index))
    _build(unpacked, scratch / "second", ELSEWHERE, 0o077)
    return compare(first, scratch / "second")


def project_name(project: Path) -> str:
    """How the files of a project begin."""
    return "picosam_sdk" if project == ROOT else project.name.replace("-", "_")


def compare(first: Path, second: Path) -> list[Compared]:
    """The files of ``second``, each with its counterpart in ``first``."""
    found = []
    for path in sorted(second.iterdir()):
        other = first / path.name
        data = other.read_bytes() if other.exists() else b""
        same = other.exists() and data == path.read_bytes()
        found.append(Compared(path.name, hashlib.sha256(data).hexdigest(), len(data), same))
    return found


def _build(source: Path, out: Path, changes: dict[str, str], umask: int) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist"]
    subprocess.run(
        [*command, "--outdir", out, source], check=True, capture_output=True, text=True,
        env={**os.environ, **changes}, umask=umask,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"expected a build, got: {error.stderr[-2000:] or error.stdout[-2000:]}")
