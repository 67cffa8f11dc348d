"""The sensor's network file (``.rpk``): firmware blocks, then a CPIO archive that describes them.

A block is a header (magic ``9464``, size of header and body as a big-endian number), the body,
and a footer of 64 bytes that ends in ``3695``. The archive holds ``network_info.txt`` (what the
input looks like) and, optionally, ``network_intrinsics`` (JSON).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picosam_sdk.errors import ModelError
from picosam_sdk.limits import parse_json, read_limited

__all__ = ["MAX_BYTES", "Rpk", "read_rpk"]

MAX_BYTES = 64 * 1024**2
"""The longest network file that is read; the sensor has 8 MB of memory."""

BLOCK_MAGIC, FOOTER_MAGIC = b"9464", b"3695"
HEADER_BYTES, FOOTER_BYTES = 32, 64
CPIO_MAGIC, CPIO_HEADER_BYTES = b"070701", 110
CPIO_END = "TRAILER!!!"

_HINT = "Copy the file again, or package the network again with imx500-package."


@dataclass(frozen=True, slots=True)
class Rpk:
    """What a network file says.

    Args:
        bodies: the body of each firmware block.
        files: the archive's files by name.
        info: keys and values of ``network_info.txt``; those of network 0 are in it as well.
        intrinsics: ``network_intrinsics``, empty if there is none.
    """

    bodies: tuple[bytes, ...] = field(repr=False)
    files: dict[str, bytes] = field(repr=False)
    info: dict[str, str]
    intrinsics: dict[str, Any]

    @property
    def input_size(self) -> tuple[int, int]:
        """``(width_px, height_px)`` of the network's input."""
        return int(self.info["inputTensorWidth"]), int(self.info["inputTensorHeight"])


def read_rpk(path: Path) -> Rpk:
    """Reads and checks a network file.

    Raises:
        ModelError: it is missing, cut off, or does not describe a network.
    """
    try:
        data = read_limited(path, MAX_BYTES)
    except OSError as error:
        raise ModelError(
            f"expected the sensor's network file at {path}, got: {error}",
            hint="Give the path of a .rpk file; 'picosam imx500 convert' shows how to make one.",
        ) from error
    bodies, archive_at = _blocks(data, path)
    files = _archive(data, archive_at, path)
    try:
        info = _pairs(files["network_info.txt"].decode("ascii"))
        int(info["inputTensorWidth"]), int(info["inputTensorHeight"])
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"expected {path} to hold network_info.txt with the size of the input, "
            f"got {type(error).__name__}: {error}",
            hint=_HINT,
        ) from error
    try:
        intrinsics = parse_json(files.get("network_intrinsics", b"{}"))
    except ValueError as error:
        raise ModelError(
            f"expected JSON in network_intrinsics of {path}, got: {error}", hint=_HINT
        ) from error
    return Rpk(tuple(bodies), files, info, intrinsics if isinstance(intrinsics, dict) else {})


def _blocks(data: bytes, path: Path) -> tuple[list[bytes], int]:
    """The bodies of the firmware blocks, and where the archive begins."""
    bodies: list[bytes] = []
    at = 0
    while data[at : at + 4] == BLOCK_MAGIC:
        header = data[at : at + HEADER_BYTES]
        size = struct.unpack(">I", header[4:8])[0] if len(header) == HEADER_BYTES else 0
        end = at + size + FOOTER_BYTES
        if size < HEADER_BYTES or data[end - 4 : end] != FOOTER_MAGIC:
            raise ModelError(
                f"expected a whole firmware block at byte {at} of {path}, "
                f"got one that is cut off or damaged ({len(data)} bytes in all)",
                hint=_HINT,
            )
        bodies.append(data[at + HEADER_BYTES : at + size])
        at = end + (32 if header[14] & 1 else 0)  # a device lock follows the footer
    if not bodies:
        raise ModelError(
            f"expected {path} to begin with a firmware block ('9464'), got {data[:4]!r}",
            hint="Give a .rpk file: packerOut.zip must go through imx500-package first.",
        )
    return bodies, at


def _archive(data: bytes, at: int, path: Path) -> dict[str, bytes]:
    """The files of a CPIO archive in the 'newc' format."""
    files: dict[str, bytes] = {}
    while True:
        header = data[at : at + CPIO_HEADER_BYTES]
        if len(header) < CPIO_HEADER_BYTES or header[:6] != CPIO_MAGIC:
            raise ModelError(
                f"expected a CPIO entry at byte {at} of {path}, got {header[:6]!r}", hint=_HINT
            )
        try:
            size, name_size = _hexadecimal(header[54:62]), _hexadecimal(header[94:102])
        except ValueError as error:
            raise ModelError(f"expected CPIO sizes in {path}, got: {error}", hint=_HINT) from error
        begin = at + CPIO_HEADER_BYTES
        name = data[begin : begin + name_size - 1].decode("utf-8", "replace")
        if name == CPIO_END:
            return files
        begin = _aligned(begin + name_size - at) + at
        if begin + size > len(data):
            raise ModelError(
                f"expected {size} bytes of '{name}' in {path}, got {max(0, len(data) - begin)}",
                hint=_HINT,
            )
        files[name] = data[begin : begin + size]
        at = _aligned(begin + size - at) + at


def _hexadecimal(digits: bytes) -> int:
    """Digits alone: ``int`` would take a sign, too, and the archive be read in a circle."""
    return int.from_bytes(bytes.fromhex(digits.decode("ascii")), "big")


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


def _pairs(text: str) -> dict[str, str]:
    """Lines of ``key=value``; of several networks, the first one's."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            pairs.setdefault(key.strip(), value.strip())
    return pairs
