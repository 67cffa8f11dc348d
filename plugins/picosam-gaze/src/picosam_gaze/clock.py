"""A peer's clock laid on the host's monotonic clock: estimates of the offset between the two.

``offset_ns`` is what is added to the peer's time to get the host's. The peer's clock may be hours
off, drift, or be set while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["OneWayOffset", "RoundTripOffset"]

_Measured = tuple[int, int, int]  # offset, its error, and when: in nanoseconds

_DRIFT = 1e-4
"""How fast two clocks are taken to drift apart: 100 ppm, twice what a cheap quartz does."""

_STEP_NS = 500_000_000
"""Two measurements that differ by more were made before and after the peer's clock was set."""


class OneWayOffset:
    """From arrival times alone: the smallest of (arrival - peer's time) within a window.

    The sample that was delayed least tells the offset best. The shortest delay itself cannot be
    seen from one side, so that ages are too short by it (well under a millisecond on a LAN).

    A sample that is off by more than ``step_s`` is refused, since it may be forged or hours late.
    If those that follow agree with it for long enough, the peer's clock was set, and a new
    estimate begins. One that seems late must persist for longer: it may be a network that has
    stalled, and old gaze must not look new.

    Args:
        window_s: how far back it looks, so that a drift of 100 ppm stays under 3 ms.
        step_s: the deviation that is no jitter any more.
        ahead_s, behind_s: how long the deviation must last if the peer's clock went forward or
            back.
    """

    def __init__(
        self,
        window_s: float = 30.0,
        step_s: float = 1.0,
        ahead_s: float = 0.5,
        behind_s: float = 3.0,
    ) -> None:
        self._half_ns = int(window_s * 1e9 / 2)
        self._step_ns = int(step_s * 1e9)
        self._ahead_ns, self._behind_ns = int(ahead_s * 1e9), int(behind_s * 1e9)
        self._since_ns = 0
        self._low: int | None = None
        self._low_before: int | None = None
        self._suspect: tuple[int, int, int] | None = None
        self.steps = 0

    @property
    def offset_ns(self) -> int | None:
        """The estimate; None before the first sample."""
        if self._low is None or self._low_before is None:
            return self._low
        return min(self._low, self._low_before)

    def to_host(self, peer_ns: int, arrival_ns: int) -> int | None:
        """When the sample was made, on the host's clock, at most its arrival.

        Args:
            peer_ns: its time on the peer's clock.
            arrival_ns: when it came, on the host's clock.

        Returns:
            None if its time cannot be trusted. ``steps`` has risen if a new estimate began.
        """
        apart_ns = arrival_ns - peer_ns
        offset_ns = self.offset_ns
        if offset_ns is not None and abs(apart_ns - offset_ns) > self._step_ns:
            if not self._persists(apart_ns, arrival_ns, late=apart_ns > offset_ns):
                return None
            self._low = self._low_before = None
            self.steps += 1
        self._suspect = None
        self._add(apart_ns, arrival_ns)
        offset_ns = self.offset_ns
        assert offset_ns is not None
        return min(peer_ns + offset_ns, arrival_ns)

    def _add(self, apart_ns: int, arrival_ns: int) -> None:
        if self._low is None or arrival_ns - self._since_ns > 2 * self._half_ns:
            self._low, self._low_before, self._since_ns = apart_ns, None, arrival_ns
        elif arrival_ns - self._since_ns > self._half_ns:
            self._low_before, self._low, self._since_ns = self._low, apart_ns, arrival_ns
        else:
            self._low = min(self._low, apart_ns)

    def _persists(self, apart_ns: int, arrival_ns: int, late: bool) -> bool:
        """Whether the deviation has been the same for long enough, in at least five samples."""
        if self._suspect is None or abs(apart_ns - self._suspect[0]) > self._step_ns // 4:
            self._suspect = (apart_ns, arrival_ns, 1)
            return False
        first_apart_ns, first_ns, count = self._suspect
        self._suspect = (first_apart_ns, first_ns, count + 1)
        needed_ns = self._behind_ns if late else self._ahead_ns
        return count >= 4 and arrival_ns - first_ns >= needed_ns


class RoundTripOffset:
    """From questions that the peer answers with its time (Cristian's algorithm, as NTP does it).

    The answer's time lies between question and answer; half the way there and back is the error.
    Of the measurements kept, the one with the smallest error counts, where an error grows with
    age by how fast clocks drift (RFC 5905 calls it dispersion).

    ``steps`` counts how often the peer's clock was set; drifting is none.

    Args:
        keep: measurements that are kept.
    """

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._kept: tuple[_Measured, ...] = ()  # replaced as a whole: other threads read it
        self.steps = 0

    def add(self, asked_ns: int, peer_ns: int, answered_ns: int, resolution_ns: int = 0) -> None:
        """Adds a question: when it was asked, the peer's time in the answer, when that came.

        Args:
            resolution_ns: of the peer's time.
        """
        middle_ns = (asked_ns + answered_ns) // 2
        error_ns = (answered_ns - asked_ns) // 2 + resolution_ns
        self.add_measured(middle_ns - peer_ns, error_ns, answered_ns)

    def add_measured(self, offset_ns: int, error_ns: int, at_ns: int) -> None:
        """Adds an offset that was measured elsewhere, with its error, at a time of the host."""
        kept = self._kept
        if kept:
            known_ns = _best(kept, at_ns)
            apart_ns = abs(offset_ns - known_ns[0])
            if apart_ns > error_ns + known_ns[1]:  # both cannot be right: the newer one is
                kept = ()
                self.steps += apart_ns > _STEP_NS
        self._kept = (*kept, (offset_ns, error_ns, at_ns))[-self._keep :]

    def offset_ns(self, now_ns: int) -> int | None:
        """The estimate; None before the first measurement."""
        kept = self._kept
        return _best(kept, now_ns)[0] if kept else None

    def error_ns(self, now_ns: int) -> int | None:
        """How far the estimate may be off; None before the first measurement."""
        kept = self._kept
        return _best(kept, now_ns)[1] if kept else None


def _best(kept: Iterable[_Measured], now_ns: int) -> tuple[int, int]:
    """The offset whose error is smallest by now, and that error."""
    aged = (
        (offset_ns, error_ns + int(abs(now_ns - at_ns) * _DRIFT))
        for offset_ns, error_ns, at_ns in kept
    )
    return min(aged, key=lambda item: item[1])
