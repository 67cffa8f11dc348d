"""Writes the bill of materials of a wheel: CycloneDX 1.6, JSON.

    python -m build --wheel
    python scripts/sbom.py dist/picosam_sdk-*.whl -o dist/picosam-sdk.cdx.json

It has the wheel and each file in it with its SHA-256, networks as models, photographs as data, and
every dependency as the wheel's metadata names it. With --resolved, each has the version and the
licence that is installed beside this Python, and so have their own dependencies.
The same wheel gives the same bytes: the serial number follows from the content, and the time is
SOURCE_DATE_EPOCH, or left out without it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SPEC = "1.6"
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")

Component = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path, help="the wheel")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: the terminal")
    parser.add_argument("--resolved", action="store_true",
                        help="with versions and licences of what is installed here")  # fmt: skip
    args = parser.parse_args()
    try:
        text = to_json(bill(args.wheel, resolved=args.resolved))
        if args.output is None:
            sys.stdout.write(text)
        else:
            args.output.write_text(text, encoding="utf-8")
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        print(f"expected a wheel and a place to write to, got: {error}\n"
              "Build one with: python -m build --wheel", file=sys.stderr)  # fmt: skip
        return 1
    return 0


def to_json(document: dict[str, Any]) -> str:
    """The text of a bill."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def bill(wheel: Path, resolved: bool = False) -> dict[str, Any]:
    """The bill of materials of a wheel.

    Args:
        resolved: with what is installed, and what that needs in turn.

    Raises:
        OSError, zipfile.BadZipFile: it cannot be read.
        ValueError: it has no metadata.
    """
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in sorted(archive.namelist())
                    if not name.endswith("/")}  # fmt: skip
    about = _about(contents)
    name, version = str(about["Name"]), str(about["Version"])
    root = f"pkg:pypi/{canonicalize_name(name)}@{version}"
    needed = _requirements(about.get_all("Requires-Dist") or [])
    dependencies, links = _dependencies(needed, resolved)
    document = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": "",
        "version": 1,
        "metadata": {
            **_time(),
            "tools": {"components": [{"type": "application", "name": "scripts/sbom.py"}]},
            "component": {
                "type": "library", "bom-ref": root, "name": name, "version": version,
                "description": str(about["Summary"] or ""), "purl": root,
                **_licence_of(about),
                "hashes": [_sha256(wheel.read_bytes())],
                "properties": [{"name": "picosam:file", "value": wheel.name}],
            },
        },
        "components": [*dependencies, *_files(contents, version)],
        "dependencies": [
            {"ref": root, "dependsOn": sorted({_ref(one, resolved) for one in needed})}, *links,
        ],
    }  # fmt: skip
    digest = hashlib.sha256(to_json(document).encode()).digest()
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}"
    return document


def _about(contents: dict[str, bytes]) -> Message:
    for name, data in contents.items():
        if name.endswith(".dist-info/METADATA"):
            return BytesParser().parsebytes(data)
    raise ValueError("an archive without METADATA")


def _time() -> dict[str, str]:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return {}
    return {"timestamp": datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _sha256(data: bytes) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}


def _licence(text: str) -> dict[str, Any]:
    """By its SPDX id where it can be one, and by its name otherwise."""
    if _SPDX.fullmatch(text):
        return {"license": {"id": text}}
    return {"license": {"name": text}}


# Files ----------------------------------------------------------------------------------------


def _files(contents: dict[str, bytes], version: str) -> Iterator[Component]:
    """Every file of the wheel; networks and photographs as what they are."""
    photos = _photos(contents)
    for name, data in contents.items():
        path = PurePosixPath(name)
        file: Component = {"type": "file", "bom-ref": f"file:{name}", "name": name,
                           "hashes": [_sha256(data)]}  # fmt: skip
        if path.suffix in (".onnx", ".rpk", ".pt"):
            file |= _model(json.loads(contents[str(path.with_suffix(".json"))]), version)
        elif str(path) in photos:
            file |= _photo(photos[str(path)])
        yield file


def _model(card: dict[str, Any], version: str) -> Component:
    return {
        "type": "machine-learning-model",
        "version": str(card.get("version", version)),
        "description": card["description"],
        "licenses": [_licence(card["licence"])],
        "modelCard": {"modelParameters": {
            "approach": {"type": "supervised"}, "task": "promptable segmentation",
            "architectureFamily": "convolutional network", "modelArchitecture": card["network"],
        }},
    }  # fmt: skip


def _photos(contents: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    for name, data in contents.items():
        if name.endswith("/assets/photos.json"):
            folder = PurePosixPath(name).parent / "photos"
            return {str(folder / photo["file"]): photo for photo in json.loads(data)}
    return {}


def _photo(photo: dict[str, Any]) -> Component:
    return {
        "type": "data", "description": photo["title"], "author": photo["author"],
        "licenses": [_licence(photo["licence"])],
        "data": [{"type": "dataset", "name": photo["title"], "description": photo["source"]}],
    }  # fmt: skip


# Dependencies ---------------------------------------------------------------------------------


def _requirements(lines: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Of each package what is required, and by which extra; "" for by all."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        one = Requirement(line)
        extra = _EXTRA.search(str(one.marker or ""))
        entry = (str(one.specifier) or "any version", extra[1] if extra else "")
        entries = found.setdefault(canonicalize_name(one.name), [])
        if entry not in entries:
            entries.append(entry)
    return found


def _dependencies(
    needed: dict[str, list[tuple[str, str]]], resolved: bool
) -> tuple[list[Component], list[dict[str, Any]]]:
    """Components, and what each of them needs in turn as far as that is known."""
    components, links = {}, {}
    waiting = sorted(needed)
    while waiting:
        name = waiting.pop(0)
        if name in components or name == "picosam-sdk":
            continue
        about = _installed(name) if resolved else None
        ref = _ref(name, resolved)
        component: Component = {"type": "library", "bom-ref": ref, "name": name, "purl": ref}
        if about is not None:
            component["version"] = str(about["Version"])
            component |= _licence_of(about)
            own = [other for other, entries in
                   _requirements(about.get_all("Requires-Dist") or []).items()
                   if any(not extra for _, extra in entries) and _installed(other)]  # fmt: skip
            links[ref] = sorted({_ref(other, resolved) for other in own})
            waiting += own
        entries = needed.get(name, [])
        always = any(not extra for _, extra in entries)
        component["scope"] = "required" if always or not entries else "optional"
        component["properties"] = [
            {"name": f"picosam:requires{':' + extra if extra else ''}", "value": version}
            for version, extra in entries
        ]
        components[name] = component
    return (
        [components[name] for name in sorted(components)],
        [{"ref": ref, "dependsOn": links[ref]} for ref in sorted(links)],
    )


def _installed(name: str) -> Any:
    try:
        return metadata(name)
    except PackageNotFoundError:
        return None


def _licence_of(about: Any) -> Component:
    expression = about["License-Expression"]
    if expression:
        return {"licenses": [{"expression": str(expression)}]}
    names = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or []
             if line.startswith("License ::")]  # fmt: skip
    first = str(about["License"] or "").splitlines()
    name = ", ".join(names) or (first[0] if first else "")
    return {"licenses": [{"license": {"name": name}}]} if name else {}


def _ref(name: str, resolved: bool) -> str:
    about = _installed(name) if resolved else None
    return f"pkg:pypi/{name}" + (f"@{about['Version']}" if about is not None else "")


if __name__ == "__main__":
    sys.exit(main())
