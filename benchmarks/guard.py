"""Ends a script with one line for what its user can mend, and with 130 on Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable

from picosam_sdk import PicoSamError

__all__ = ["guarded"]


def guarded(main: Callable[[], int | None]) -> int:
    """The exit code of ``main()``: its own, 0 for None, 2 for a file or value that does not do."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        return 130
    except PicoSamError as error:
        print(error, *filter(None, [error.hint]), sep="\n", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"expected files that can be read, got: {error}", file=sys.stderr)
    return 2
