"""The bill of materials: whole, right, the same each time, and what CycloneDX asks for."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What the schema of CycloneDX 1.6 requires, and the values it allows, as far as they are used here.
# The whole schema is 5,000 lines; scripts/sbom.py's output was held against it.
HASH = {"type": "object", "required": ["alg", "content"], "additionalProperties": False,
        "properties": {"alg": {"const": "SHA-256"},
                       "content": {"pattern": "^[0-9a-f]{64}$"}}}  # fmt: skip
COMPONENT: dict[str, Any] = {
    "type": "object", "required": ["type", "name"], "additionalProperties": False,
    "properties": {
        "type": {"enum": ["library", "file", "machine-learning-model", "data", "application"]},
        "bom-ref": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "version": {"type": "string", "maxLength": 1024},
        "description": {"type": "string"},
        "author": {"type": "string"},
        "scope": {"enum": ["required", "optional", "excluded"]},
        "purl": {"type": "string", "pattern": "^pkg:pypi/[a-z0-9-]+(@.+)?$"},
        "hashes": {"type": "array", "items": HASH},
        "licenses": {"type": "array", "items": {"oneOf": [
            {"required": ["license"], "additionalProperties": False, "properties": {
                "license": {"oneOf": [{"required": ["id"]}, {"required": ["name"]}]}}},
            {"required": ["expression"], "additionalProperties": False,
             "properties": {"expression": {"type": "string"}}}]}},
        "properties": {"type": "array", "items": {"required": ["name", "value"]}},
        "modelCard": {"type": "object"},
        "data": {"type": "array", "items": {"required": ["type"], "properties": {
            "type": {"enum": ["source-code", "configuration", "dataset", "definition", "other"]}}}},
    },
}  # fmt: skip
SCHEMA = {
    "type": "object", "required": ["bomFormat", "specVersion"], "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {"pattern": "^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {"type": "object", "required": ["component"], "additionalProperties": False,
                     "properties": {"timestamp": {"type": "string"}, "component": COMPONENT,
                                    "tools": {"type": "object"}}},
        "components": {"type": "array", "uniqueItems": True, "items": COMPONENT},
        "dependencies": {"type": "array", "uniqueItems": True, "items": {
            "required": ["ref"], "properties": {"dependsOn": {"uniqueItems": True}}}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, root],
        check=True, capture_output=True,
    )  # fmt: skip
    (built,) = out.glob("picosam_sdk-*.whl")
    return built


def _run(root: Path, *words: str | Path, epoch: str = "") -> str:
    env = {"SOURCE_DATE_EPOCH": epoch} if epoch else {}
    done = subprocess.run(
        [sys.executable, root / "scripts" / "sbom.py", *words],
        capture_output=True, text=True, check=False, env=env, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["", "--resolved"], ids=["alone", "resolved"])
def bill(request: pytest.FixtureRequest, root: Path, wheel: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_run(root, wheel, *request.param.split()))
    return document


def _by_name(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {one["name"]: one for one in bill["components"]}
    assert len(found) == len(bill["components"])
    return found


def test_it_has_what_the_schema_requires(bill: dict[str, Any]) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(bill, SCHEMA, jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    "damage",
    [{"bomFormat": "SPDX"}, {"components": [{"name": "x"}]}, {"serialNumber": "1"},
     {"components": [{"type": "file", "name": "x", "hashes": [{"alg": "MD5", "content": "0"}]}]}],
)  # fmt: skip
def test_the_check_finds_damage(damage: dict[str, Any]) -> None:
    whole = {"bomFormat": "CycloneDX", "specVersion": "1.6"}
    jsonschema.validate(whole, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**whole, **damage}, SCHEMA)


def test_every_dependency_is_there_with_what_is_required(bill: dict[str, Any], root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {"": project["dependencies"], **project["optional-dependencies"]}
    components = _by_name(bill)
    for extra, lines in wanted.items():
        for requirement in map(Requirement, lines):
            name = canonicalize_name(requirement.name)
            if name == "picosam-sdk":
                continue  # an extra of several others
            key = "picosam:requires" + (f":{extra}" if extra else "")
            said = [one["value"] for one in components[name]["properties"] if one["name"] == key]
            assert said == [str(requirement.specifier) or "any version"], name
            assert components[name]["scope"] == "required" or extra
            assert components[name]["purl"].startswith(f"pkg:pypi/{name}")


def test_every_reference_leads_to_a_component(bill: dict[str, Any]) -> None:
    known = {one["bom-ref"] for one in bill["components"]}
    root_ref = bill["metadata"]["component"]["bom-ref"]
    assert bill["dependencies"][0]["ref"] == root_ref
    used = {ref for one in bill["dependencies"] for ref in one["dependsOn"]} - {root_ref}
    assert len(used) > 20
    assert used <= known
    assert {one["ref"] for one in bill["dependencies"][1:]} <= known


def test_hashes_are_those_of_the_files(bill: dict[str, Any], wheel: Path) -> None:
    whole = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": whole}]
    components = _by_name(bill)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            digest = hashlib.sha256(archive.read(name)).hexdigest()
            assert components.pop(name)["hashes"][0]["content"] == digest
    assert {one["type"] for one in components.values()} == {"library"}


def test_the_network_is_a_model_and_the_photographs_are_data(
    bill: dict[str, Any], root: Path
) -> None:
    kinds: dict[str, list[str]] = {}
    for one in bill["components"]:
        kinds.setdefault(one["type"], []).append(one["name"])
    assert kinds["machine-learning-model"] == ["picosam_sdk/assets/picosam3.onnx"]
    card = json.loads((root / "picosam_sdk" / "assets" / "picosam3.json").read_text("utf-8"))
    model = _by_name(bill)["picosam_sdk/assets/picosam3.onnx"]
    assert model["hashes"][0]["content"] == card["sha256"]
    assert model["licenses"] == [{"license": {"id": card["licence"]}}]
    photos = root / "picosam_sdk" / "assets" / "photos"
    assert sorted(kinds["data"]) == sorted(
        f"picosam_sdk/assets/photos/{file.name}" for file in photos.glob("*.jpg")
    )
    assert all(_by_name(bill)[name]["licenses"] for name in kinds["data"])


def test_resolved_it_has_versions_and_licences(root: Path, wheel: Path) -> None:
    components = _by_name(json.loads(_run(root, wheel, "--resolved")))
    for name in ("numpy", "onnxruntime", "opencv-python-headless", "pluggy", "tqdm"):
        assert re.match(r"\d+\.", components[name]["version"])
        assert components[name]["licenses"]
        assert components[name]["purl"].endswith("@" + components[name]["version"])
    assert "jinja2" in components, "what a dependency needs in turn"
    assert "markupsafe" in components


@pytest.mark.parametrize("epoch", ["", "1700000000"])
def test_it_is_the_same_each_time(root: Path, wheel: Path, tmp_path: Path, epoch: str) -> None:
    out = tmp_path / "picosam-sdk.cdx.json"
    first = _run(root, wheel, epoch=epoch)
    _run(root, wheel, "-o", out, epoch=epoch)
    assert out.read_text("utf-8") == first
    document = json.loads(first)
    assert ("timestamp" in document["metadata"]) == bool(epoch)
    if epoch:
        assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
        assert document["serialNumber"] != json.loads(_run(root, wheel))["serialNumber"]


@pytest.mark.parametrize("content", [None, b"no archive", b""])
def test_what_is_no_wheel_is_said_in_two_lines(
    root: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "x.whl"
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, root / "scripts" / "sbom.py", path], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr
