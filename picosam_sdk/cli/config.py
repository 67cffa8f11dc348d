"""``picosam config``: checks a configuration, shows it, writes one to begin with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

DEFAULT_FILE = Path("picosam.toml")

_TEMPLATE = Path(__file__).parent.parent / "assets" / "picosam.toml"


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "config",
        help="check or show a configuration, or write one to begin with",
        description="Checks or shows a configuration, or writes one to begin with. Nothing is\n"
        "opened and nothing leaves. Relative paths in a configuration start at its folder.",
        epilog="examples:\n  picosam config init\n  picosam config check picosam.toml\n"
        "  picosam config show --json | jq .publish",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="say what each part would be, or what is wrong",
        description="Checks every key of a configuration and says what each part would be. What\n"
        "is in order, but keeps it from running on this machine, such as a password that is not\n"
        "in the environment, is a note; with --strict it is an error.",
        epilog="example: picosam config check --strict /etc/picosam.toml && systemctl restart "
        "picosam\n\nExit codes: 0 in order, 1 not.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--strict", action="store_true", help="notes are errors")
    show = actions.add_parser(
        "show",
        help="print the configuration with every default",
        description="Prints the configuration as it takes effect: every key with its default,\n"
        "paths in full, secrets hidden. It is a configuration itself.",
        epilog="example: picosam config show picosam.toml > full.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for action, function in ((check, _check), (show, _show)):
        action.add_argument("config", type=Path, nargs="?", default=DEFAULT_FILE, metavar="CONFIG",
                            help="the configuration (default: picosam.toml)")  # fmt: skip
        action.add_argument("--json", action="store_true", help="print as JSON")
        action.set_defaults(run=run, action=function)
    init = actions.add_parser(
        "init",
        help="write a commented configuration that runs without any hardware",
        description="Writes a commented configuration. It runs as it is: the photographs that\n"
        "come with the SDK, a box, results on the terminal.",
        epilog="example: picosam config init && picosam run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("config", type=Path, nargs="?", default=DEFAULT_FILE, metavar="CONFIG",
                      help="file to write (default: picosam.toml)")  # fmt: skip
    init.add_argument("--force", action="store_true", help="overwrite it if it is there")
    init.set_defaults(run=run, action=_init)


def run(args: argparse.Namespace) -> int:
    return int(args.action(args))


def _check(args: argparse.Namespace) -> int:
    from picosam_sdk import app
    from picosam_sdk.effective import notes

    parts = app.make_parts(app.load(args.config))
    found = notes(parts, args.config)
    ok = not (found and args.strict)
    rows = _rows(parts)
    if args.json:
        print(json.dumps({"file": str(args.config), "ok": ok, "parts": rows, "notes": found}))
        return 0 if ok else 1
    for row in rows:
        text = f"{row['key']:<12} {row['kind']:<16}"
        if row["name"] != row["kind"]:
            text += f" named '{row['name']}'"
        if "destination" in row:
            text += f" to {row['destination']}, may have {', '.join(row['grants']) or 'no pixels'}"
        print(text.rstrip())
    for note in found:
        print(f"note: {note}")
    print(f"{args.config} is in order" + (", but see the notes" if found else ""))
    return 0 if ok else 1


def _rows(parts: Any) -> list[dict[str, Any]]:
    """What each part would be."""
    rows: list[dict[str, Any]] = []
    if parts.camera is not None:
        rows.append({"key": "camera", "kind": parts.camera.part.name, "name": parts.camera.name})
    backend = parts.backend.name
    rows.append({"key": "segmenter", "kind": backend, "name": backend})
    for placed in (*parts.rois, *parts.filters, *parts.publishers):
        rows.append({"key": placed.key, "kind": placed.part.name, "name": placed.name})
        if placed in parts.publishers:
            rows[-1] |= {"destination": placed.part.destination,
                         "grants": list(placed.table.egress.grants)}  # fmt: skip
    return rows


def _show(args: argparse.Namespace) -> int:
    from picosam_sdk import app
    from picosam_sdk.effective import effective
    from picosam_sdk.tomltext import to_toml

    config = app.load(args.config)
    shown = effective(config, app.make_parts(config))
    print(json.dumps(shown, indent=2) if args.json else to_toml(shown), end="")
    if args.json:
        print()
    return 0


def _init(args: argparse.Namespace) -> int:
    from picosam_sdk.errors import ConfigError

    text = _TEMPLATE.read_text(encoding="utf-8")
    try:
        with args.config.open("w" if args.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"expected a new file, got {args.config}, which is there already",
            hint="Name another file, or overwrite it with --force.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"expected to write {args.config}, got: {error.strerror}",
            hint="Check that its folder exists and that you may write there.",
        ) from error
    print(f"wrote {args.config}; run it with: picosam run"
          + ("" if args.config == DEFAULT_FILE else f" {args.config}"))  # fmt: skip
    return 0
