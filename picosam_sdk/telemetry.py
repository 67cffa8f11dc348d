"""Nothing that the SDK loads reports to its maker.

The Linux wheels of onnxruntime 1.29 and later do by default: which model, which machine, an
identifier that stays, in ``~/.cache/Microsoft``, and the address that it is sent from. They read
the variable below once, when they are loaded.
"""

from __future__ import annotations

import os

__all__ = ["SWITCH", "turn_off"]

SWITCH = "ORT_DISABLE_TELEMETRY"


def turn_off() -> None:
    """Says so to what is loaded later, here and in programs that are started from here.

    Whoever has set the variable keeps it.
    """
    os.environ.setdefault(SWITCH, "1")
