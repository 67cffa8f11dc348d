"""Looks up known vulnerabilities of what an installation of core and plugins resolves to.

    python scripts/audit.py
    python scripts/audit.py --lock out/audit.txt --json
    python scripts/audit.py --requirements out/audit.txt --service osv

pip resolves the requirements in pyproject.toml and those of the plugins with all their extras, for
this Python; nothing is installed. The list, with the hash of each file, goes to --lock, and can be
used with 'pip install --require-hashes' on a device. pip-audit looks each package up; if it is not
installed, an environment that is thrown away gets it.

Exit code 0: all were looked up, nothing is known. 1: something is known. 2: the data could not be
had, or did not cover a package: that is no pass.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matrix import all_requirements

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 600


class NoDataError(Exception):
    """Nothing can be said: one line on what was tried, one on what to do."""


@dataclass(slots=True)
class Audit:
    """What was found.

    Args:
        packages: how many were asked about.
        findings: package, version, id of the advisory, versions that mend it.
        uncovered: packages that could not be looked up, and why.
    """

    packages: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    uncovered: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code; see the module."""
        return 1 if self.findings else 2 if self.uncovered or not self.packages else 0

    def lines(self) -> Iterator[str]:
        """For people."""
        for one in self.findings:
            mended = ", ".join(one["mended_in"]) or "no version yet"
            yield f"{one['package']} {one['version']}: {one['id']}, mended in {mended}"
        for name, reason in self.uncovered.items():
            yield f"{name}: not looked up: {reason}"
        looked_up = self.packages - len(self.uncovered)
        yield f"{looked_up} of {self.packages} packages looked up, {len(self.findings)} findings"
        if self.code == 2:
            yield "This is no pass: try again where the service can be reached, or --service osv."


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requirements", type=Path, metavar="FILE",
                        help="a list of earlier, instead of resolving anew")  # fmt: skip
    parser.add_argument("--lock", type=Path, metavar="FILE", help="write the list there")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi",
                        help="whose data (default: pypi)")  # fmt: skip
    parser.add_argument("--pip-audit", type=Path, metavar="PROGRAM", help="the one to use")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            lock = args.requirements or Path(scratch) / "lock.txt"
            if args.requirements is None:
                lock.write_text(resolve(all_requirements(ROOT)), encoding="utf-8")
            if args.lock is not None:
                args.lock.parent.mkdir(parents=True, exist_ok=True)
                args.lock.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
            with _program(args.pip_audit) as program:
                audit = look_up(program, lock, args.service)
    except (NoDataError, OSError, subprocess.TimeoutExpired) as error:
        print(f"expected an audit, got: {error}\n"
              "Nothing is known either way; it needs the package index and the data of "
              f"{args.service}.", file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt:
        return 130
    if args.json:
        print(json.dumps({"service": args.service, "code": audit.code, **asdict(audit)}, indent=2))
    else:
        print("\n".join(audit.lines()))
    return audit.code


def resolve(requirements: Sequence[str]) -> str:
    """What pip would install, a line each with version and hashes.

    Raises:
        NoDataError: it finds no way, or no index.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--report", report.name, *requirements],
            capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise NoDataError(f"pip does not resolve it: {_last_line(done.stderr)}")
        return lock_of(json.loads(Path(report.name).read_text(encoding="utf-8")))


def lock_of(report: dict[str, Any]) -> str:
    """The list of a report of ``pip install --report``."""
    lines = []
    for item in report["install"]:
        about, archive = item["metadata"], item["download_info"].get("archive_info", {})
        hashes = "".join(f" --hash={name}:{value}"
                         for name, value in sorted(archive.get("hashes", {}).items()))  # fmt: skip
        lines.append(f"{about['name'].lower()}=={about['version']}{hashes}\n")
    return "".join(sorted(lines))


def look_up(program: Sequence[str], lock: Path, service: str) -> Audit:
    """What pip-audit says of a list.

    Raises:
        NoDataError: it says nothing that can be read.
    """
    done = subprocess.run(
        [*program, "--requirement", str(lock), "--no-deps", "--disable-pip", "--format", "json",
         "--progress-spinner", "off", "--vulnerability-service", service],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise NoDataError(f"pip-audit ended with {done.returncode}: "
                          f"{_last_line(done.stderr)}") from None  # fmt: skip
    audit = Audit(packages=len(dependencies))
    for one in dependencies:
        if "skip_reason" in one:  # pip-audit itself ends with 0 then
            audit.uncovered[one["name"]] = one["skip_reason"]
        for found in one.get("vulns", []):
            audit.findings.append(
                {"package": one["name"], "version": one["version"], "id": found["id"],
                 "mended_in": found["fix_versions"]}
            )  # fmt: skip
    asked = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    if len(dependencies) < asked:
        raise NoDataError(f"pip-audit answered for {len(dependencies)} of {asked} packages")
    return audit


@contextmanager
def _program(given: Path | None) -> Iterator[list[str]]:
    """pip-audit: the one that is given, that is installed, or in an environment for this time."""
    found = str(given) if given is not None else shutil.which("pip-audit")
    if found:
        yield [found]
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "pip-audit"],
            capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise NoDataError(f"pip-audit cannot be installed: {_last_line(done.stderr)}")
        yield [str(python), "-m", "pip_audit"]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word"])[-1][:300]


if __name__ == "__main__":
    sys.exit(main())
