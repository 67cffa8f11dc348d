"""What parts share, such that a publisher can put a pointer or a prompt there and read none.

Where a pointing device is, and what a prompt was made from, is gaze, too: a recipient without
that grant must not read it past its gate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from picosam_sdk.interfaces import Context, Latest

__all__ = ["Inbox", "for_recipient", "shared_context"]

T = TypeVar("T")


class Inbox(Latest[T]):
    """A :class:`~picosam_sdk.interfaces.Latest` that others can be given slots of.

    The inbox refers to its slots and no slot to the inbox, so that who holds a slot cannot come
    from there to what others put.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stamp = itertools.count(1).__next__
        self._own: _Slot[T] = _Slot(self._stamp)
        self._slots = [self._own]

    def slot(self) -> Latest[T]:
        """A place whose values show here; it gives back nothing but what was put there itself."""
        slot: _Slot[T] = _Slot(self._stamp)
        self._slots.append(slot)
        return slot

    def put(self, value: T | None) -> None:
        self._own.put(value)

    def get(self) -> T | None:
        """The newest value of all slots."""
        return max((slot.stamped() for slot in self._slots), key=lambda pair: pair[0])[1]


class _Slot(Latest[T]):
    def __init__(self, stamp: Callable[[], int]) -> None:
        super().__init__()
        self._stamp, self._put_at = stamp, 0

    def put(self, value: T | None) -> None:
        with self._lock:
            self._value, self._put_at = value, self._stamp()

    def stamped(self) -> tuple[int, T | None]:
        with self._lock:
            return self._put_at, self._value


def shared_context(device: str, session: str) -> Context:
    """The context of ROI sources, which choose where to look and so may read what is put there."""
    return Context(device, session, pointer=Inbox(), prompt=Inbox())


def for_recipient(context: Context) -> Context:
    """The context of any other part: it can put a pointer or a prompt there, and read only these.

    Args:
        context: of :func:`shared_context`.
    """
    pointer, prompt = context.pointer, context.prompt
    return replace(
        context,
        pointer=pointer.slot() if isinstance(pointer, Inbox) else Latest(),
        prompt=prompt.slot() if isinstance(prompt, Inbox) else Latest(),
    )
