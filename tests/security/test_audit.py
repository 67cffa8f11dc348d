"""scripts/audit.py: a finding fails, and so does not knowing; against a made-up pip-audit."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLEAN = {"name": "numpy", "version": "2.0.0", "vulns": []}
BAD = {"name": "pillow", "version": "9.0.0",
       "vulns": [{"id": "CVE-2023-1", "fix_versions": ["10.0.1"], "aliases": []}]}  # fmt: skip
SKIPPED = {"name": "tqdm", "skip_reason": "Dependency not found on PyPI"}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs it on a list of as many packages, with a pip-audit that says this."""

    def start(
        says: str, code: int, packages: int = 1, *words: str
    ) -> subprocess.CompletedProcess[str]:
        program, lock = tmp_path / "pip-audit", tmp_path / "lock.txt"
        program.write_text(f"#!{sys.executable}\nimport sys\nprint({says!r})\n"
                           f"print('no network', file=sys.stderr)\nsys.exit({code})\n")  # fmt: skip
        program.chmod(0o755)
        lock.write_text("".join(f"p{number}==1\n" for number in range(packages)))
        return subprocess.run(
            [sys.executable, root / "scripts" / "audit.py", "--requirements", lock,
             "--pip-audit", program, *words],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def audit(root: Path) -> ModuleType:
    path = root / "scripts" / "audit.py"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("audit_script", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["audit_script"] = module  # dataclasses look there
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _said(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_nothing_known_ends_with_0(run: Run) -> None:
    done = run(_said(CLEAN), 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 of 1 packages looked up, 0 findings\n"


def test_a_finding_ends_with_1(run: Run) -> None:
    done = run(_said(CLEAN, BAD), 1, 2)
    assert done.returncode == 1
    assert "pillow 9.0.0: CVE-2023-1, mended in 10.0.1\n" in done.stdout


def test_a_package_that_was_skipped_is_no_pass(run: Run) -> None:
    """pip-audit says 'no known vulnerabilities' and ends with 0 then."""
    done = run(_said(CLEAN, SKIPPED), 0, 2)
    assert done.returncode == 2
    assert "tqdm: not looked up" in done.stdout
    assert "no pass" in done.stdout


def test_a_finding_counts_more_than_a_gap(run: Run) -> None:
    assert run(_said(BAD, SKIPPED), 1, 2).returncode == 1


@pytest.mark.parametrize(
    ("says", "code", "packages"),
    [("", 1, 1), ("Traceback", 1, 1), ("[]", 0, 1), ("{}", 0, 1), (_said(CLEAN), 0, 2),
     (_said(), 0, 0)],
)  # fmt: skip
def test_no_data_ends_with_2(run: Run, says: str, code: int, packages: int) -> None:
    done = run(says, code, packages)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 2 or "no pass" in done.stdout


def test_json_says_the_same(run: Run) -> None:
    done = run(_said(BAD, SKIPPED), 1, 2, "--json", "--service", "osv")
    said = json.loads(done.stdout)
    assert said["code"] == done.returncode == 1
    assert said["service"] == "osv"
    assert said["packages"] == 2
    assert said["findings"] == [{"package": "pillow", "version": "9.0.0", "id": "CVE-2023-1",
                                 "mended_in": ["10.0.1"]}]  # fmt: skip
    assert said["uncovered"] == {"tqdm": "Dependency not found on PyPI"}


def test_the_list_can_be_kept(run: Run, tmp_path: Path) -> None:
    run(_said(CLEAN), 0, 1, "--lock", str(tmp_path / "kept" / "lock.txt"))
    assert (tmp_path / "kept" / "lock.txt").read_text() == "p0==1\n"


def test_the_list_has_versions_and_hashes(audit: ModuleType) -> None:
    def item(name: str, version: str, **archive: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "version": version},
                "download_info": {"archive_info": archive}}  # fmt: skip

    report = {"install": [item("tqdm", "4.67", hashes={"sha256": "ab"}), item("NumPy", "2.0")]}
    assert audit.lock_of(report) == "numpy==2.0\ntqdm==4.67 --hash=sha256:ab\n"


def test_what_is_resolved_is_what_is_required(audit: ModuleType, root: Path) -> None:
    required = audit.all_requirements(root)
    for name in ("numpy", "onnxruntime", "opencv-python-headless", "paho-mqtt", "uvicorn"):
        assert [line for line in required if line.startswith(name)], name
    assert not [line for line in required if line.startswith("picosam")]
