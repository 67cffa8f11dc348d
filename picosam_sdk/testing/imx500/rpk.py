"""Makes a network file for the emulated sensor out of an ONNX model.

Its firmware block holds the ONNX file itself, which a real sensor could not run; everything
around it is as in a real one, so that the real readers read it.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

from picosam_sdk.modelcard import ModelCard
from picosam_sdk.rpk import BLOCK_MAGIC, CPIO_END, CPIO_MAGIC, FOOTER_BYTES, FOOTER_MAGIC

__all__ = ["block_content", "build_rpk", "cpio", "firmware_block", "network_info"]

_Y_OUT_REGISTERS = (0xD6F4, 0xD6F8)  # lines of the input and of the output tensor


def build_rpk(model: Path, out: Path) -> Path:
    """Writes a network file with its card beside it.

    Args:
        model: an ONNX model of the SDK, its card beside it.
        out: the .rpk file to write.

    Returns:
        ``out``.
    """
    card = ModelCard.read(model)
    files = {
        "network_info.txt": network_info(card.crop.size_px).encode("ascii"),
        "network_intrinsics": json.dumps({"task": "segmentation", "inference_rate": 30}).encode(),
        "imx500_regs": b"".join(struct.pack("<HBI", at, 2, 64) for at in _Y_OUT_REGISTERS),
    }
    out.write_bytes(firmware_block(model.read_bytes()) + cpio(files))
    dataclasses.replace(card, sha256="").write(out)
    return out


def firmware_block(body: bytes) -> bytes:
    """One block: header, body (its length, it, and zeros up to a multiple of 4), footer."""
    body = struct.pack(">I", len(body)) + body + bytes(-len(body) % 4)
    header = BLOCK_MAGIC + struct.pack(">I", 32 + len(body)) + bytes(24)
    return header + body + bytes(FOOTER_BYTES - 4) + FOOTER_MAGIC


def block_content(body: bytes) -> bytes:
    """What :func:`firmware_block` put into a block's body."""
    return body[4 : 4 + struct.unpack(">I", body[:4])[0]]


def cpio(files: dict[str, bytes]) -> bytes:
    """A CPIO archive in the 'newc' format."""
    out = b""
    for inode, (name, data) in enumerate({**files, CPIO_END: b""}.items(), 1):
        encoded = name.encode() + b"\0"
        numbers = (inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        entry = CPIO_MAGIC + b"".join(b"%08X" % number for number in numbers) + encoded
        entry += bytes(-len(entry) % 4) + data
        out += entry + bytes(-len(entry) % 4)
    return out


def network_info(size_px: int) -> str:
    """The text that describes the input: RGB bytes, handed to the network as they are."""
    lines = [
        "networkID=000100", "apParamSize=2048", "networkNum=1", "networkOrdinal=0",
        f"inputTensorWidth={size_px}", f"inputTensorHeight={size_px}", "inputTensorFormat=RGB",
    ]  # fmt: skip
    for row in range(3):
        for column in range(4):
            value = 0x400 if row == column else 0x000
            lines.append(f"inputTensorNorm_K{row}{column}=0x{value:03X}")
    return "\n".join(lines) + "\n"
