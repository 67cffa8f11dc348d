"""Does memory grow while a pipeline runs? Exit code 1 if it does.

    python benchmarks/growth.py --frames 100000
    python benchmarks/growth.py --frames 5000 --json

A pipeline with a filter and publishers (JSON lines, and MQTT at QoS 1 with silhouettes
where mosquitto is installed) runs in a process of its own, as fast as it can. Its resident memory
is noted twice a second. Growth is the difference between the medians of the last tenth of the run
and of the tenth after its first one, and the slope of a line through all after the first tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pipelines import broker, configuration, measured_run, mosquitto

LIMIT_MB = 4.0
"""What the allocator may gain or lose: less than 50 bytes a frame over 100,000 of them."""

_ROIS = '[[roi]]\nkind = "follow"\n[[roi]]\nkind = "fixed"\nbox = [0.3, 0.2, 0.4, 0.6]\n'
_FILTER = '[[filter]]\nkind = "hysteresis"\n'


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    args = parser.parse_args()
    found = measure_growth(max(100, args.frames))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print(describe(found))
    return 0 if found["ok"] else 1


def measure_growth(frames: int) -> dict[str, Any]:
    """Runs so many frames.

    Returns:
        ``frames``, ``fps``, ``rss_mb`` at 10, 50 and 100 % of them, ``growth_mb``,
        ``slope_kb_per_1000``, ``threads``, ``publishers``, ``ok``.
    """
    with tempfile.TemporaryDirectory(prefix="picosam-bench") as name:
        folder = Path(name)
        publishers = (
            f'[[publish]]\nkind = "jsonl"\nwait = true\npath = "{folder / "masks.jsonl"}"\n'
        )
        names = ["jsonl"]
        with contextlib.ExitStack() as stack:
            if mosquitto() is not None:
                port = stack.enter_context(broker(folder))
                publishers += (
                    f'[[publish]]\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {port}\n'
                    "changes_only = false\nrate_hz = 0.0\nsilhouette = true\n"
                    f'spool = {{ path = "{folder / "spool.sqlite"}" }}\n'
                )
                names.append("mqtt")
            config = configuration(folder, _ROIS, publishers=_FILTER + publishers)
            lines = measured_run(config, frames=frames)
    return {"publishers": names, **judge(lines)}


def judge(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What the lines of a run say of its memory."""
    samples = [line for line in lines if line["frames"] > 0]
    total = samples[-1]["frames"]

    def between(low: float, high: float) -> float:
        near = [s["rss_kb"] for s in samples if low * total <= s["frames"] <= high * total]
        return statistics.median(near or [samples[-1]["rss_kb"]])

    later = [s for s in samples if s["frames"] >= 0.1 * total]
    slope = 0.0
    if len(later) > 2:
        slope, _ = statistics.linear_regression(
            [s["frames"] / 1000 for s in later], [s["rss_kb"] for s in later]
        )
    growth_mb = (between(0.9, 1.0) - between(0.1, 0.2)) / 1000
    span_s = samples[-1]["t_s"] - samples[0]["t_s"]
    return {
        "frames": total,
        "fps": (total - samples[0]["frames"]) / max(1e-9, span_s),
        "rss_mb": {"10 %": between(0.08, 0.14) / 1000, "50 %": between(0.45, 0.55) / 1000,
                   "100 %": samples[-1]["rss_kb"] / 1000},
        "growth_mb": growth_mb,
        "slope_kb_per_1000": slope,
        "threads": samples[-1]["threads"],
        "limit_mb": LIMIT_MB,
        "ok": growth_mb <= LIMIT_MB,
    }  # fmt: skip


def describe(found: dict[str, Any]) -> str:
    rss = ", ".join(f"{value:.1f} MB at {key}" for key, value in found["rss_mb"].items())
    return (
        f"{found['frames']} frames at {found['fps']:.0f} a second into "
        f"{' and '.join(found['publishers'])}: {rss}\n"
        f"growth {found['growth_mb']:+.1f} MB (at most {found['limit_mb']:g}), slope "
        f"{found['slope_kb_per_1000']:+.1f} kB per 1,000 frames, {found['threads']} threads: "
        f"{'does not grow' if found['ok'] else 'GROWS'}"
    )


if __name__ == "__main__":
    from benchmarks.guard import guarded

    sys.exit(guarded(main))
