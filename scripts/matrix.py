"""Checks that core, extras and plugins can be installed from wheels on every machine we name::

    python scripts/matrix.py [--json] [--only TEXT] [--python 3.13] [--machine aarch64]

For picosam-sdk and each plugin, alone and with each extra, the newest set of wheels is looked for:
x86-64 and aarch64, Python 3.11 to 3.14, glibc 2.36 (Debian and Raspberry Pi OS Bookworm) and 2.41
(Trixie); for Bookworm's Python also under numpy 1, which its picamera2 is built against. Nothing is
installed or compiled. picamera2 is left out: it comes from apt on a Raspberry Pi, and has no
wheels. The table is Markdown. It ends with 1 if something has no wheels, and says why.

It asks the package index through uv, which is put into a temporary folder if it is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
GLIBC = {"Bookworm": 36, "Trixie": 41}
"""Minor version of glibc 2 of each system."""

NEWEST_KNOWN = 40
"""uv knows no wheels for a newer glibc 2; a newer system takes those of an older one."""

FROM_APT = "picamera2"
CORE = "picosam-sdk"


@dataclass(frozen=True, slots=True)
class Place:
    """A machine to install on.

    Args:
        system: its name.
        machine: "x86_64" or "aarch64".
        python: such as "3.11".
        glibc_minor: of glibc 2.
        further: requirements that something else there has.
    """

    system: str
    machine: str
    python: str
    glibc_minor: int
    further: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What there is for a target in a place.

    Args:
        target: such as "picosam-web[test]".
        place: the machine.
        packages: name==version of everything that would be installed; None if there is no way.
        reason: why not; "" if there is a way.
    """

    target: str
    place: Place
    packages: tuple[str, ...] | None
    reason: str


PLACES = [
    Place(system, machine, python, glibc_minor)
    for machine in MACHINES
    for python in PYTHONS
    for system, glibc_minor in GLIBC.items()
]
PLACES += [
    Place("Bookworm, numpy 1", machine, "3.11", GLIBC["Bookworm"], ("numpy<2",))
    for machine in MACHINES
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="targets with TEXT in the name")
    parser.add_argument("--python", choices=PYTHONS, help="this Python alone")
    parser.add_argument("--machine", choices=MACHINES, help="this machine alone")
    parser.add_argument("--jobs", type=int, default=4, help="questions at once (default 4)")
    parser.add_argument("--json", action="store_true", help="print JSON, packages included")
    args = parser.parse_args()
    wanted = {name: lines for name, lines in targets(ROOT).items() if args.only in name}
    places = [
        place for place in PLACES
        if args.python in (None, place.python) and args.machine in (None, place.machine)
    ]  # fmt: skip
    if not wanted or args.jobs < 1:
        parser.error("--jobs must be above 0" if wanted else f"no target has '{args.only}' in it")
    with tempfile.TemporaryDirectory() as scratch:
        uv = find_uv(Path(scratch))
        pairs = [(name, place) for name in wanted for place in places]
        with ThreadPoolExecutor(args.jobs) as pool:
            found = list(
                pool.map(lambda pair: resolve(uv, pair[0], wanted[pair[0]], pair[1]), pairs)
            )
    print(json.dumps([asdict(one) for one in found], indent=1) if args.json else table(found))
    if not args.json:
        short = [name for name in wanted if any(map(from_apt, wanted[name]))]
        print(f"\nWithout {FROM_APT}, which apt installs: {', '.join(short) or 'none of these'}.")
    return int(any(one.packages is None for one in found))


def targets(root: Path) -> dict[str, list[str]]:
    """What core and plugins need, alone and with each extra; they stand in for themselves."""
    projects: dict[str, dict[str, Any]] = {}
    for path in [root / "pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))]:
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        projects[project["name"]] = project
    found = {}
    for name, project in projects.items():
        extras = sorted(project.get("optional-dependencies", {}))
        for target in [name, *(f"{name}[{extra}]" for extra in extras)]:
            found[target] = sorted(_needs(projects, target))
    return found


def all_requirements(root: Path) -> list[str]:
    """What the core needs, and what each plugin needs with all its extras."""
    found = targets(root)
    return sorted({line for name in found if not name.startswith(f"{CORE}[")
                   for line in found[name]})  # fmt: skip


def _needs(projects: dict[str, dict[str, Any]], line: str) -> set[str]:
    """What a requirement stands for, from other people's projects."""
    requirement = Requirement(line)
    if requirement.name not in projects:
        return {line}
    project = projects[requirement.name]
    lines = list(project["dependencies"])
    for extra in requirement.extras:
        lines += project["optional-dependencies"][extra]
    return set().union(*(_needs(projects, one) for one in lines))


def from_apt(line: str) -> bool:
    """Whether a requirement is met by a package of the system."""
    return Requirement(line).name == FROM_APT


def find_uv(scratch: Path) -> list[str]:
    """How to call uv, which is installed into ``scratch`` if it is not there.

    Raises:
        SystemExit: it cannot be had.
    """
    if there := shutil.which("uv"):
        return [there]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", scratch / "uv", "uv"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"expected pip to install uv, got: {done.stderr[-500:]}\nInstall uv yourself.")
    return [str(scratch / "uv" / "bin" / "uv")]


def resolve(uv: list[str], target: str, requirements: list[str], place: Place) -> Found:
    """What uv would install for a target, beside what comes from apt."""
    lines = [line for line in requirements if not from_apt(line)]
    glibc_minor = min(place.glibc_minor, NEWEST_KNOWN)
    done = subprocess.run(
        [*uv, "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--no-config",
         "--no-python-downloads", "--python", sys.executable,
         "--only-binary", ":all:", "--python-version", place.python,
         "--python-platform", f"{place.machine}-manylinux_2_{glibc_minor}"],
        input="\n".join([*lines, *place.further]), capture_output=True, text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    if done.returncode == 0:
        return Found(target, place, tuple(done.stdout.split()), "")
    return Found(target, place, None, _reason(done.stderr))


def _reason(text: str) -> str:
    """The sentence of uv's that says which package is to blame."""
    words = " ".join(text.split())
    _, _, cause = words.partition("Because ")
    return (f"Because {cause}" if cause else words).partition(", we can conclude")[0][:400]


def table(found: list[Found]) -> str:
    """In Markdown: a line for each target, a column for each machine and Python."""
    columns = sorted({(one.place.machine, one.place.python) for one in found},
                     key=lambda pair: (MACHINES.index(pair[0]), pair[1]))  # fmt: skip
    lines = [
        "| | " + " | ".join(f"{machine}, {python}" for machine, python in columns) + " |",
        "| --- |" + " :---: |" * len(columns),
    ]
    for target in dict.fromkeys(one.target for one in found):
        cells = []
        for column in columns:
            here = [one for one in found if one.target == target
                    and (one.place.machine, one.place.python) == column]  # fmt: skip
            missing = [one.place.system for one in here if one.packages is None]
            cells.append("yes" if not missing else f"not {', '.join(missing)}")
        lines.append(f"| `{target}` | " + " | ".join(cells) + " |")
    ways = sum(one.packages is not None for one in found)
    lines += ["", f"{ways} of {len(found)} combinations can be installed from wheels."]
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.packages is None:
            where = f"{one.target} ({one.place.machine}, Python {one.place.python})"
            reasons.setdefault(one.reason, []).append(where)
    lines += [f"\n{', '.join(dict.fromkeys(there))}:\n{why}" for why, there in reasons.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
