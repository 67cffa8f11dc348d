"""The ``picosam`` command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import takewhile

from picosam_sdk import __version__
from picosam_sdk.errors import PicoSamError
from picosam_sdk.plugins import PluginWarning

__all__ = ["VERBS", "build_parser", "main"]

VERBS = (
    "segment",
    "demo",
    "doctor",
    "evaluate",
    "teach",
    "train",
    "ablate",
    "export",
    "quantize",
    "imx500",
    "parity",
    "run",
    "config",
    "privacy",
    "record",
    "plugins",
)
"""The verbs of the SDK's own, one module a verb; those of plugins come by their hook."""


def build_parser(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of all verbs.

    Args:
        argv: what it will be asked to parse. If that names a verb of the SDK's own, no other
            verb is imported and no plugin is loaded.
    """
    parser = argparse.ArgumentParser(
        prog="picosam",
        description="Promptable segmentation on the device: a ROI goes in, a mask comes out.",
        epilog="Exit codes: 0 done, 1 failed (two lines say why), 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"picosam {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    words = list(argv or ())
    options = list(takewhile(lambda word: word.startswith("-"), words))
    verb = words[len(options)] if len(words) > len(options) else ""
    for own in (verb,) if verb in VERBS else VERBS:
        import_module(f"picosam_sdk.cli.{own}").add_parser(verbs)
    if verb not in VERBS and "--version" not in options:
        from picosam_sdk.cli.plugin_verbs import add_plugin_verbs

        add_plugin_verbs(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace(debug=False)
    try:
        with _plugin_warnings_in_one_line():
            args = build_parser(argv).parse_args(argv)
            code = (getattr(args, "plugin_run", None) or args.run)(args)
        sys.stdout.flush()
        return int(code)
    except PicoSamError as error:
        if args.debug:
            raise
        print("picosam:", " ".join(str(error).split()), file=sys.stderr)
        print(error.hint or "Run it again with --debug to see where it happened.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output went away, as 'head' does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("picosam: interrupted", file=sys.stderr)
        return 130


@contextmanager
def _plugin_warnings_in_one_line() -> Iterator[None]:
    """Where a warning about a plugin was raised says nothing to who runs a command."""
    usual = warnings.formatwarning

    def short(
        message: Warning | str, category: type[Warning],
        filename: str, lineno: int, line: str | None = None,
    ) -> str:  # fmt: skip
        if issubclass(category, PluginWarning):
            return f"picosam: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = short
    try:
        yield
    finally:
        warnings.formatwarning = usual


if __name__ == "__main__":
    sys.exit(main())
