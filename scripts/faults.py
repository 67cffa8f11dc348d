"""Injects faults into real pipelines from a seeded schedule, and checks what must hold.

    python scripts/faults.py --events 10000 --seed 1
    python scripts/faults.py --events 500 --json > faults.json

docs/reliability.md says what is injected and what is checked. Exit code 1 if something did not
hold. Needs mosquitto and the development environment (make test).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--only", metavar="EVENT", action="append", default=[],
        help="only this event, as the table names it; may be given more than once",
    )  # fmt: skip
    args = parser.parse_args()

    from tests.faults.events import KINDS

    if unknown := set(args.only) - {kind.name for kind in KINDS}:
        names = "; ".join(sorted(kind.name for kind in KINDS))
        parser.error(f"expected events for --only, got {'; '.join(unknown)}; there are: {names}")
    return inject(
        args.seed, lambda events: events >= args.events, args.events, args.json, args.only
    )


def inject(
    seed: int,
    enough: Callable[[int], bool],
    total: int | None,
    as_json: bool,
    only: Sequence[str] = (),
) -> int:
    """Runs the suite and prints its report; the exit code."""
    from tqdm import tqdm

    from tests.faults.events import run
    from tests.faults.leftovers import clear_leftovers, own_folder
    from tests.faults.world import World

    for folder in clear_leftovers():
        print(f"removed {folder}, which a run that was killed had left", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    bar = tqdm(total=total, unit="event")
    try:
        with bar, own_folder() as folder, World(folder / "world") as world:
            report = run(world, seed, enough, lambda events: bar.update(), only)
    except KeyboardInterrupt:
        print(f"interrupted after {bar.n} events; nothing is left behind", file=sys.stderr)
        return 130
    if as_json:
        print(json.dumps(asdict(report) | {"table": report.table()}, indent=1))
    else:
        print(report.table(), *report.violations, sep="\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
