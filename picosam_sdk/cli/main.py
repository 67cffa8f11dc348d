"""The ``picosam`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from picosam_sdk import __version__
from picosam_sdk.errors import PicoSamError

__all__ = ["main"]

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
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="picosam",
        description="Promptable segmentation on the device: a ROI goes in, a mask comes out.",
        epilog="Exit codes: 0 done, 1 failed (two lines say why), 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"picosam {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in VERBS:
        import_module(f"picosam_sdk.cli.{verb}").add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    args = build_parser().parse_args(argv)
    try:
        code = args.run(args)
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


if __name__ == "__main__":
    sys.exit(main())
