"""``picosam privacy``: the manifest of a configuration."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "privacy",
        help="show who gets what from a configuration, where it goes, how long it is kept",
        description="Prints the manifest of a configuration: each recipient with its data,\n"
        "destination, rate, hours and retention; fields after ISO/IEC TS 27560. Nothing is\n"
        "opened, and nothing leaves. Exit code 1 if a publisher needs what it is not granted:\n"
        "such a configuration does not run.",
        epilog="examples:\n  picosam privacy picosam.toml\n"
        "  picosam privacy picosam.toml --json > manifest.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the picosam.toml")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from picosam_sdk import app
    from picosam_sdk.egress import check_needs, format_manifest, manifest

    config = app.load(args.config)
    parts = app.make_parts(config)
    record = manifest(config, parts)
    if args.json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        print(format_manifest(record), end="")
    for placed in parts.publishers:
        check_needs(placed.part, placed.table.egress, placed.key)
    return 0
