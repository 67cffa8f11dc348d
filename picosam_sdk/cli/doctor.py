"""``picosam doctor``: what is here, what works, and why the rest does not."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picosam_sdk.errors import PicoSamError, PluginError

if TYPE_CHECKING:
    from picosam_sdk.interfaces import Backend

__all__ = ["add_parser", "run"]

_PACKAGES = (
    "picosam-sdk", "numpy", "pluggy", "opencv-python-headless", "onnxruntime", "tqdm",
    "torch", "onnx", "picamera2",
)  # fmt: skip


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "doctor",
        help="show versions, the model, backends, and what is missing",
        description="Shows versions, the model's card and hash, backends and plugins and why "
        "one is unavailable, OpenCV and onnxruntime builds, CPU features and free memory. "
        "Exit code 1 if the shipped model does not run here.",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument(
        "--bench", action="store_true", help="also time the whole path against the bare network"
    )
    parser.add_argument(
        "--sensor", type=Path, metavar="RPK",
        help="also open the AI Camera with this network, watch it for a moment, show its state",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    report = {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": _cpu(),
        "memory": _memory(),
        "opencv": _opencv(),
        "onnxruntime": _onnxruntime(),
        **_backends(),
        "sensor": _sensor(args.sensor),
        "model": _model(),
    }
    if args.bench and report["model"]["ok"]:
        from picosam_sdk.bench import whole_path

        report["bench"] = whole_path()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 0 if report["model"]["ok"] else 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    """The features that decide how fast INT8 runs: VNNI on x86, dot product and i8mm on ARM."""
    import os

    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "fphp")
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        words = set()
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "features": [feature for feature in wanted if feature in words],
    }


def _memory() -> dict[str, int | None]:
    """Total and available memory in MiB, where /proc tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    except (OSError, ValueError, IndexError):
        kib = {}
    return {
        "total_mib": kib["MemTotal"] // 1024 if "MemTotal" in kib else None,
        "available_mib": kib["MemAvailable"] // 1024 if "MemAvailable" in kib else None,
    }


def _opencv() -> dict[str, Any]:
    try:
        import cv2
    except ImportError as error:
        return {"problem": str(error)}
    lines = [line.strip() for line in cv2.getBuildInformation().splitlines()]
    keep = ("Baseline:", "Dispatched code generation:", "Parallel framework:", "GUI:")
    return {
        "version": cv2.__version__,
        "build": [" ".join(line.split()) for line in lines if line.startswith(keep)],
    }


def _onnxruntime() -> dict[str, Any]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        return {"problem": str(error)}
    return {
        "version": ort.__version__,
        "build": " ".join(ort.get_build_info().split()),
        "providers": ort.get_available_providers(),
    }


def _backends() -> dict[str, Any]:
    import warnings

    from picosam_sdk.plugins import Plugins, PluginWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # what it would say is in the report
        plugins = Plugins()
        plugins.offers()
    try:
        backends = {name: _availability(cls) for name, cls in plugins.backends().items()}
    except PluginError as error:
        backends = {"problem": str(error)}
    records: dict[str, str] = {}
    for record in plugins.records:
        name = record.name if record.name not in records else f"{record.name} of {record.origin}"
        shown = f"{record.version} from {record.origin}".strip()
        records[name] = f"{record.state}: {record.problem}" if record.problem else shown
    return {"backends": backends, "plugins": records}


def _availability(backend: type[Backend]) -> str:
    try:
        return backend.unavailable() or "available"
    except Exception as error:  # a plugin's own code
        return f"{type(error).__name__}: {error}"


def _sensor(network: Path | None) -> dict[str, Any]:
    """The AI Camera's surroundings and, if a network is given, what the camera does with it."""
    from picosam_sdk.backends.imx500.probe import facts

    found = facts()
    if network is None:
        return found
    from picosam_sdk.segmenter import Segmenter
    from picosam_sdk.types import Roi

    try:
        with Segmenter("imx500", model=network) as segmenter:
            mask = segmenter.segment(roi=Roi(0.3, 0.3, 0.4, 0.4))
            live = {"score": round(mask.score, 3), **segmenter.timings_ms}
            return found | {"first_mask": live, "stats": segmenter.backend.stats}
    except PicoSamError as error:
        return found | {"problem": str(error), "hint": error.hint}


def _model() -> dict[str, Any]:
    """Opens the shipped model and runs it once."""
    from picosam_sdk.modelcard import DEFAULT_MODEL
    from picosam_sdk.plugins import Plugins
    from picosam_sdk.segmenter import Segmenter

    facts: dict[str, Any] = {"path": str(DEFAULT_MODEL)}
    try:
        # Whether the model works here has nothing to do with other people's plugins.
        with Segmenter(plugins=Plugins(discover=False)) as segmenter:
            card = json.loads(segmenter.card.to_json())
    except PicoSamError as error:
        return facts | {"ok": False, "problem": str(error), "hint": error.hint}
    return facts | {"ok": True, "size_bytes": DEFAULT_MODEL.stat().st_size, "card": card}


def _print(report: dict[str, Any]) -> None:
    for key in ("python", "platform"):
        print(f"{key:<12} {report[key]}")
    cpu, memory = report["cpu"], report["memory"]
    print(f"{'cpu':<12} {cpu['machine']}, {cpu['cores']} cores, {' '.join(cpu['features']) or '-'}")
    print(f"{'memory':<12} {memory['available_mib']} of {memory['total_mib']} MiB available")
    for title in ("packages", "backends", "sensor", "plugins"):
        print(f"\n{title}")
        for name, value in report[title].items():
            absent = "none" if title == "sensor" else "not installed"
            print(f"  {name:<24} {value or absent}")
    for title in ("opencv", "onnxruntime"):
        print(f"\n{title}")
        for name, value in report[title].items():
            shown = "\n           ".join(value) if isinstance(value, list) else value
            print(f"  {name:<8} {shown}")
    model = report["model"]
    print(f"\nmodel\n  {model['path']}")
    if not model["ok"]:
        print(f"  does not work: {model['problem']}\n  {model['hint']}")
        return
    card = model["card"]
    print(
        f"  {card['name']} {card['version']}, {card['quantization']}, {model['size_bytes']} bytes"
    )
    print(f"  {card['parameters']} parameters, {card['macs']} MACs, sha256 {card['sha256']}")
    for name, value in card["metrics"].items():
        print(f"  {name:<24} {value}")
    if "bench" in report:
        print("\nbench (one run, interleaved, medians)")
        for name, value in report["bench"].items():
            print(f"  {name:<24} {value}")
