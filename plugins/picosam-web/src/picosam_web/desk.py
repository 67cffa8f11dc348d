"""Where what comes in from a page goes: into the shared context."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from picosam_sdk.errors import InputError, PicoSamError
from picosam_sdk.interfaces import Context
from picosam_web import state
from picosam_web.inputs import to_gaze, to_prompt
from picosam_web.settings import WebConfig

__all__ = ["Desk"]


class Desk:
    """Takes prompts and the pointer. Used by the server's loop alone.

    Args:
        config, context: of the publisher.
        counts: counted into: ``prompts``, ``cleared``, ``pointer``.
    """

    def __init__(self, config: WebConfig, context: Context, counts: Counter[str]) -> None:
        self._config, self._context, self._counts = config, context, counts

    def prompt(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Sets the prompt.

        Returns:
            Whether a source follows it, and a note for people.

        Raises:
            InputError: it cannot be a prompt.
            PicoSamError: prompts are not taken here.
        """
        self._check_taken()
        self._context.prompt.put(to_prompt(raw, time.monotonic_ns()))
        self._counts["prompts"] += 1
        about = state.describe(self._config, self._context, {}, 0)["prompts"]
        return {"followed": about["followed"], "note": about["note"]}

    def clear(self) -> None:
        """Takes the prompt back.

        Raises:
            PicoSamError: prompts are not taken here.
        """
        self._check_taken()
        self._context.prompt.put(None)
        self._counts["cleared"] += 1

    def pointer(self, place: Any) -> None:
        """Takes where the pointer is; None where it has left the view.

        Raises:
            InputError: it is no place, or the pointer is not wanted.
        """
        if not self._config.pointer:
            raise InputError(
                "expected no pointer, got one",
                hint="Set pointer = true in the [[publish]] table of the page.",
            )
        self._context.pointer.put(to_gaze(place, time.monotonic_ns()))
        self._counts["pointer"] += 1

    def _check_taken(self) -> None:
        if not self._config.prompts:
            raise PicoSamError(
                "expected no prompt, got one: this page takes none",
                hint="Set prompts = true in its [[publish]] table.",
            )
