"""For tests of gaze sources: the contract to inherit, and stand-ins for eye trackers.

``contract`` needs pytest; ``companion`` speaks the protocols of Neon's phone, ``capture`` those of
Pupil Capture (extra ``pupil-core``), so that a source or a demo runs without glasses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picosam_gaze.testing.contract import GazeSourceContract

__all__ = ["GazeSourceContract"]


def __getattr__(name: str) -> Any:
    if name != "GazeSourceContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from picosam_gaze.testing import contract

    return contract.GazeSourceContract
