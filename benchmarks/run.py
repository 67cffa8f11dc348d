"""Measures speed and memory, as ratios from one run, and says on what machine.

    python benchmarks/run.py                        all, in under ten minutes on two cores
    python benchmarks/run.py --only path roofline --quick
    python benchmarks/run.py --data data/coco-dev --peers weights --json out/bench/report.json
    python benchmarks/run.py --docs docs/performance.md --plot docs/images/performance.png
    python benchmarks/run.py --from out/bench/report.json --markdown    no measuring

docs/performance.md says what each figure is. Exit code 1 with --strict if a must is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy is loaded: the limit is that of one core
sys.path.insert(0, str(Path(__file__).parents[1]))

SECTIONS = ("path", "roofline", "peers", "pipelines", "scaling", "growth", "startup")
OUT = Path("out/bench")


def main() -> int:
    args = parse()
    if args.source is not None:
        report = json.loads(args.source.read_text(encoding="utf-8"))
        if args.only is not None:  # these anew, beside what was measured before
            report = {**report, **measure(args), "machine": report["machine"]}
    else:
        report = measure(args)
    from benchmarks.goals import check_goals
    from benchmarks.plot import draw
    from benchmarks.tables import tables, write_into

    report["goals"] = check_goals(report)
    parts = tables(report)
    if args.markdown or args.json is None:
        print("\n\n".join(f"### {name}\n\n{part}" for name, part in parts.items()))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        say(f"wrote {args.json}")
    if draw(report, args.plot):
        say(f"wrote {args.plot}")
    if args.docs is not None:
        say(f"wrote {', '.join(write_into(args.docs, parts))} into {args.docs}")
    missed = [row for row in report["goals"] if row["kind"] == "must" and not row["met"]]
    for row in missed:
        say(f"must, not met: {row['goal']}: {row['measured']}")
    return 1 if missed and args.strict else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=SECTIONS, metavar="PART", help=", ".join(SECTIONS))
    add("--quick", action="store_true", help="few rounds: does it run, not how fast")
    add("--json", type=Path, metavar="FILE", help="write everything as JSON")
    add("--markdown", action="store_true", help="print tables, beside --json too")
    add("--docs", type=Path, metavar="PAGE", help="write the tables between a page's markers")
    add("--plot", type=Path, default=OUT / "peers.png", help="default: %(default)s")
    add("--data", type=Path, help="images and instances.json (COCO's format), for mIoU")
    add("--peers", type=Path, metavar="DIR", help="peers' weights, see benchmarks/peers.py")
    add("--objects", type=int, default=48, help="for mIoU; 0 for all (default: %(default)s)")
    add("--frames", type=int, default=10_000, help="for growth (default: %(default)s)")
    add("--growth", type=Path, metavar="FILE", help="what growth.py --json printed, in place of it")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="a report instead of measuring; with --only, all but these",
    )
    add("--strict", action="store_true", help="exit code 1 if a must is not met")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Runs the parts that are asked for, one after the other."""
    from benchmarks import machine
    from benchmarks.models import networks

    report: dict[str, Any] = {"machine": machine.describe(), "quick": args.quick, "notes": []}
    wanted = list(SECTIONS) if args.only is None else list(args.only)
    OUT.mkdir(parents=True, exist_ok=True)
    models, note = networks(OUT)
    report["notes"] += [note] if note else []
    if args.growth is not None:
        report["growth"] = json.loads(args.growth.read_text(encoding="utf-8"))
        wanted = [name for name in wanted if name != "growth"]
    for name in (section for section in SECTIONS if section in wanted):
        began_s = time.monotonic()
        report[name] = part(name, args, models)
        took_s = time.monotonic() - began_s
        report.setdefault("seconds", {})[name] = round(took_s, 1)
        say(f"{name}: {took_s:.0f} s")
    return report


def part(name: str, args: argparse.Namespace, models: Any) -> Any:
    """One part's figures; each part imports what it needs itself."""
    from benchmarks import (
        comparison,
        growth,
        path,
        pipelines,
        roofline,
        scaling,
        startup,
    )

    quick = args.quick
    parts: dict[str, Callable[[], Any]] = {
        "path": lambda: path.measure_path(models, 1 if quick else 40),
        "roofline": lambda: roofline.measure_roofline(models, 2 if quick else 80),
        "peers": lambda: comparison.measure_peers(
            models, args.peers, args.data, 1 if quick else 3, 4 if quick else args.objects
        ),
        "pipelines": lambda: pipelines.measure_pipelines(
            1.5 if quick else 3.0, 2.5 if quick else 10.0, 1 if quick else 3
        ),
        "scaling": lambda: scaling.measure_scaling(2 if quick else 40, 1.5 if quick else 5.0),
        "growth": lambda: growth.measure_growth(300 if quick else args.frames),
        "startup": lambda: startup.measure_startup(1 if quick else 9),
    }
    return parts[name]()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    from benchmarks.guard import guarded

    sys.exit(guarded(main))
