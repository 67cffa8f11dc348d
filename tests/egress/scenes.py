"""Results of a loop for tests of the egress policy, and a search through what objects refer to."""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import Frame, Gaze, Mask, Result, Roi
from picosam_sdk.types import ImageArray

SIZE_PX = (160, 120)
ROI = Roi(0.25, 0.25, 0.5, 0.5)
GAZE = Gaze(0.51, 0.52, 1_000)


def noise(width_px: int = SIZE_PX[0], height_px: int = SIZE_PX[1], seed: int = 0) -> ImageArray:
    """A picture that cannot be guessed."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def disc(radius: float = 0.3, roi: Roi = ROI, center: tuple[float, float] = (0.5, 0.4)) -> Mask:
    """A disc as a mask of 96 x 96 logits; radius and centre as shares of the ROI."""
    y, x = (np.mgrid[:96, :96] + 0.5) / 96
    logits = 40 * (radius - np.hypot(x - center[0], y - center[1]))
    return Mask(logits.astype(np.float32), roi, 0.9, SIZE_PX, prompt=roi)


def result(
    image: ImageArray | None = None,
    mask: Mask | None = None,
    *,
    gaze: Gaze | None = None,
    masked: bool = True,
) -> Result:
    """A result as the pipeline makes it, with a picture and a mask."""
    return Result(
        frame=Frame(noise() if image is None else image, 5_000, 7),
        mask=(disc() if mask is None else mask) if masked else None,
        roi=ROI,
        timings_ms={"inference": 4.5},
        ages_ns={"frame": 3_000_000, **({} if gaze is None else {"gaze": 4_000_000})},
        region="shelf",
        gaze=gaze,
    )


_ENDS = (type, types.ModuleType, types.FunctionType, types.CodeType, types.FrameType, str, int)
"""Where the search stops: beyond classes, modules and functions lies all of Python."""


def reachable(*roots: Any, frames: bool = False) -> Iterator[Any]:
    """Everything that objects refer to: attributes, slots, items, closures, arrays' bases.

    Args:
        roots: where to begin.
        frames: whether tracebacks are followed to the local variables of their frames.
    """
    seen: dict[int, Any] = {}
    stack = list(roots)
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        assert len(seen) < 200_000, "the search found its way out"
        yield thing
        stack += _referents(thing, frames)


def _referents(thing: Any, frames: bool) -> list[Any]:
    found: list[Any] = []
    if isinstance(thing, types.FunctionType):
        found += [cell.cell_contents for cell in thing.__closure__ or ()]
    if isinstance(thing, types.TracebackType) and frames:
        found += [thing.tb_next, dict(thing.tb_frame.f_locals)]
    if isinstance(thing, _ENDS):
        return found
    if isinstance(thing, np.ndarray):
        found.append(thing.base)
        found += list(thing.flat) if thing.dtype == object else []
    elif isinstance(thing, memoryview):
        found.append(thing.obj)
    elif isinstance(thing, types.MethodType):
        found.append(thing.__self__)
    elif type(thing).__module__.partition(".")[0] not in ("builtins", "numpy", "re"):
        for name in dir(thing):
            if not name.startswith("__"):
                with contextlib.suppress(Exception):  # a property may raise what it likes
                    found.append(getattr(thing, name))
    return found + [other for other in gc.get_referents(thing) if not isinstance(other, _ENDS)]


def finds(block: NDArray[np.uint8], *roots: Any, frames: bool = False) -> bool:
    """Whether an array or bytes that hold the first row of a block can be reached."""
    row = block[0].tobytes()
    for thing in reachable(*roots, frames=frames):
        if isinstance(thing, np.ndarray) and row in thing.tobytes():
            return True
        if isinstance(thing, (bytes, bytearray)) and row in thing:
            return True
    return False
