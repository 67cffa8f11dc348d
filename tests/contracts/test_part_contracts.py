"""The contracts of parts notice what is wrong: each of their tests fails for some broken part."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk.testing.contract import (
    CameraContract,
    MaskFilterContract,
    PublisherContract,
    RoiSourceContract,
)
from tests.contracts import broken_cameras, broken_filters, broken_publishers, broken_sources

CONTRACTS: list[Any] = [CameraContract, MaskFilterContract, PublisherContract, RoiSourceContract]
MODULES = [broken_cameras, broken_filters, broken_publishers, broken_sources]
BROKEN = {
    f"{module.__name__.rsplit('.', 1)[-1]}.py::{name}::{case.fails}": case.fails
    for module in MODULES
    for name, case in vars(module).items()
    if hasattr(case, "fails")
}
GOOD = [
    "broken_cameras.py::CameraCase",
    "broken_filters.py::FilterCase",
    "broken_publishers.py::PublisherCase",
    "broken_sources.py::SourceCase",
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, list[bool]]:
    """Whether each test of the good parts, and the one meant of each broken part, passed."""
    report = tmp_path_factory.mktemp("contract") / "report.xml"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore",
         "--tb=no", "-o", "python_classes=Broken* *Case", f"--junitxml={report}",
         *(f"tests/contracts/{test}" for test in (*GOOD, *BROKEN))],
        cwd=root, capture_output=True, check=False,
    )  # fmt: skip
    found: dict[str, list[bool]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        module, name = case.get("classname", "").rsplit(".", 2)[-2:]
        test = f"{module}.py::{name}::{case.get('name', '').split('[')[0]}"
        passed = case.find("failure") is None and case.find("error") is None
        found.setdefault(test, []).append(passed)
    return found


@pytest.mark.parametrize("test", BROKEN)
def test_what_is_wrong_is_noticed(outcomes: dict[str, list[bool]], test: str) -> None:
    assert not all(outcomes[test])


@pytest.mark.parametrize("case", GOOD)
def test_what_is_right_passes(outcomes: dict[str, list[bool]], case: str) -> None:
    passed = {test: all(each) for test, each in outcomes.items() if test.startswith(f"{case}::")}
    assert len(passed) > 10
    assert all(passed.values()), passed


def test_each_test_of_the_contracts_can_fail() -> None:
    tests = {name for contract in CONTRACTS for name in dir(contract) if name.startswith("test_")}
    assert tests == set(BROKEN.values())
