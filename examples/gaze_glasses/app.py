"""Smart glasses: what the wearer looks at is segmented, followed, announced and published.

    python examples/gaze_glasses/app.py [-o out/demo/glasses]
    python examples/gaze_glasses/app.py --backend imx500-emulated
    python examples/gaze_glasses/app.py --source pupil-labs --calibration calibration.json

Without options a recording is replayed that is made from the SDK's photographs, with a broker in
this process; a subscriber decodes the masks and holds them against the recording's truth. With
other gaze or another backend it runs until Ctrl-C, or to the recording's end. The calibration of
your glasses' camera to the other is made by 'picosam gaze calibrate'. For all else copy
glasses.toml beside this file, change it, and name it with --config.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import clip  # noqa: E402
import parts  # noqa: E402
import report  # noqa: E402
from picosam_mqtt.broker import DemoBroker  # noqa: E402

from picosam_sdk import PicoSamError, Plugins, app  # noqa: E402
from picosam_sdk.settings import CameraTable, SegmenterTable  # noqa: E402

CLIP_ON_SENSOR = (0, 380, 4056, 2280)
"""Where a 16:9 picture lies on the sensor: x, y, width, height in its pixels."""

SOURCES = {
    "pupil-labs": {"kind": "pupil-labs"},
    "lsl": {"kind": "lsl"},
    "udp": {"kind": "udp", "port": 7005},
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("out/demo/glasses"), metavar="DIR",
        help="where clip, film and figures go (default: out/demo/glasses)",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="TOML", help="run this instead, until Ctrl-C"
    )
    parser.add_argument(
        "--source", default="replay", choices=("replay", *SOURCES),
        help="where the gaze comes from (default: replay)",
    )  # fmt: skip
    parser.add_argument("--calibration", type=Path, metavar="JSON", help="glasses to camera")
    parser.add_argument(
        "--backend", default="onnx", choices=("onnx", "imx500-emulated", "imx500"),
        help="what runs the network (default: onnx)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="RPK", help="the network file of the backend imx500")
    parser.add_argument("--camera", default="0", help="webcam of the backend onnx (default: 0)")
    args = parser.parse_args()
    plugins = Plugins()
    plugins.register(parts, "glasses")
    try:
        if args.config:
            return run_own(app.load(args.config), plugins)
        make_clip(args.out)
        if args.source == "replay" and args.backend == "onnx":
            return run_clip(args.out, plugins)
        with DemoBroker() as broker:
            config = report.with_port(app.load(args.out / "glasses.toml"), broker.port)
            config = with_options(config, args)
            print(f"masks go to the broker at {broker.host}:{broker.port}; Ctrl-C ends it")
            return run_own(config, plugins)
    except PicoSamError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return 1


def make_clip(out: Path) -> None:
    """The recording and its configuration, if they are not there."""
    if not (out / "clip" / "truth.json").exists():
        clip.make_clip(out / "clip")
    shutil.copy(HERE / "glasses.toml", out)


def with_options(config: app.FileConfig, args: argparse.Namespace) -> app.FileConfig:
    """The configuration with the gaze source and the backend of the command line."""
    (roi,) = config.roi
    publish = tuple(table for table in config.publish if table.kind != "film")
    camera, segmenter, run = config.camera, config.segmenter, config.run
    if args.source != "replay":
        gaze = {**roi.options, "source": SOURCES[args.source]}
        del gaze["mapping"]  # glasses and camera are two, so a calibration must be given
        if args.calibration:
            gaze["calibration"] = str(args.calibration.absolute())
        roi = dataclasses.replace(roi, options=gaze)
        device = int(args.camera) if args.camera.isdigit() else args.camera
        camera = CameraTable("webcam", {"device": device})
    if args.backend != "onnx":
        options: dict[str, Any] = {"model": args.model} if args.model else {}
        if args.backend == "imx500-emulated" and args.source == "replay":
            # The camera looks at the recording; its view is that part of the 4:3 sensor.
            scene = str((args.out / "clip" / "scene.mp4").absolute())
            options = {"scene": scene, "view": list(CLIP_ON_SENSOR), "fps": 20.0}
            run = dataclasses.replace(run, max_frames=240)
        camera, segmenter = None, SegmenterTable(args.backend, options)
    return dataclasses.replace(
        config, camera=camera, segmenter=segmenter, run=run, roi=(roi,), publish=publish
    )


def run_own(config: app.FileConfig, plugins: Plugins) -> int:
    """Any configuration, until it ends or is interrupted."""
    with app.build(config, plugins) as application:
        try:
            application.run()
        except KeyboardInterrupt:
            application.stop()
        stats = application.stats()
    print(f"{stats['frames']} frames, {stats['masks']} with a mask")
    return 0


def run_clip(out: Path, plugins: Plugins) -> int:
    """The recording, a broker and a subscriber in this process; prints and draws how it went."""
    with DemoBroker() as broker, report.Subscriber(broker.host, broker.port) as subscriber:
        config = report.with_port(app.load(out / "glasses.toml"), broker.port)
        with app.build(config, plugins) as application:
            application.run(on_status=show_status)
            stats = application.stats()
        subscriber.wait_for(stats["publisher"]["mqtt"]["sent"])
    figures = report.score(out, subscriber, stats)
    (out / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    report.print_figures(figures)
    report.plot(out, figures)
    report.save_still(out, figures)
    print(f"pictures: {out}/glasses.mp4, glasses.jpg, figure.png; numbers: figures.json")
    return 0


def show_status(stats: dict[str, Any]) -> None:
    """One line of how it goes."""
    gaze = stats["roi"]["gaze"]["own"]
    print(
        f"[{stats['uptime_s']:4.1f} s] {stats['fps']:.0f} frames a second, eye: {gaze['eye']}, "
        f"looking at: {gaze['target']}, masks: {stats['masks']}"
    )


if __name__ == "__main__":
    sys.exit(main())
