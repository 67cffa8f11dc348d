"""A shelf that says what is put on it and what is taken away, without a picture leaving.

    python examples/mqtt_iot/shelf/app.py [-o out/shelf]

Without options a film is watched that is made of the SDK's photographs, with a broker in this
process; what comes over MQTT is printed and held against what happened. With --config your own
picosam.toml is run instead: copy shelf.toml beside this file, and name your camera, your places
and your broker in it. The places must be empty while they are learnt, for some seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import parts  # noqa: E402
import report  # noqa: E402
import scene  # noqa: E402
from picosam_mqtt.broker import DemoBroker  # noqa: E402

from picosam_sdk import PicoSamError, Plugins, app  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("out/shelf"), metavar="DIR",
        help="where film, figures and picture go (default: out/shelf)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="of the film's noise and textures (default: 1)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="TOML", help="run this instead, until Ctrl-C"
    )
    args = parser.parse_args()
    plugins = Plugins()
    plugins.register(parts, "shelf")
    try:
        if args.config:
            return run_own(args.config, plugins)
        return run_film(args.out, args.seed, plugins)
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


def run_film(out: Path, seed: int, plugins: Plugins) -> int:
    """The film, a broker and a listener in this process; prints and draws how it went."""
    scene.make_scene(out / "film", seed=seed)
    shutil.copy(HERE / "shelf.toml", out)
    (out / "empty.npz").unlink(missing_ok=True)
    with DemoBroker() as broker, report.Listener(broker.host, broker.port) as listener:
        config = report.with_port(app.load(out / "shelf.toml"), broker.port)
        with app.build(config, plugins) as application:
            application.run()
            listener.wait_for(application.stats()["publisher"]["shelf"]["own"]["events"])
    truth = json.loads((out / "film" / "truth.json").read_text("utf-8"))
    figures = report.score(listener.events, truth)
    figures["scores"] = report.mean_scores(report.read_looks(out))
    report.print_score(figures, listener.bytes)
    (out / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    report.plot(out, config, listener.events)
    print(f"picture: {out}/shelf.png; film: {out}/film/shelf.mp4; each look: {out}/looks.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
