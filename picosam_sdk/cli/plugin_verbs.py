"""The verbs that plugins bring: tried out first, so that a broken one cannot break the command."""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from picosam_sdk.errors import PicoSamError, PluginError
from picosam_sdk.plugins import Offer, Plugins, PluginWarning

__all__ = ["add_plugin_verbs", "check_verbs"]


def add_plugin_verbs(verbs: Any, plugins: Plugins | None = None) -> None:
    """Adds the verbs of plugins; each that cannot be added becomes a warning.

    Args:
        verbs: argparse's subparsers, which hold the SDK's own verbs.
        plugins: None finds the installed ones.
    """
    for offer, problem in check_verbs(plugins or Plugins(), list(verbs.choices)):
        if problem := problem or _add(offer, verbs):
            warnings.warn(
                f"the command '{offer.name}' of plugin '{offer.plugin}' is left out: {problem}",
                PluginWarning,
                stacklevel=2,
            )


def check_verbs(plugins: Plugins, taken: Iterable[str]) -> list[tuple[Offer, str]]:
    """The verbs of plugins, each with why it cannot be added to the taken ones, or ""."""
    offers = plugins.offered("command")
    counts = Counter(offer.name for offer in offers)
    taken = set(taken)
    found = []
    for offer in sorted(offers, key=lambda offer: (offer.name, offer.plugin)):
        if counts[offer.name] > 1:
            others = {other.plugin for other in offers if other.name == offer.name}
            problem = f"the plugins {', '.join(sorted(others))} all have it; uninstall all but one"
        else:
            problem = _try_out(offer, taken)
        found.append((offer, problem))
    return found


def _try_out(offer: Offer, taken: set[str]) -> str:
    """Adds a verb to a parser that nobody needs; what came of it is added to the taken ones."""
    parser = argparse.ArgumentParser(prog="picosam")
    scratch = parser.add_subparsers()
    problem = _guarded(lambda: offer.thing.add_parser(scratch)) or _guarded(parser.format_help)
    if problem:
        return problem
    if offer.name not in scratch.choices:
        return f"its add_parser adds {', '.join(scratch.choices) or 'nothing'}"
    both = sorted(set(scratch.choices) & taken)
    if both:
        return f"there is a command '{both[0]}' already"
    taken.update(scratch.choices)
    return ""


def _add(offer: Offer, verbs: Any) -> str:
    problem = _guarded(lambda: offer.thing.add_parser(verbs))
    parser = verbs.choices.get(offer.name)
    if parser is not None:
        parser.set_defaults(plugin_run=partial(_run, offer, parser))
    return problem


def _run(offer: Offer, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Runs a plugin's verb; an error that is none of ours names the plugin."""
    run = getattr(args, "run", None)
    if run is None:
        parser.error("expected one of its commands; see --help")
    try:
        return int(run(args) or 0)
    except (PicoSamError, BrokenPipeError):
        raise
    except Exception as error:
        if args.debug:
            raise
        raise PluginError(
            f"the command '{offer.name}' of plugin '{offer.plugin}' failed: "
            f"{type(error).__name__}: {error}",
            hint=f"Run 'picosam --debug {offer.name} ...' to see where, and tell its author.",
        ) from error


def _guarded(code: Callable[[], object]) -> str:
    try:
        code()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's own code, and argparse exits where it is misused
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""
