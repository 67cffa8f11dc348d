"""What every gaze source must do; a test class to inherit.

::

    from picosam_gaze.testing import GazeSourceContract

    class TestAcmeGlasses(GazeSourceContract):
        @pytest.fixture(autouse=True)
        def glasses(self):
            with EmulatedGlasses() as self.glasses:
                yield

        def make(self, **keys):
            return AcmeGlasses(AcmeConfig(port=self.glasses.port, **keys), Context())

        def send(self, source, gaze):
            self.glasses.send(gaze.x, gaze.y)
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from picosam_gaze.source import GazeSource, SourceConfig
from picosam_gaze.sources.inbox import COUNTS
from picosam_sdk.config import from_mapping
from picosam_sdk.types import Gaze

__all__ = ["GazeSourceContract", "poll"]


def poll(done: Callable[[], Any], what: str, timeout_s: float = 10.0) -> Any:
    """Waits until something is true, and returns it; fails the test if it does not come true."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = done()
        if value:
            return value
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.005)


class GazeSourceContract:
    """Tests of a gaze source with a peer. Inherit it; say how to make one and how to feed it.

    Attributes:
        timeout_s: how long the tests wait for something to happen.
        place_tolerance: how far, in shares of the view, a place may move on its way.
        tells_lost: whether the source can tell that the eye was lost.
        tells_worn: whether it can tell that nobody wears the tracker.
        tells_confidence: whether it passes on the tracker's confidence.
        tells_time: whether the peer says when the eye was measured; otherwise, the arrival counts.
        time_tolerance_ns: by how much that time may be off.
        queues: whether samples wait until they are read; a pointer has only its newest place.
        loses: whether ``lose`` and ``restore`` are implemented.
    """

    timeout_s: ClassVar[float] = 10.0
    place_tolerance: ClassVar[float] = 1e-4
    tells_lost: ClassVar[bool] = True
    tells_worn: ClassVar[bool] = True
    tells_confidence: ClassVar[bool] = True
    tells_time: ClassVar[bool] = True
    time_tolerance_ns: ClassVar[int] = 20_000_000
    queues: ClassVar[bool] = True
    loses: ClassVar[bool] = True

    def make(self, **keys: Any) -> GazeSource:
        """A new source, not opened, whose peer is there; ``keys`` go into its ``Config``."""
        raise NotImplementedError("say how to make the source")

    def send(self, source: GazeSource, gaze: Gaze) -> None:
        """Makes the peer send a sample. Its time is on the host's monotonic clock.

        If the source is not connected to the peer yet, the sample may be lost.
        """
        raise NotImplementedError("say how the peer sends a sample")

    def lose(self, source: GazeSource) -> None:
        """Takes the peer away, as if its plug were pulled."""
        raise NotImplementedError("say how the peer is lost, or set loses = False")

    def restore(self, source: GazeSource) -> None:
        """Brings the peer back."""
        raise NotImplementedError("say how the peer comes back, or set loses = False")

    @pytest.fixture
    def source(self) -> Iterator[GazeSource]:
        source = self.make()
        source.open()
        try:
            yield source
        finally:
            source.close()

    def establish(self, source: GazeSource) -> None:
        """Sends until something arrives, then reads what else is under way, up to a last one."""

        def arrived() -> bool:
            self.send(source, Gaze(0.5, 0.5, time.monotonic_ns()))
            time.sleep(0.02)
            return bool(source.samples())

        poll(arrived, f"a first sample; stats: {source.stats}", self.timeout_s)
        self.exchange(source, Gaze(0.75, 0.25, time.monotonic_ns()))

    def exchange(self, source: GazeSource, gaze: Gaze) -> Gaze:
        """Sends a sample, and returns what became of it."""
        self.send(source, gaze)
        return self.receive(source, gaze)

    def receive(self, source: GazeSource, gaze: Gaze) -> Gaze:
        """Reads until a sample with the same place and state comes."""

        def find() -> Gaze | None:
            return next((got for got in source.samples() if self.alike(got, gaze)), None)

        got: Gaze = poll(find, f"the sample {gaze}; stats: {source.stats}", self.timeout_s)
        return got

    def alike(self, got: Gaze, sent: Gaze) -> bool:
        if math.isnan(sent.x):
            return math.isnan(got.x) and math.isnan(got.y)
        far = max(abs(got.x - sent.x), abs(got.y - sent.y))
        return far <= self.place_tolerance and (got.worn == sent.worn or not self.tells_worn)

    def test_is_made_without_a_peer_and_opens_nothing(self) -> None:
        source = self.make()
        assert isinstance(source, GazeSource)
        assert source.name
        assert dataclasses.is_dataclass(source.Config)
        assert issubclass(source.Config, SourceConfig)
        assert not source.connected
        assert source.samples() == []
        json.dumps(dict(source.stats))
        source.close()

    def test_an_unknown_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nonsense"):
            from_mapping({"nonsense": 1}, self.make().Config)

    def test_a_sample_arrives_once_where_and_when_it_was(self, source: GazeSource) -> None:
        self.establish(source)
        sent = Gaze(0.25, 0.75, time.monotonic_ns(), confidence=0.875)
        self.send(source, sent)
        got = self.receive(source, sent)
        assert isinstance(got.x, float)
        assert isinstance(got.timestamp_ns, int)
        assert got.timestamp_ns <= time.monotonic_ns()
        if self.tells_time:
            assert abs(got.timestamp_ns - sent.timestamp_ns) <= self.time_tolerance_ns
        else:
            assert got.timestamp_ns >= sent.timestamp_ns - 1_000_000
        if self.tells_confidence:
            assert got.confidence == pytest.approx(0.875)
        self.exchange(source, Gaze(0.5, 0.125, time.monotonic_ns()))
        assert not [again for again in source.samples() if self.alike(again, sent)]

    def test_places_outside_the_view_are_kept(self, source: GazeSource) -> None:
        self.establish(source)
        got = self.exchange(source, Gaze(1.25, -0.5, time.monotonic_ns()))
        assert got.valid
        assert not got.inside

    def test_a_lost_eye_gives_no_place(self, source: GazeSource) -> None:
        if not self.tells_lost:
            pytest.skip("this source cannot tell")
        self.establish(source)
        got = self.exchange(source, Gaze(math.nan, math.nan, time.monotonic_ns()))
        assert not got.valid

    def test_glasses_that_nobody_wears_give_no_place(self, source: GazeSource) -> None:
        if not self.tells_worn:
            pytest.skip("this source cannot tell")
        self.establish(source)
        got = self.exchange(source, Gaze(0.3, 0.3, time.monotonic_ns(), worn=False))
        assert not got.worn
        assert not got.valid

    def test_time_never_runs_back_and_is_never_ahead(self, source: GazeSource) -> None:
        self.establish(source)
        stamps = []
        for step in range(6):
            place = 0.1 + step / 10
            got = self.exchange(source, Gaze(place, place, time.monotonic_ns()))
            stamps.append(got.timestamp_ns)
            assert got.timestamp_ns <= time.monotonic_ns()
        assert stamps == sorted(set(stamps))

    def test_counts_what_came(self, source: GazeSource) -> None:
        self.establish(source)
        stats = source.stats
        json.dumps(dict(stats))
        assert set(COUNTS) <= set(stats)
        assert stats["received"] >= 1
        assert stats["connected"] is source.connected
        assert 0 <= stats["last_sample_age_s"] <= self.timeout_s

    def test_silence_is_seen(self) -> None:
        source = self.make(timeout_s=0.2)
        source.open()
        try:
            assert not source.connected

            def connected() -> bool:
                self.send(source, Gaze(0.5, 0.5, time.monotonic_ns()))
                time.sleep(0.02)
                source.samples()
                return source.connected

            poll(connected, "the source to be connected", self.timeout_s)
            poll(lambda: not source.connected, "silence to be seen", self.timeout_s)
            assert source.stats["last_sample_age_s"] >= 0.2
        finally:
            source.close()

    def test_the_oldest_is_dropped_and_counted(self) -> None:
        if not self.queues:
            pytest.skip("this source has only its newest sample")
        source = self.make(buffer=4)
        source.open()
        try:
            self.establish(source)
            before = source.stats["received"]
            for step in range(7):
                self.send(source, Gaze(step / 10, 0.5, time.monotonic_ns()))
            poll(lambda: source.stats["received"] >= before + 7, "7 samples", self.timeout_s)
            samples = source.samples()
            assert len(samples) == 4
            assert [round(got.x, 2) for got in samples] == [0.3, 0.4, 0.5, 0.6]
            assert source.stats["dropped"] >= 3
        finally:
            source.close()

    def test_a_peer_that_is_gone_is_seen_and_found_again(self) -> None:
        if not self.loses:
            pytest.skip("this source has no peer that could be lost")
        source = self.make(timeout_s=2.0)
        source.open()
        try:
            self.establish(source)
            assert source.connected
            self.lose(source)
            poll(lambda: not source.connected, "the loss to be seen", self.timeout_s)
            source.samples()
            assert source.samples() == []
            self.restore(source)
            self.establish(source)
            assert source.connected
            self.exchange(source, Gaze(0.125, 0.875, time.monotonic_ns()))
        finally:
            source.close()

    def test_is_closed_twice_and_opened_again(self) -> None:
        source = self.make()
        source.open()
        try:
            self.establish(source)
            source.close()
            source.close()
            assert not source.connected
            source.samples()
            assert source.samples() == []
            source.open()
            self.establish(source)
        finally:
            source.close()
