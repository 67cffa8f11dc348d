"""What would be published: the same bytes twice, complete metadata, and no more than is meant."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from scripts import matrix, reproducible

NAMES = sorted(reproducible.PROJECTS)
PATTERNS = (
    "*.py", "py.typed", "*.json", "*.jpg", "*.md", "*.onnx", "*.toml", "*.tmpl", "*.css", "*.html",
    "*.js", "*.svg",
)  # fmt: skip


@dataclass
class Built:
    """What two builds of a project made."""

    folder: Path
    package: str
    files: list[reproducible.Compared]
    wheel: Path
    archive: Path
    source: Path
    """The archive, unpacked."""

    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as file:
            return set(file.namelist())

    def read(self, name: str) -> bytes:
        """A file of the wheel's dist-info."""
        with zipfile.ZipFile(self.wheel) as file:
            return file.read(f"{self.package}-0.1.0.dist-info/{name}")


@pytest.fixture(scope="module", params=NAMES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = reproducible.PROJECTS[request.param]
    scratch = tmp_path_factory.mktemp(request.param)
    files = reproducible.build_twice(folder, scratch / "first", scratch)
    (wheel,) = scratch.glob("first/*.whl")
    (archive,) = scratch.glob("first/*.tar.gz")
    (source,) = scratch.glob("source/*")
    package = request.param.replace("-", "_")
    return Built(folder, package, files, wheel, archive, source)


def _package_files(folder: Path) -> set[str]:
    """The files of a package in the checkout or in an archive, from the package's folder on."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_two_builds_have_the_same_bytes(built: Built) -> None:
    assert [one.name for one in built.files] == [built.wheel.name, built.archive.name]
    assert [one.name for one in built.files if not one.same] == []
    assert built.files[0].sha256 == hashlib.sha256(built.wheel.read_bytes()).hexdigest()


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    for name, data in {"first": b"a", "second": b"b"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "it.whl").write_bytes(data)
    (tmp_path / "second" / "more.whl").write_bytes(b"")
    found = reproducible.compare(tmp_path / "first", tmp_path / "second")
    assert [one.same for one in found] == [False, False]


def test_the_wheel_holds_the_package_and_no_more(built: Built) -> None:
    inside = {name for name in built.wheel_names() if ".dist-info/" not in name}
    source = built.folder / "src" if (built.folder / "src").exists() else built.folder
    assert inside == _package_files(source / built.package)
    assert f"{built.package}/py.typed" in inside
    strange = [
        name for name in inside
        if not any(Path(name).match(pattern) for pattern in PATTERNS)
        or any(part.startswith(".") or part == "tests" for part in name.split("/"))
        or Path(name).match("test_*.py")
    ]  # fmt: skip
    assert strange == []
    rest = {name.partition(".dist-info/")[2] for name in built.wheel_names() - inside}
    assert rest == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_wheel_says_what_is_in_it(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as file:
        rows = list(csv.reader(io.StringIO(built.read("RECORD").decode())))
        assert {row[0] for row in rows} == set(file.namelist())
        for name, digest, size in rows[:-1]:
            data = file.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            assert (digest, int(size)) == (f"sha256={expected.decode()}", len(data)), name
        modes = {stat.S_IMODE(entry.external_attr >> 16) for entry in file.infolist()}
        assert modes == {0o644}
    assert b"Tag: py3-none-any" in built.read("WHEEL")


def test_the_metadata_is_complete_and_valid(built: Built) -> None:
    found = Metadata.from_email(built.read("METADATA"), validate=True)
    assert found.name == built.package.replace("_", "-")
    assert str(found.version) == "0.1.0"
    assert found.summary
    assert len(found.summary) < 120
    assert found.license_expression == "Apache-2.0"
    assert found.license_files == ["LICENSE"]
    assert found.description_content_type == "text/markdown"
    assert found.description == (built.folder / "README.md").read_text("utf-8")
    assert found.keywords
    assert str(found.requires_python) == ">=3.11"
    pythons = [text for text in found.classifiers or () if text.startswith(
        "Programming Language :: Python :: 3.")]  # fmt: skip
    assert pythons == [f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)]
    assert "Typing :: Typed" in (found.classifiers or ())
    for requirement in found.requires_dist or ():
        assert requirement.url is None, "a wheel on an index may not depend on an address"
        assert not [one for one in requirement.specifier if one.operator in ("==", "<", "<=")]


def test_the_licence_is_one_and_the_same(built: Built, root: Path) -> None:
    licence = (root / "LICENSE").read_bytes()
    assert built.read("licenses/LICENSE") == licence
    assert (built.source / "LICENSE").read_bytes() == licence


def test_the_source_archive_holds_what_builds_and_no_more(built: Built) -> None:
    with tarfile.open(built.archive) as tar:
        entries = tar.getmembers()
    assert all(entry.isfile() and entry.mtime == entries[0].mtime for entry in entries)
    assert {entry.mode for entry in entries} == {0o644}
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {
        (0, 0, "", "")
    }
    tops = {path.name for path in built.source.iterdir()}
    assert {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"} <= tops
    rest = {".gitignore", "CHANGELOG.md", "docs-sources.md", "src", "picosam_sdk"}
    assert tops - rest == {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"}
    source = built.source / "src" if (built.source / "src").exists() else built.source
    inside = {name for name in built.wheel_names() if ".dist-info/" not in name}
    assert _package_files(source / built.package) == inside


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What answers like uv, knows two packages, and tells what it was asked."""
    path = tmp_path_factory.mktemp("uv") / "uv"
    path.write_text(
        """#!/bin/sh
lines=$(cat)
echo "$@" "$lines" >> "$0.asked"
case $lines in
  *missing*) echo "error: No solution found
  cause: Because missing has no usable wheels, we can conclude that it cannot be used." >&2; exit 1
esac
echo numpy==2.4.6
"""
    )
    path.chmod(0o755)
    return path


def test_a_target_stands_for_all_that_it_needs(root: Path) -> None:
    found = matrix.targets(root)
    assert {name.partition("[")[0] for name in found} == set(reproducible.PROJECTS)
    assert all(not line.startswith("picosam") for lines in found.values() for line in lines)
    assert set(found["picosam-sdk"]) < set(found["picosam-sdk[train]"])
    assert set(found["picosam-sdk"]) < set(found["picosam-web"])
    assert any(line.startswith("torch") for line in found["picosam-sdk[dev]"])
    assert any(map(matrix.from_apt, found["picosam-sdk[imx500]"]))
    assert not any(map(matrix.from_apt, found["picosam-gaze[pupil-labs]"]))


def test_the_matrix_says_what_has_no_wheels_and_why(uv: Path) -> None:
    bookworm, trixie = (
        matrix.Place(system, "aarch64", "3.13", minor) for system, minor in matrix.GLIBC.items()
    )
    found = [
        matrix.resolve([str(uv)], "good[imx500]", ["numpy", "picamera2"], bookworm),
        matrix.resolve([str(uv)], "bad", ["missing"], bookworm),
        matrix.resolve([str(uv)], "bad", ["numpy"], trixie),
    ]
    assert [one.packages for one in found] == [("numpy==2.4.6",), None, ("numpy==2.4.6",)]
    asked = uv.with_name("uv.asked").read_text()
    assert "--only-binary :all: --python-version 3.13" in asked
    assert "aarch64-manylinux_2_36" in asked
    assert "aarch64-manylinux_2_40" in asked, "the newest that uv knows"
    assert "picamera2" not in asked
    text = matrix.table(found)
    assert "| `good[imx500]` | yes |" in text
    assert "| `bad` | not Bookworm |" in text
    assert "2 of 3 combinations" in text
    assert text.endswith("bad (aarch64, Python 3.13):\nBecause missing has no usable wheels")


@pytest.mark.parametrize("script", ["matrix", "reproducible", "fuzz"])
def test_a_script_says_what_it_does_and_refuses_what_it_does_not_know(
    script: str, root: Path
) -> None:
    command = [sys.executable, root / "scripts" / f"{script}.py"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--json" in done.stdout
    unknown = ["--only", "nothing"] if script == "matrix" else ["nothing"]
    done = subprocess.run([*command, *unknown], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing" in done.stderr
