"""``picosam gaze``: calibrate a mapping, plot a recording, evaluate the filters."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "name"]

name = "gaze"


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        name,
        help="gaze: calibrate the mapping, plot a recording, evaluate the filters",
        description="Gaze as a source of ROIs: what is measured and shown offline.",
        epilog="See also: picosam gaze calibrate --help",
    )
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_calibrate(below)
    _add_plot(below)
    _add_evaluate(below)


def _add_calibrate(below: Any) -> None:
    parser = below.add_parser(
        "calibrate",
        help="measure the mapping from the scene camera to the sensor",
        description="Fits a homography to pairs of points: the same spots in a picture of the "
        "glasses' scene camera and in one of the camera that is segmented, taken at the same "
        "time. A dozen spots all over the view, at the distance that matters, are enough. "
        "Prints the error, and writes the mapping as JSON for: calibration = 'calibration.json'.",
        epilog="Example: picosam gaze calibrate pairs.csv --scene-size 1600x1200 "
        "--sensor-size 2028x1520 --lens scene_camera.json -o calibration.json",
    )
    parser.add_argument(
        "pairs", type=Path, metavar="PAIRS.csv",
        help="columns scene_x, scene_y, sensor_x, sensor_y, from the top left corner; in pixels "
        "if the sizes are given, else as shares, 0 to 1",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JSON")
    parser.add_argument("--scene-size", type=_size, metavar="WxH", help="of the scene picture")
    parser.add_argument("--sensor-size", type=_size, metavar="WxH", help="of the sensor picture")
    parser.add_argument(
        "--lens", type=Path, metavar="JSON",
        help="camera_matrix and distortion (OpenCV's order) of the scene camera, such as the "
        "scene_camera.json of a Neon export",
    )  # fmt: skip
    parser.add_argument(
        "--max-error", type=_positive, default=2.0, metavar="PERCENT",
        help="a pair further off, in percent of the diagonal, does not agree (default: 2)",
    )  # fmt: skip
    parser.add_argument("--mirror", action="store_true", help="the sensor looks into a mirror")
    parser.add_argument("--json", action="store_true", help="print the calibration as JSON")
    parser.set_defaults(run=calibrate)


def _add_plot(below: Any) -> None:
    parser = below.add_parser(
        "plot",
        help="draw gaze, fixations, ROIs and dwell over time",
        description="Runs filter and prompter over a recording, as they run live, and draws what "
        "came of it. A recording of 'picosam record' shows the ROIs that were used; of gaze "
        "alone, such as a Neon export, the points that would be prompted with are shown.",
        epilog="Example: picosam gaze plot neon-export/ -o gaze.png --dwell-ms 400; with the "
        "settings of an application: picosam gaze plot run-1/ -o gaze.png --config picosam.toml",
    )
    parser.add_argument(
        "recording", type=Path,
        help="folder of a recording of ours or of a Neon or Invisible export, or its gaze.csv",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("gaze.png"), metavar="FILE",
        help="png, pdf or svg (default: gaze.png)",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="TOML",
        help="take filter, prompt, field of view and mapping from its [[roi]] kind = 'gaze'",
    )  # fmt: skip
    parser.add_argument("--filter", choices=("ivt", "idt"), help="default: ivt")
    parser.add_argument("--dwell-ms", type=_positive, metavar="MS", help="default: 600")
    parser.add_argument(
        "--fov", type=_positive, metavar="DEG", help="of the scene camera (default: 90)"
    )
    parser.add_argument(
        "--view", type=_size, metavar="WxH",
        help="size of the scene picture, if the recording does not say",
    )  # fmt: skip
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="from this second")
    parser.add_argument("--seconds", type=_positive, metavar="S", help="only so many seconds")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.set_defaults(run=plot)


def _add_evaluate(below: Any) -> None:
    parser = below.add_parser(
        "evaluate",
        help="measure the filters on synthetic gaze",
        description="Runs I-VT and I-DT over synthetic gaze whose truth is known, and prints how "
        "many events they find (F1, at an overlap of half), at several rates and noises.",
        epilog="Example: picosam gaze evaluate --rates 120 200 --noise 0.2 0.4 --pursuit 0.3",
    )
    parser.add_argument(
        "--rates", type=_positive, nargs="+", default=[30, 66, 120, 200], metavar="HZ"
    )
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.1, 0.3, 0.5, 1.0], metavar="DEG",
        help="root mean square (default: 0.1 0.3 0.5 1.0)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=_positive, default=40.0, help="of a trace (default: 40)")
    parser.add_argument("--seeds", type=_count, default=3, help="traces a cell (default: 3)")
    parser.add_argument(
        "--pursuit", type=_share, default=0.0, help="share of smooth pursuits (default: 0)"
    )
    parser.add_argument(
        "--dropout", type=_share, default=0.0, help="share of lost samples (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=evaluate)


def calibrate(args: argparse.Namespace) -> int:
    from picosam_gaze.calibration import fit, read_lens, read_pairs, save_calibration, to_dict

    lens = None if args.lens is None else read_lens(args.lens, args.scene_size)
    pairs = read_pairs(args.pairs, args.scene_size, args.sensor_size)
    found = fit(pairs, lens, max_error_percent=args.max_error, allow_mirror=args.mirror)
    save_calibration(found, args.output)
    if args.json:
        print(json.dumps(to_dict(found)))
        return 0
    print(f"{found.inliers} of {found.pairs} pairs agree", end="")
    print(f"; not: row {', '.join(map(str, found.outliers))}" if found.outliers else "")
    print(f"  error of these pairs     {_spread(found.error)}")
    if found.left_out is None:
        print("  four pairs always agree: their error says nothing; take a dozen")
    else:
        print(f"  error between the pairs  {_spread(found.left_out)}")
    print(f"wrote {args.output}")
    return 0


def plot(args: argparse.Namespace) -> int:
    from picosam_gaze.plotting import draw
    from picosam_gaze.settings import offline_settings
    from picosam_gaze.timeline import make_timeline, read_recorded

    recorded = read_recorded(args.recording, args.view)
    settings = offline_settings(
        args.config, recorded, kind=args.filter, dwell_ms=args.dwell_ms, fov_deg=args.fov
    )
    timeline = make_timeline(
        recorded, settings.filter, settings.prompt, settings.view, settings.mapping
    )
    end_s = None if args.seconds is None else args.start + args.seconds
    draw(
        timeline, args.output, title=args.recording.resolve().name,
        dwell_ms=settings.prompt.dwell_ms, start_s=args.start, end_s=end_s,
    )  # fmt: skip
    summary = timeline.summary()
    if args.json:
        print(json.dumps({**summary, "output": str(args.output)}))
    else:
        print(
            f"{summary['seconds']:g} s of gaze at {summary['rate_hz']} Hz, "
            f"{summary['missing_share']:.1%} missing: {summary['fixations']} fixations "
            f"(median {summary['median_fixation_ms']} ms), {summary['saccades']} saccades, "
            f"{summary['blinks']} blinks; {summary['prompts']} different prompts"
        )
        print(f"wrote {args.output}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from picosam_gaze import evaluation
    from picosam_gaze.traces import TraceConfig

    traces = TraceConfig(seconds=args.seconds, pursuit=args.pursuit, dropout=args.dropout)
    todo = evaluation.cells(traces, args.rates, args.noise, args.seeds)
    total = evaluation.count_cells(args.rates, args.noise)
    found = list(tqdm(todo, total=total, unit="cell", leave=False, delay=1))
    print(json.dumps(evaluation.as_dicts(found)) if args.json else evaluation.as_text(found))
    return 0


def _spread(spread: Any) -> str:
    pixels = ""
    if spread.median_px is not None:
        pixels = f" ({spread.median_px:.1f} and {spread.p95_px:.1f} px)"
    return (
        f"median {spread.median_percent:.2f} %, 95 % below {spread.p95_percent:.2f} % of the "
        f"diagonal{pixels}"
    )


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        size = int(width), int(height)
    except ValueError:
        size = (0, 0)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"expected a size such as 1600x1200, got '{text}'")
    return size


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got '{text}'")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, got '{text}'")
    return int(text)
