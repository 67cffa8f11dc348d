"""What is in a packerOut.zip or a network file (.rpk) for the IMX500, and whether it is whole."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from picosam_sdk.backends.imx500.card import read_card
from picosam_sdk.errors import ModelError
from picosam_sdk.limits import parse_json
from picosam_sdk.rpk import read_rpk

__all__ = ["Inspection", "Part", "Tensor", "inspect_file"]

MANIFEST, PARAMETERS = "manifest.json", "dnnParams.xml"
MOST_BYTES = 64 * 1024**2
"""More than any network for the sensor has; a damaged archive may claim anything."""

_ZIP_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile raises for an archive that is damaged, encrypted or of another kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file or firmware block inside: its name and size; ``note`` says what it is."""

    name: str
    size_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of the network: ``value = scale * (number - shift)``."""

    name: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    scale: float
    shift: int

    def describe(self) -> str:
        kind = f"{'' if self.signed else 'u'}int{self.bits}"
        shape = " x ".join(map(str, self.shape))
        shift = f" from {self.shift}" if self.shift else ""
        return f"{shape} {kind}, steps of {self.scale:g}{shift}  ({self.name})"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file holds.

    Args:
        kind: "packed" (packerOut.zip) or "network" (.rpk).
        name, version: of the network, and of the converter, where the file tells.
        parts: files and firmware blocks inside.
        inputs, outputs: of the network; only a packed one describes them.
        info: the lines of ``network_info.txt``; only a network file has them.
        intrinsics: hints for picamera2.
        card: which model this is, or why that is unknown; only for a network file.
    """

    kind: str
    name: str = ""
    version: str = ""
    parts: tuple[Part, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    info: dict[str, str] = field(default_factory=dict)
    intrinsics: dict[str, Any] = field(default_factory=dict)
    card: str = ""

    def lines(self) -> list[str]:
        """To read."""
        title = {"packed": "packed network", "network": "network file"}[self.kind]
        lines = [
            f"{title} {self.name}".rstrip() + (f", converter {self.version}" * bool(self.version))
        ]
        lines += [f"  input   {tensor.describe()}" for tensor in self.inputs]
        lines += [f"  output  {tensor.describe()}" for tensor in self.outputs]
        lines += [f"  {key:<26} {value}" for key, value in self.info.items()]
        lines += [f"  intrinsics: {key:<14} {value}" for key, value in self.intrinsics.items()]
        lines += [f"  card    {self.card}"] if self.card else []
        lines += [f"  {p.size_bytes:>9} bytes  {p.name}  {p.note}".rstrip() for p in self.parts]
        return lines


def inspect_file(path: Path) -> Inspection:
    """Reads and checks a packerOut.zip or a .rpk.

    Raises:
        ModelError: it is neither, is damaged, or does not describe a network.
    """
    if not path.is_file():
        raise ModelError(
            f"expected a packerOut.zip or .rpk file at {path}, got nothing",
            hint="'picosam imx500 convert' makes the one, imx500-package the other.",
        )
    return _packed(path) if zipfile.is_zipfile(path) else _network(path)


def _network(path: Path) -> Inspection:
    rpk = read_rpk(path)
    try:
        found = read_card(path)
        card = f"{found.name} {found.version} ({found.network}, {found.quantization})"
    except ModelError as error:
        card = f"none that suits: {error}"
    blocks = [Part(f"block {i}", len(body), "firmware") for i, body in enumerate(rpk.bodies)]
    files = [Part(name, len(data)) for name, data in rpk.files.items()]
    intrinsics = {key: value for key, value in rpk.intrinsics.items() if key != "picosam_card"}
    return Inspection(
        kind="network", name=rpk.info.get("networkID", ""), parts=(*blocks, *files),
        info=rpk.info, intrinsics=intrinsics, card=card,
    )  # fmt: skip


def _packed(path: Path) -> Inspection:
    contents = _unzip(path)
    manifest = _manifest(contents, path)
    parts = []
    for role, entry in manifest.items():
        if not isinstance(entry, dict):
            continue
        name, data = str(entry.get("File", "")), contents.get(str(entry.get("File", "")))
        if data is None:
            raise _damaged(path, f"{name} ({role}) inside", "none")
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if digest != str(entry.get("md5", digest)).lower():
            raise _damaged(path, f"{name} with the checksum of its manifest", f"md5 {digest}")
        parts.append(Part(name, len(data), role))
    inputs, outputs = _tensors(contents, path)
    name, version = manifest.get("Network Name", ""), manifest.get("Release Version", "")
    return Inspection("packed", str(name), str(version), tuple(parts), inputs, outputs)


def _unzip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_BYTES:
                raise _damaged(path, f"at most {MOST_BYTES} bytes inside", str(size))
            return {entry.filename: _member(archive, entry) for entry in archive.infolist()}
    except _ZIP_DAMAGE as error:
        raise _damaged(path, "a whole ZIP archive", str(error)) from error


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """A file of the archive, unpacked no further than to the size that it claims."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"compression method {entry.compress_type}, which is not read")
    with archive.open(entry) as file:
        return file.read(entry.file_size + 1)


def _manifest(contents: dict[str, bytes], path: Path) -> dict[str, Any]:
    try:
        manifest = parse_json(contents[MANIFEST])
    except (KeyError, ValueError) as error:
        what = "nothing" if isinstance(error, KeyError) else str(error)
        raise _damaged(path, f"a network's {MANIFEST} (JSON) inside", what) from error
    if not isinstance(manifest, dict):
        raise _damaged(path, f"an object in {MANIFEST}", type(manifest).__name__)
    return manifest


def _tensors(
    contents: dict[str, bytes], path: Path
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs, each in the order in which the sensor counts them."""
    try:
        parser = ElementTree.XMLParser(target=_NoDocumentType())
        root = ElementTree.fromstring(contents[PARAMETERS], parser)
        network = next(root.iter("network"))
        inputs, outputs = (
            tuple(
                _tensor(element)
                for element in sorted(network.iter(tag), key=lambda e: int(e.attrib["ordinal"]))
            )
            for tag in ("inputTensor", "outputTensor")
        )
    except (LookupError, ValueError, StopIteration, ElementTree.ParseError) as error:
        what = f"{type(error).__name__}: {error}"
        raise _damaged(path, f"tensors described in {PARAMETERS}", what) from error
    return inputs, outputs


class _NoDocumentType(ElementTree.TreeBuilder):
    """Refuses what could define entities: one of a few bytes may stand for gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type")


def _tensor(element: ElementTree.Element) -> Tensor:
    sides = sorted(element.iter("dimension"), key=lambda side: int(side.attrib["ordinal"]))
    return Tensor(
        name=element.attrib["name"],
        shape=tuple(int(side.attrib["size"]) for side in sides),
        bits=int(element.attrib["bitsPerElement"]),
        signed=element.attrib["format"] == "signed",
        scale=float(element.attrib["scale"]),
        shift=int(element.attrib["shift"]),
    )


def _damaged(path: Path, expected: str, actual: str) -> ModelError:
    return ModelError(
        f"expected {expected} in {path}, got {actual}",
        hint="Copy the file again, or convert the network again.",
    )
