"""What the page is told beside results: what it may have, whether prompts lead anywhere, counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from picosam_sdk.interfaces import Context
from picosam_sdk.settings import EgressRule
from picosam_web.settings import WebConfig

__all__ = ["describe", "picture_grant"]

_NO_MANUAL = (
    'Prompts lead nowhere: the configuration has no [[roi]] with kind = "manual". Add one at the '
    "top of the chain."
)
_OFF = "This page takes no prompts: prompts = false in its [[publish]] table."
_RETRYING = 'Prompts lead nowhere now: the ROI source "manual" is {}.'


def picture_grant(rule: EgressRule) -> str:
    """The grant under which pictures come, "" if there is none."""
    for grant in ("pixels", "redacted", "cutout"):
        if grant in rule.grants:
            return grant
    return ""


def describe(
    config: WebConfig, context: Context, counts: Mapping[str, Any], pages: int
) -> dict[str, Any]:
    """The state of things, ready for JSON.

    Args:
        config, context: of the publisher.
        counts: its own.
        pages: how many are open.
    """
    rule = context.egress
    told = context.status.get()
    return {
        "v": 1,
        "device": context.device,
        "session": context.session,
        "timestamp_ns": time.time_ns(),
        "policy": {
            "picture": picture_grant(rule) if config.picture else "",
            "picture_wanted": config.picture,
            "gaze": "gaze" in rule.grants,
            "max_rate_hz": _lower(rule.max_rate_hz, config.max_rate_hz),
            "coarsen": rule.coarsen,
            "min_area": rule.min_area,
            "privacy_masks": len(rule.privacy_masks),
            "windows": list(rule.windows),
            "purpose": rule.purpose,
            "kept": rule.kept,
        },
        "prompts": _prompts(config, told),
        "pointer": config.pointer,
        "pages": pages,
        "counts": dict(counts),
        "application": told,
    }


def _lower(*rates_hz: float) -> float:
    """The lowest limit; 0 if there is none."""
    return min((rate_hz for rate_hz in rates_hz if rate_hz), default=0.0)


def _prompts(config: WebConfig, told: Mapping[str, Any] | None) -> dict[str, Any]:
    """Whether prompts are taken, whether a source follows them (None: not known), and a note."""
    if not config.prompts:
        return {"taken": False, "followed": False, "note": _OFF}
    if told is None:
        return {"taken": True, "followed": None, "note": ""}
    manual = [part for part in told["parts"]
              if part["role"] == "roi" and part["kind"] == "manual"]  # fmt: skip
    if not manual:
        return {"taken": True, "followed": False, "note": _NO_MANUAL}
    states = [str(part["state"]) for part in manual]
    if "retrying" in states and "ready" not in states:
        return {"taken": True, "followed": False, "note": _RETRYING.format(states[0])}
    return {"taken": True, "followed": True, "note": ""}
