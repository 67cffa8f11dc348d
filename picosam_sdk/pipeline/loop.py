"""The loop: a frame, a prompt, a mask, a result; the same for a host and for a sensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from picosam_sdk.mask import Mask, Result
from picosam_sdk.outbox import Outbox
from picosam_sdk.pipeline.filter_chain import FilterChain
from picosam_sdk.pipeline.look import Ended, Eye, Look, Watch
from picosam_sdk.pipeline.roi_chain import RoiChain
from picosam_sdk.settings import RunConfig
from picosam_sdk.stats import Stats
from picosam_sdk.types import Prompt

__all__ = ["Pipeline"]

_WAIT_S = 0.1


class Pipeline:
    """Runs the loop, in a thread of its own.

    Nothing in it waits for a publisher, but for those whose table says ``wait``. An eye that fails
    is opened again; a source or filter that fails is counted and passed over.

    Args:
        eye: where frames and masks come from.
        rois: where prompts come from.
        filters: what masks go through.
        outboxes: where results go.
        stats: counted into.
        run: limits of the loop.
        watch: ends it, and sees that it lives.
    """

    def __init__(
        self,
        eye: Eye,
        rois: RoiChain,
        filters: FilterChain,
        outboxes: Sequence[Outbox],
        stats: Stats,
        run: RunConfig,
        watch: Watch,
    ) -> None:
        self._eye, self._rois, self._filters = eye, rois, filters
        self._outboxes, self._stats, self._run = outboxes, stats, run
        self._watch = watch
        self._awaited = [outbox for outbox in outboxes if outbox.waits]
        self._period_ns = round(1e9 / run.max_fps) if run.max_fps > 0 else 0
        self._due_ns = 0
        self._done = 0

    def open(self) -> None:
        """Opens all but the outboxes.

        Raises:
            PicoSamError: a part cannot be opened.
        """
        self._eye.open()
        self._rois.open()
        self._filters.open()

    def run(self) -> None:
        """Runs until the frames end, ``max_frames`` are done, or it is to stop."""
        with suppress(Ended):
            while not self._watch.wait(0):
                self._pace()
                self._wait(Outbox.wait_for_room)
                look = self._eye.look(self._ask)
                if look is not None:
                    self._hand_over(look)
        with suppress(Ended):
            self._wait(Outbox.wait_delivered)

    def close(self) -> None:
        """Closes all but the outboxes; may be called more than once."""
        self._rois.close()
        self._filters.close()
        self._eye.close()

    def _ask(self) -> Prompt | None:
        return self._rois.latest(time.monotonic_ns())

    def _pace(self) -> None:
        """Waits for the next frame's turn under ``max_fps``."""
        if not self._period_ns:
            return
        now_ns = time.monotonic_ns()
        pause_s = (self._due_ns - now_ns) / 1e9
        if pause_s > 0:
            self._watch.expect(pause_s + 30)
            if self._watch.wait(pause_s):
                raise Ended
        # On a grid of time; a frame that came much too late does not make the next ones hurry.
        on_time = now_ns - self._due_ns < self._period_ns
        self._due_ns = (self._due_ns if on_time else now_ns) + self._period_ns

    def _wait(self, until: Callable[[Outbox, float], bool]) -> None:
        """Waits for those publishers that are to be waited for, or for the end."""
        for outbox in self._awaited:
            while not until(outbox, _WAIT_S):
                self._watch.expect(30)
                if self._watch.wait(0):
                    raise Ended

    def _hand_over(self, look: Look) -> None:
        result = self._result(look)
        self._count(result)
        now_ns = time.monotonic_ns()
        self._rois.observe(result, now_ns)
        for outbox in self._outboxes:
            outbox.offer(result, now_ns)
        self._stats.frame()
        self._done += 1
        if self._run.max_frames and self._done >= self._run.max_frames:
            raise Ended

    def _result(self, look: Look) -> Result:
        prompt, timings_ms = look.prompt, dict(look.timings_ms)
        began_ns = time.perf_counter_ns()
        mask = self._filtered(look)
        timings_ms["filters"] = (time.perf_counter_ns() - began_ns) / 1e6
        now_ns = time.monotonic_ns()
        ages_ns = {"frame": now_ns - look.frame.timestamp_ns}
        if prompt is not None and prompt.timestamp_ns:
            ages_ns["roi"] = now_ns - prompt.timestamp_ns
        if prompt is not None and prompt.gaze is not None:
            ages_ns["gaze"] = now_ns - prompt.gaze.timestamp_ns
        return Result(
            frame=look.frame,
            mask=mask,
            roi=look.roi,
            timings_ms=timings_ms,
            ages_ns={**look.ages_ns, **ages_ns},
            settling=look.settling,
            region="" if prompt is None else prompt.region,
            gaze=None if prompt is None else prompt.gaze,
        )

    def _filtered(self, look: Look) -> Mask | None:
        region = "" if look.prompt is None else look.prompt.region
        return self._filters.apply(look.mask, region, time.monotonic_ns())

    def _count(self, result: Result) -> None:
        self._stats.count("masks", int(result.mask is not None))
        self._stats.count("settling", int(result.settling))
        for name, age_ns in result.ages_ns.items():
            self._stats.time(f"{name}_age", age_ns / 1e6)
