"""``picosam imx500``: networks for the Raspberry Pi AI Camera."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from picosam_sdk.cli import imx500_settle
from picosam_sdk.errors import InputError, MissingExtraError

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "imx500",
        help="convert networks for the AI Camera, look into them, set the tools up",
        description="Networks for the Raspberry Pi AI Camera (Sony IMX500). 'setup' installs "
        "Sony's tools into an environment of their own, 'convert' takes a model through them, "
        "'package' makes the file for the camera of the result, on a Raspberry Pi.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_setup(actions)
    _add_convert(actions)
    _add_package(actions)
    _add_inspect(actions)
    imx500_settle.add_action(actions, run=run, action=imx500_settle.calibrate)


def run(args: argparse.Namespace) -> int:
    return int(args.action(args))


def _add_setup(actions: Any) -> None:
    parser = actions.add_parser(
        "setup",
        help="install Sony's tools into an environment of their own",
        description="Makes a virtual environment and installs Sony's Model Compression Toolkit "
        "and IMX500 converter into it, in versions that work together (about 2 GB). The converter "
        "is proprietary: its licence comes with it. Converting also needs Java 17.",
    )
    parser.add_argument(
        "--tools", type=Path, metavar="DIR",
        help="the environment (default: that of PICOSAM_IMX500_VENV, or one in your data folder)",
    )  # fmt: skip
    parser.add_argument(
        "--python", default=sys.executable, help="Python 3.10 to 3.12 to make it with"
    )
    parser.set_defaults(run=run, action=_setup)


def _add_convert(actions: Any) -> None:
    parser = actions.add_parser(
        "convert",
        help="convert a model for the camera",
        description="Quantizes a float32 model for the sensor and converts it: packerOut.zip, the "
        "memory report, and the very same network as a plain ONNX model that runs on any CPU. On "
        "a Raspberry Pi it goes on to network.rpk.",
        epilog="Example: picosam imx500 convert runs/lite/weights.pt --calibration data/train "
        "-o camera",
    )
    parser.add_argument("model", type=Path, help="weights.pt, or a float32 .onnx with its card")
    parser.add_argument(
        "--calibration", type=Path, nargs="+", required=True, metavar="PATH",
        help="training shards (.tar), photographs, or folders of them",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder")
    parser.add_argument("--name", default="", help="of the network (default: the file's)")
    parser.add_argument(
        "--samples", type=_count, default=128, metavar="N",
        help="crops to calibrate on, and as many to compare on (default: 128)",
    )  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures to measure mIoU on")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="their masks (COCO)")
    parser.add_argument(
        "--report-only", action="store_true", help="stop once it is known whether it fits"
    )
    parser.add_argument("--tools", type=Path, metavar="DIR", help="environment of Sony's tools")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run, action=_convert)


def _add_package(actions: Any) -> None:
    parser = actions.add_parser(
        "package",
        help="make network.rpk of a converted model, on a Raspberry Pi",
        description="Runs imx500-package on a folder that 'convert' filled, and writes the card "
        "of the network file beside it.",
    )
    parser.add_argument("folder", type=Path)
    parser.set_defaults(run=run, action=_package)


def _add_inspect(actions: Any) -> None:
    parser = actions.add_parser(
        "inspect",
        help="show what is in a packerOut.zip or a .rpk",
        description="Shows what is in a packerOut.zip or a .rpk, and whether it is whole: input "
        "format, outputs, normalisation, intrinsics, blocks.",
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run, action=_inspect)


def _setup(args: argparse.Namespace) -> int:
    import os

    from picosam_sdk.export.imx500_tools import VENV_VARIABLE, default_venv, set_up_tools

    named = os.environ.get(VENV_VARIABLE)
    venv = args.tools or (Path(named) if named else default_venv())
    tools = set_up_tools(venv, args.python, _say)
    print(f"Sony's tools are ready: {tools.converter}")
    if args.tools is not None:
        print(f"Name them with --tools {venv} or {VENV_VARIABLE}={venv}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    if (args.images is None) != (args.annotations is None):
        given = "--images" if args.annotations is None else "--annotations"
        raise InputError(
            f"expected --images and --annotations together, got only {given}",
            hint="Give both, or none to leave the measurement out.",
        )
    try:
        from picosam_sdk.export.imx500 import convert
        from picosam_sdk.export.imx500_tools import find_tools
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "export") from error
    from dataclasses import asdict

    done = convert(
        args.model, args.out, args.calibration, find_tools(args.tools), name=args.name,
        samples=args.samples, report_only=args.report_only, say=_say,
    )  # fmt: skip
    miou = None
    if args.images is not None:
        miou = _measure((done.float_model, done.twin), args.annotations, args.images)
    if args.json:
        report = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(done).items()
        }
        print(json.dumps(report | {"miou": miou}, indent=2))
        return 0
    print(done.memory.table())
    a = done.agreement
    print(f"\nINT8 masks against float32 masks on {a.crops} crops: IoU {a.mask_iou:.4f}")
    if miou is not None:
        print(f"mIoU on {args.annotations.name}: float32 {100 * miou['float32']:.2f} %, "
              f"INT8 {100 * miou['int8']:.2f} %")  # fmt: skip
    print(f"\nwrote {done.twin} (the same network for a CPU)")
    if done.packed is not None:
        print(f"wrote {done.packed}")
    if done.network is not None:
        print(f"wrote {done.network}")
    elif done.packed is not None:
        print(f"Copy {done.folder} to a Raspberry Pi and run there:")
        print(f"  picosam imx500 package {done.folder.name}")
    return 0


def _measure(models: tuple[Path, Path], annotations: Path, images: Path) -> dict[str, float]:
    """mIoU of the float32 and the INT8 model by the paper's protocol."""
    from tqdm import tqdm

    from picosam_sdk.backends.onnx import OnnxBackend
    from picosam_sdk.evaluation.annotations import read_dataset
    from picosam_sdk.evaluation.protocol import evaluate

    dataset = read_dataset(annotations, images)
    found: dict[str, float] = {}
    with tqdm(total=2 * len(dataset.instances), unit="object", desc="measuring") as bar:
        for kind, path in zip(("float32", "int8"), models, strict=True):
            backend = OnnxBackend(path)
            found[kind] = evaluate(backend, dataset, progress=bar.update).summary()["miou"]
            backend.close()
    return found


def _package(args: argparse.Namespace) -> int:
    from picosam_sdk.export.imx500_package import package

    print(f"wrote {package(args.folder)}")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from picosam_sdk.export.imx500_inspect import inspect_file

    found = inspect_file(args.file)
    print(json.dumps(asdict(found), indent=2) if args.json else "\n".join(found.lines()))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value
