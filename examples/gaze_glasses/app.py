"""Smart glasses: what the wearer looks at is segmented, followed, announced and published.

    python examples/gaze_glasses/app.py [-o out/demo/glasses]

Without options a recording is replayed that is made from the SDK's photographs, with a broker in
this process; a subscriber decodes the masks and holds them against the recording's truth. With
--config your own picosam.toml is run instead: copy glasses.toml beside this file and name your
glasses and camera in it (picosam-gaze reads Pupil Labs, LSL, UDP and MQTT).
"""

from __future__ import annotations

import argparse
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
    args = parser.parse_args()
    plugins = Plugins()
    plugins.register(parts, "glasses")
    try:
        if args.config:
            return run_own(args.config, plugins)
        return run_clip(args.out, plugins)
    except PicoSamError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return 1


def run_own(path: Path, plugins: Plugins) -> int:
    """The user's own configuration, until it ends or is interrupted."""
    with app.build(app.load(path), plugins) as application:
        try:
            application.run()
        except KeyboardInterrupt:
            application.stop()
    return 0


def run_clip(out: Path, plugins: Plugins) -> int:
    """The recording, a broker and a subscriber in this process; prints and draws how it went."""
    if not (out / "clip" / "truth.json").exists():
        clip.make_clip(out / "clip")
    shutil.copy(HERE / "glasses.toml", out)
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
