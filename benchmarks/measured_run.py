"""Runs a configuration as 'picosam run' does, and tells of its own process as it goes.

python benchmarks/measured_run.py picosam.toml --seconds 5

Prints a line of JSON every --every seconds: t_s, cpu_s, rss_kb, frames, threads; at the end one
with all statistics. SIGTERM ends it cleanly.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until the frames end")
    parser.add_argument("--frames", type=int, default=0, help="stop after so many; 0: no end")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two lines")
    args = parser.parse_args()

    from picosam_sdk import app

    config = app.load(args.config)
    run = replace(config.run, status_s=args.every, max_frames=args.frames)
    with app.build(replace(config, run=run)) as application:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: application.stop())
        if args.seconds:
            timer = threading.Timer(args.seconds, application.stop)
            timer.daemon = True
            timer.start()
        tell({}, own(0))
        application.run(lambda stats: tell({}, own(stats.get("frames", 0))))
        stats = application.stats()
    tell({"stats": stats}, own(stats.get("frames", 0)))
    return 0


def own(frames: int) -> dict[str, Any]:
    """What this process is like now; memory and threads where Linux tells them."""
    found: dict[str, Any] = {
        "t_s": time.monotonic(), "cpu_s": time.process_time(), "frames": frames,
    }  # fmt: skip
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("VmRSS", "VmHWM", "Threads"):
            name = {"VmRSS": "rss_kb", "VmHWM": "most_rss_kb", "Threads": "threads"}[key]
            found[name] = int(value.split()[0])
    return found


def tell(more: dict[str, Any], facts: dict[str, Any]) -> None:
    print(json.dumps({**facts, **more}, default=str), flush=True)


if __name__ == "__main__":
    sys.exit(main())
