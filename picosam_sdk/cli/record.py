"""``picosam record``: runs a configuration and records what it consumed and what came of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_RESULTS = 4096
_PICTURES = 32
"""So many results may wait for the disk; with pictures fewer, since each holds its frame."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "record",
        help="run a configuration and record prompts, gaze and results; pictures only if asked",
        description="Runs a configuration as 'picosam run' does, and records what it consumed:\n"
        "where it was told to look, the gaze, and the results. Ctrl-C ends it. Pictures are\n"
        "recorded only with --frames, which is your grant for this one recording. The kind\n"
        "'replay' of camera, ROI source and backend plays it again; see docs/recording.md.",
        epilog="examples:\n  picosam record picosam.toml -o monday\n"
        "  picosam record picosam.toml -o monday --frames --seconds 30",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the picosam.toml")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True,
                        help="folder of the recording; it must be empty or not there")  # fmt: skip
    parser.add_argument("--frames", action="store_true", help="record the pictures, too")
    parser.add_argument("--jpg", action="store_true",
                        help="pictures as JPEG: a fifth of the space, but not exact")  # fmt: skip
    parser.add_argument("--no-gaze", action="store_true",
                        help="leave out where the eye looked, and its prompts")  # fmt: skip
    parser.add_argument("--no-logits", action="store_true",
                        help="masks as hard bits: 1 kB a result instead of 12 kB")  # fmt: skip
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop after so long")
    parser.add_argument("--json", action="store_true", help="print what was recorded as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from picosam_sdk import app
    from picosam_sdk.errors import PicoSamError

    name, config = _with_recorder(app.load(args.config), args)
    with app.build(config) as application:
        _run(application, name, args.seconds)
        done = _recorded(application.stats(), name)
    if not done["results"]:
        raise PicoSamError(
            f"expected results to record in {args.output}, got none",
            hint="Check that the camera gives frames and that there is space on the disk.",
        )
    done["folder"] = str(args.output)
    if done["dropped"]:
        print(f"picosam: {done['dropped']} results were dropped, since writing took too long; "
              "try --jpg, or max_fps in [run]", file=sys.stderr)  # fmt: skip
    if done["error"]:
        print(f"picosam: writing failed in between: {done['error']}", file=sys.stderr)
    if args.json:
        print(json.dumps(done))
    else:
        print(f"recorded {done['results']} results and {done['pictures']} pictures, "
              f"{done['bytes'] / 1e6:.1f} MB, in {done['folder']}")  # fmt: skip
    if application.stuck:  # a camera or backend hangs, and would hang the interpreter's end
        sys.stdout.flush()
        os._exit(0)
    return 0


def _with_recorder(config: Any, args: argparse.Namespace) -> tuple[str, Any]:
    """The configuration with a publisher more, and that publisher's name."""
    from picosam_sdk.settings import EgressRule, Grant, PublishTable

    name, taken = "recording", {table.name or table.kind for table in config.publish}
    while name in taken:
        name += "-"
    grants: list[Grant] = ["pixels"] if args.frames else []
    if not args.no_gaze:
        grants.append("gaze")
    options = {
        "path": str(args.output.absolute()),
        "frames": args.frames,
        "format": "jpg" if args.jpg else "png",
        "logits": not args.no_logits,
    }
    table = PublishTable(
        kind="record", name=name, queue=_PICTURES if args.frames else _RESULTS,
        egress=EgressRule(grants=tuple(grants), purpose="picosam record"), options=options,
    )  # fmt: skip
    run = replace(config.run, status_s=0.5, shutdown_s=max(config.run.shutdown_s, 5.0))
    return name, replace(config, publish=(*config.publish, table), run=run)


def _run(application: Any, name: str, seconds: float | None) -> None:
    """Runs until the end, a signal, or the time is up; shows how far it is."""
    from tqdm import tqdm

    began_s = time.monotonic()
    with tqdm(total=seconds, unit="s", desc="recording", disable=None,
              bar_format=_BAR_TO_AN_END if seconds else _BAR) as bar:  # fmt: skip

        def show(stats: dict[str, Any]) -> None:
            done = _recorded(stats, name)
            text = f"{done['results']} results, {done['bytes'] / 1e6:.1f} MB"
            if done["dropped"]:
                text += f", {done['dropped']} dropped"
            bar.set_postfix_str(text, refresh=False)
            passed_s = time.monotonic() - began_s
            bar.n = round(min(passed_s, seconds or passed_s), 1)
            bar.refresh()

        timer = threading.Timer(seconds or 0, application.stop)
        timer.daemon = True
        if seconds:
            timer.start()
        try:
            with _stopping(application.stop):
                application.run(show)
        finally:
            timer.cancel()


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Inside it, SIGINT and SIGTERM call ``stop``; another one a second later ends at once."""
    before: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    first_s: list[float] = []

    def handle(number: int, frame: Any) -> None:
        if not first_s:
            first_s.append(time.monotonic())
            stop()
        elif time.monotonic() - first_s[0] > 1:  # 'timeout' and others send a signal twice
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _recorded(stats: dict[str, Any], name: str) -> dict[str, Any]:
    """What has been recorded so far."""
    recorder = stats["publisher"][name]
    own = recorder.get("own", {})
    return {
        "results": own.get("results", 0),
        "pictures": own.get("images", 0),
        "bytes": own.get("bytes", 0),
        "dropped": recorder.get("dropped", 0),
        "error": str(recorder.get("last_error", "")),
    }


_BAR = "{desc}: {n:.0f} s, {postfix}"
_BAR_TO_AN_END = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s, {postfix}"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value
