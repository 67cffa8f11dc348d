"""The last step to the sensor's network file, on the Raspberry Pi; the SDK's core is enough."""

from __future__ import annotations

import shutil
from pathlib import Path

from picosam_sdk.errors import ModelError, UnavailableError
from picosam_sdk.export.imx500_tools import explain_failure, run_tool
from picosam_sdk.modelcard import ModelCard

__all__ = ["NETWORK", "PACKAGER", "PACKED", "SUFFIX", "package"]

PACKAGER = "imx500-package"
PACKED = "packerOut.zip"
NETWORK = "network.rpk"
SUFFIX = "-imx500"
"""In the name of the plain ONNX model of a converted network."""


def package(folder: Path) -> Path:
    """Makes network.rpk and its card of a converted folder; on Raspberry Pi OS.

    Args:
        folder: that :func:`convert` filled.

    Returns:
        The network file.

    Raises:
        UnavailableError: imx500-package is not there.
        ModelError: the folder does not hold a conversion, or imx500-package failed.
    """
    program = shutil.which(PACKAGER)
    if program is None:
        raise UnavailableError(
            f"expected the program {PACKAGER} on PATH, found none",
            hint="On Raspberry Pi OS, install it with: sudo apt install imx500-tools",
        )
    twins = sorted(folder.glob(f"*{SUFFIX}.onnx"))
    if not (folder / PACKED).is_file() or len(twins) != 1:
        raise ModelError(
            f"expected {PACKED} and one *{SUFFIX}.onnx with its card in {folder}, "
            f"got {len(twins)} of the latter",
            hint="Give the folder that 'picosam imx500 convert' filled.",
        )
    card, log = ModelCard.read(twins[0]), folder / f"{PACKAGER}.log"
    status, output = run_tool([program, "-i", folder / PACKED, "-o", folder], log)
    network = folder / NETWORK
    if status != 0 or not network.is_file():
        raise explain_failure(PACKAGER, status, output, log)
    card.write(network)
    return network
