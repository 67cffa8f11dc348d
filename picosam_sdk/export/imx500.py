"""From a float32 model to a network for the IMX500, through Sony's tools.

::

    weights.pt -> float32 ONNX -> the sensor's operators -> MCT: INT8 -> imxconv-pt: packerOut.zip
                                                                 \\-> the same network, plain ONNX

The last step to network.rpk is made on Raspberry Pi OS, where ``imx500-package`` is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.errors import InputError, ModelError
from picosam_sdk.export.calibration import Agreement, Crops, compare, read_crops
from picosam_sdk.export.imx500_graph import sensor_graph
from picosam_sdk.export.imx500_memory import MemoryReport, read_memory_report
from picosam_sdk.export.imx500_package import PACKAGER, PACKED, SUFFIX, package
from picosam_sdk.export.imx500_tools import Tools, check_java, explain_failure, run_tool
from picosam_sdk.export.imx500_twin import plain_twin
from picosam_sdk.export.quantize import read_float_model
from picosam_sdk.export.save import save_model
from picosam_sdk.modelcard import ModelCard

__all__ = ["Conversion", "convert"]

COMPARED = 8
"""Crops on which the plain network must give MCT's values."""
SCRIPT_CODE = 3

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What :func:`convert` made.

    Args:
        folder: that holds it all.
        float_model, twin: the float32 model; the sensor's network as a plain ONNX model.
        memory: on the chip.
        agreement: of the two models' masks.
        packed: for imx500-package; None if only the report was asked for.
        network: the sensor's network file; None off a Raspberry Pi.
    """

    folder: Path
    float_model: Path
    twin: Path
    memory: MemoryReport
    agreement: Agreement
    packed: Path | None
    network: Path | None


def convert(
    model: Path,
    out: Path,
    calibration: Sequence[Path],
    tools: Tools,
    *,
    name: str = "",
    samples: int = 128,
    seed: int = 0,
    report_only: bool = False,
    say: Say = print,
) -> Conversion:
    """Converts a model for the sensor; see the module's description.

    Args:
        model: weights.pt of a training run, or a float32 .onnx model with its card.
        out: folder to make or to fill.
        calibration: training shards, pictures, or folders of them.
        name: of the network; the model's file name unless given.
        samples: crops to calibrate on, and again as many others to compare on.
        report_only: stop once it is known whether the network fits.
        say: is told each step.

    Raises:
        ModelError: the model cannot be read or converted, or does not fit on the chip.
        InputError: there is nothing to calibrate on.
        UnavailableError: a tool is missing.
    """
    check_java()
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    float_model = _float_model(model, out, name)
    source, card = read_float_model(float_model)
    crops, others = read_crops(calibration, card.crop, samples, seed)
    name = name or float_model.stem
    say(f"quantizing with Sony's Model Compression Toolkit on {len(crops.images)} crops")
    quantized = _quantize(source, crops, tools, work, name)
    say("checking the plain ONNX model against it")
    twin = out / f"{name}{SUFFIX}.onnx"
    agreement = _make_twin(quantized, card, twin, float_model, others, tools, work)
    say("converting with imxconv-pt")
    memory = _pack(quantized, tools, out, work, report_only, say)
    card = ModelCard.read(twin)
    card = replace(card, metrics={**card.metrics, "imx500_memory": asdict(memory)})
    save_model(onnx.load(twin), card, twin)
    packed = None if report_only else out / PACKED
    network = package(out) if packed is not None and shutil.which(PACKAGER) else None
    return Conversion(out, float_model, twin, memory, agreement, packed, network)


def _float_model(model: Path, out: Path, name: str) -> Path:
    """The model itself, or the one that its weights are exported to."""
    if model.suffix == ".onnx":
        return model
    if model.suffix != ".pt":
        raise InputError(
            f"expected weights (.pt) or a model (.onnx), got {model}",
            hint="Give the weights.pt of a training run, or what 'picosam export' made of it.",
        )
    from picosam_sdk.export.onnx import export_weights

    path = out / f"{name or model.stem}.onnx"
    export_weights(model, path, name=name)
    return path


def _script(tools: Tools, *arguments: str | Path) -> list[str | Path]:
    """Command that runs our script in the tools' environment, and nothing else of ours."""
    return [tools.python, "-I", Path(__file__).with_name("imx500_mct.py"), *arguments]


def _quantize(source: onnx.ModelProto, crops: Crops, tools: Tools, work: Path, name: str) -> Path:
    """Runs MCT; returns the model that it wrote."""
    sensor, images = work / "sensor.onnx", work / "calibration.npy"
    onnx.save(sensor_graph(source), sensor)
    np.save(images, crops.images)
    quantized, log = work / f"{name}.onnx", work / "mct.log"
    quantized.unlink(missing_ok=True)
    status, output = run_tool(_script(tools, "quantize", sensor, images, quantized), log)
    images.unlink()
    if status == SCRIPT_CODE:
        raise ModelError(
            output.strip().splitlines()[-1], hint="Express it by operators that the sensor knows."
        )
    if status != 0 or not quantized.is_file():
        raise explain_failure("the Model Compression Toolkit", status, output, log)
    return quantized


def _make_twin(
    quantized: Path,
    card: ModelCard,
    twin: Path,
    float_model: Path,
    others: Crops,
    tools: Tools,
    work: Path,
) -> Agreement:
    """Writes the plain model and its card; makes sure that it is the very same network."""
    plain = plain_twin(onnx.load(quantized), card.crop.size_px)
    card = replace(card, name=twin.stem, quantization="int8", metrics={})
    save_model(plain, card, twin)
    images, log = work / "compared.npy", work / "compare.log"
    np.save(images, others.images[:COMPARED])
    status, output = run_tool(_script(tools, "compare", quantized, images, twin), log)
    images.unlink()
    if status != 0:
        raise explain_failure("the comparison of the two networks", status, output, log)
    worst: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    if any(worst.values()):
        raise ModelError(
            f"expected the plain model to give MCT's values bit for bit, got differences {worst}",
            hint=f"This is a defect of the SDK; please report it with {quantized}.",
        )
    one, other = OnnxBackend(float_model), OnnxBackend(twin)
    agreement = compare(one, other, others)
    one.close()
    other.close()
    save_model(plain, replace(card, metrics={"against_float": asdict(agreement)}), twin)
    return agreement


def _pack(
    quantized: Path, tools: Tools, out: Path, work: Path, report_only: bool, say: Say
) -> MemoryReport:
    """Runs the converter and moves what it made to where the user looks for it."""
    made, scratch, log = work / "imxconv", work / "tmp", work / "imxconv.log"
    shutil.rmtree(made, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    command: list[str | Path] = [
        tools.converter, "-i", quantized, "-o", made, "--overwrite-output",
        "--report-size-unit", "B", *(["--memory-report"] if report_only else []),
    ]  # fmt: skip
    status, output = run_tool(command, log, environment={"TMPDIR": str(scratch)})
    shutil.rmtree(scratch, ignore_errors=True)
    report = made / f"{quantized.stem}_MemoryReport.json"
    if not report.is_file() or (status != 0 and not _too_large(report)):
        raise explain_failure("imxconv-pt", status, output, log)
    memory = read_memory_report(report)
    for path in (report, made / "dnnParams.xml", made / PACKED):
        (out / path.name).unlink(missing_ok=True)
        if path.is_file():
            shutil.copyfile(path, out / path.name)
    if not memory.fits:
        say(memory.table())
        raise ModelError(
            f"expected a network that fits into {memory.available / 2**20:.2f} MB on the chip, "
            f"got one that needs {memory.used / 2**20:.2f} MB",
            hint="Make it narrower, or its input smaller; features count more than weights.",
        )
    return memory


def _too_large(report: Path) -> bool:
    return not read_memory_report(report).fits
