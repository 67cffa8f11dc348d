"""``picosam run``: runs a configuration until it ends or is told to."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self, TextIO

__all__ = ["add_parser", "run"]

DEFAULT_FILE = Path("picosam.toml")

_PLAIN_LINES_S = 60.0
"""Between two status lines where they cannot be rewritten, as in a log."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "run",
        help="run a pipeline: camera or sensor, ROI sources, publishers",
        description="Runs the pipeline that a configuration describes. Ctrl-C or SIGTERM ends it:\n"
        "publishers deliver what they hold for run.shutdown_s (1.5 s); a second one ends it at\n"
        "once. Under systemd it says when it is ready, and that it is alive.",
        epilog="examples:\n  picosam config init && picosam run\n"
        "  picosam run /etc/picosam.toml\n  picosam run --max-frames 100 --json | tail -1\n\n"
        "Exit codes: 0 the frames ended, max_frames were done, or SIGTERM came; 1 failed;\n"
        "2 wrong usage; 130 Ctrl-C.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_FILE, metavar="CONFIG",
                        help="the configuration (default: picosam.toml)")  # fmt: skip
    parser.add_argument("--max-frames", type=_count, metavar="N", help="stop after so many frames")
    parser.add_argument("-q", "--quiet", action="store_true", help="no status lines")
    parser.add_argument("--json", action="store_true",
                        help="at the end, print the statistics as one line of JSON")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from picosam_sdk import app
    from picosam_sdk.application import status_text

    config = app.load(args.config)
    if args.max_frames:
        config = replace(config, run=replace(config.run, max_frames=args.max_frames))
    application = app.build(config)
    line = StatusLine(sys.stderr, quiet=args.quiet)
    with Signals(application.stop) as signals, line:
        try:
            with application:
                line.say(f"running {args.config}, Ctrl-C ends it")
                signals.running = True
                application.run(lambda stats: line.show(status_text(stats)))
        except KeyboardInterrupt:
            if signals.received is None:
                raise
        stats = application.stats()
        line.say(f"ended: {status_text(stats)}")
        if args.json:
            print(json.dumps(stats, default=str), flush=True)
        code = 130 if signals.received == signal.SIGINT else 0
        if application.stuck:
            _leave(code)
    return code


def _leave(code: int) -> None:
    """Ends the process though a thread hangs in a camera, a backend or a publisher."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into a clean end; a second one ends the process at once.

    Args:
        stop: ends a run. Until ``running`` is set, a signal is a KeyboardInterrupt, too, so that
            it ends what takes long to open.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self.received: int | None = None
        self.running = False

    def __enter__(self) -> Self:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # it is ignored under nohup
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self._stop()
        if not self.running:
            raise KeyboardInterrupt


class StatusLine(logging.Handler):
    """One line that is rewritten on a terminal; elsewhere a plain line now and then.

    It is also where warnings of the SDK go, so that they do not run into that line.

    Args:
        stream: where to write.
        quiet: no status; warnings only.
    """

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        super().__init__(logging.WARNING)
        self._stream, self._quiet = stream, quiet
        self._rewritten = stream.isatty()
        self._guard = threading.RLock()
        self._shown = False
        self._next_s = 0.0
        # systemd is told the status over its own socket
        self._plain_lines = "NOTIFY_SOCKET" not in os.environ

    def __enter__(self) -> Self:
        logging.getLogger("picosam_sdk").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("picosam_sdk").removeHandler(self)
        self._clear()

    def show(self, text: str) -> None:
        """Shows a status."""
        if self._quiet:
            return
        if not self._rewritten:
            if self._plain_lines and time.monotonic() >= self._next_s:
                self._next_s = time.monotonic() + _PLAIN_LINES_S
                self.say(text)
            return
        with self._guard:
            self._write(f"\r\x1b[K{text[: _columns() - 1]}")
            self._shown = True

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        if not self._quiet:
            self._line(text)

    def emit(self, record: logging.LogRecord) -> None:
        self._line(record.getMessage())

    def _line(self, text: str) -> None:
        with self._guard:
            self._clear()
            self._write(f"picosam: {text}\n")

    def _clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that went away ends nothing
            self._stream.write(text)
            self._stream.flush()


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value
