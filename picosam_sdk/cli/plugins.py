"""``picosam plugins``: which there are and what they offer; ``new`` writes one."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picosam_sdk.plugins import Plugins

__all__ = ["add_parser", "new", "run"]


def add_parser(verbs: Any) -> None:
    from picosam_sdk.scaffold.roles import ROLES

    parser = verbs.add_parser(
        "plugins",
        help="list the plugins and what they offer, or write a new one",
        description="Lists every plugin with its version, the package that it comes from, its "
        "state, what it offers, and why it is left out if it is.",
        epilog="Example: picosam plugins new picosam-acme --role publisher",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    action = actions.add_parser(
        "new",
        help="write a new plugin package, with tests that pass",
        description="Writes a package that is a working plugin: a pyproject.toml with its entry "
        "point, a module for each role, an example of a configuration, and tests that inherit "
        "the contract of each role.",
        epilog="Example: picosam plugins new picosam-acme --role roi_source --role publisher",
    )
    action.add_argument(
        "name", metavar="NAME",
        help="of the package; picosam-acme brings the kind (or command) 'acme'",
    )  # fmt: skip
    action.add_argument(
        "--role", action="append", choices=sorted(ROLES), metavar="ROLE", dest="roles",
        help=f"what it brings: {', '.join(ROLES)} (default: publisher); may be repeated",
    )  # fmt: skip
    action.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR",
        help="the folder that the package's own folder is made in (default: this one)",
    )  # fmt: skip
    action.set_defaults(run=new)


def run(args: argparse.Namespace) -> int:
    plugins = _plugins()
    rows = _rows(plugins)
    conflicts = [str(error) for error in plugins.conflicts()]
    if args.json:
        print(json.dumps({"plugins": rows, "conflicts": conflicts}, indent=2))
        return 0
    for row in rows:
        _print(row)
    for conflict in conflicts:
        print(f"conflict: {conflict}")
    return 0


def new(args: argparse.Namespace) -> int:
    from picosam_sdk.cli.main import VERBS
    from picosam_sdk.errors import InputError
    from picosam_sdk.scaffold import names_of, write_package

    roles = list(dict.fromkeys(args.roles or ["publisher"]))
    names = names_of(args.name)
    offers = {offer for offers in _plugins().offers().values() for offer in offers}
    for taken in [f"{role} {names.kind}" for role in roles]:
        if taken in offers | {f"command {verb}" for verb in VERBS}:
            raise InputError(
                f"expected a name whose {taken!r} is not there yet, got {args.name!r}",
                hint="Take another name; 'picosam plugins' lists what there is.",
            )
    files = write_package(names, roles, args.output)
    print(f"wrote {args.output / names.project}:")
    for path in files:
        print(f"  {path.relative_to(names.project)}")
    print(
        f"\nNext:\n  cd {args.output / names.project}\n  pip install -e '.[test]'\n"
        "  python -m pytest\n  picosam plugins"
    )
    return 0


def _plugins() -> Plugins:
    """All plugins, every hook asked; their problems are in the records and not warnings."""
    from picosam_sdk.plugins import Plugins, PluginWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        plugins = Plugins()
        plugins.offers()
    return plugins


def _rows(plugins: Plugins) -> list[dict[str, Any]]:
    """What there is to know of each plugin."""
    from picosam_sdk.cli.main import VERBS
    from picosam_sdk.cli.plugin_verbs import check_verbs
    from picosam_sdk.plugins import EVERY_ROLE

    offers: dict[str, list[dict[str, str]]] = {}
    problems: dict[str, list[str]] = {}
    for role in EVERY_ROLE:
        for offer in plugins.offered(role):
            offers.setdefault(offer.plugin, []).append({"role": role, "name": offer.name})
    for offer, problem in check_verbs(plugins, VERBS):
        if problem:
            text = f"the command '{offer.name}' is left out: {problem}"
            problems.setdefault(offer.plugin, []).append(text)
    rows = []
    for record in plugins.records:
        taken = record.state != "left out"  # a refused one may have the name of another
        more = problems.get(record.name, []) if taken else []
        rows.append({
            "name": record.name,
            "version": record.version,
            "package": record.origin,
            "state": record.state,
            "problem": "; ".join(filter(None, [record.problem, *more])),
            "offers": offers.get(record.name, []) if taken else [],
        })  # fmt: skip
    return rows


def _print(row: dict[str, Any]) -> None:
    version = f" {row['version']}" if row["version"] else ""
    print(f"{row['name']}{version} ({row['package']}): {row['state']}")
    by_role: dict[str, list[str]] = {}
    for offer in row["offers"]:
        by_role.setdefault(offer["role"], []).append(offer["name"])
    for role, names in by_role.items():
        print(f"  {role:<12} {', '.join(names)}")
    if row["problem"]:
        print(f"  {row['problem']}")
    elif not by_role:
        print("  offers nothing")
