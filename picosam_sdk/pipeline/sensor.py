"""A sensor that runs the network itself: it is aimed, and its masks are read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from picosam_sdk.errors import (
    BackendError,
    BackendTimeoutError,
    InputError,
    RoiRejectedError,
)
from picosam_sdk.interfaces import SensorBackend
from picosam_sdk.mask import Result
from picosam_sdk.pipeline.look import Ask, Ended, Eye, Look, Watch, recover
from picosam_sdk.pipeline.sensor_ladder import SensorLadder
from picosam_sdk.retrying import Backoff
from picosam_sdk.segmenter import Segmenter
from picosam_sdk.stats import Stats
from picosam_sdk.types import Prompt, Roi

__all__ = ["SensorEye"]

_READ_S = 0.1
"""How long one look waits for a result: a new prompt is asked for at least this often."""

_SILENCE_S = 10.0
"""How long the sensor may give nothing before it is opened again; it revives itself sooner."""

_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class _Aim:
    """Where the sensor was aimed last, and since when; counted: its first mask has come."""

    roi: Roi | None = None
    since_ns: int = 0
    counted: bool = True


class SensorEye(Eye):
    """Aims a sensor where the prompts say, and reads what it sees.

    A result answers the prompt that was in force when its mask was computed, not the newest one.
    Without a prompt no result has a mask.

    Args:
        make_segmenter: opens the sensor.
        stats, watch: as for the host.
        name: of its stats.
    """

    def __init__(
        self, make_segmenter: Callable[[], Segmenter], stats: Stats, watch: Watch, name: str
    ) -> None:
        self._make_segmenter, self._stats, self._watch = make_segmenter, stats, watch
        self._segmenter: Segmenter | None = None
        self._own = stats.part("backend", name, self._sensor_stats)
        self._backoff = Backoff()
        self._ladder = SensorLadder()
        self._prompts: OrderedDict[Roi, Prompt] = OrderedDict()
        self._aim = _Aim()
        self._refused: tuple[Roi | None, float] = (None, 0.0)
        self._heard_s = 0.0

    def open(self) -> None:
        self._segmenter = self._make_segmenter()
        self._own.state = "ready"
        self._prompts.clear()
        self._ladder.reset()
        self._aim, self._heard_s = _Aim(), time.monotonic()

    def look(self, ask: Ask) -> Look | None:
        self._watch.expect(60 + _SILENCE_S)
        prompt = ask()
        began_s = time.monotonic()
        try:
            self._aim_at(self._sensor, self._roi_of(prompt), prompt)
            began_s = time.monotonic()
            result = self._sensor.read(_READ_S)
        except RoiRejectedError as error:
            self._own.error(error)
            self._refuse(self._sensor)
            return None
        except BackendTimeoutError as error:
            now_s = time.monotonic()
            # One that comes at once says that the sensor could not be revived.
            waited = now_s - began_s >= _READ_S / 2
            if not waited or now_s - self._heard_s > _SILENCE_S:
                self._recover(error)
            return None
        except EOFError as error:  # a recording is at its end
            raise Ended from error
        except Exception as error:  # of a plugin's sensor: whatever it raises
            self._recover(error)
            return None
        read_ms = (time.monotonic() - began_s) * 1000
        self._stats.time("camera", read_ms)
        self._heard_s = time.monotonic()
        self._own.state = "ready"
        self._own.count("frames")
        self._backoff.reset()
        return self._answer(result, prompt)

    def close(self) -> None:
        if self._segmenter is not None:
            segmenter, self._segmenter = self._segmenter, None
            with suppress(BackendError):
                segmenter.close()

    @property
    def _sensor(self) -> SensorBackend:
        """Asked for anew each time: a variable would keep a broken one while the next opens."""
        assert self._segmenter is not None
        sensor: SensorBackend = self._segmenter.backend
        return sensor

    def _roi_of(self, prompt: Prompt | None) -> Roi | None:
        """Where to aim for a prompt."""
        if prompt is None or prompt.point is None:
            self._ladder.reset()
            return None if prompt is None else prompt.roi
        return self._ladder.aim(prompt.point, prompt.region)

    def _aim_at(self, sensor: SensorBackend, roi: Roi | None, prompt: Prompt | None) -> None:
        refused, until_s = self._refused
        if roi is not None and roi == refused and time.monotonic() < until_s:
            roi = None
        if roi is not None and prompt is not None:
            self._prompts[roi] = prompt
            self._prompts.move_to_end(roi)
            while len(self._prompts) > _REMEMBERED:
                self._prompts.popitem(last=False)
        changed = roi != self._aim.roi
        if changed:
            self._aim = _Aim(roi, time.monotonic_ns(), counted=roi is None)
        began_ns = time.perf_counter_ns()
        try:
            sensor.aim(roi)
        except InputError as error:  # outside the view: there is no prompt from now on
            self._own.error(error)
            return
        if changed and roi is not None:
            self._stats.time("roi_write", (time.perf_counter_ns() - began_ns) / 1e6)

    def _refuse(self, sensor: SensorBackend) -> None:
        """A ROI that the sensor did not take is not written again at once."""
        self._refused = (self._aim.roi, time.monotonic() + 1.0)
        self._aim = _Aim()
        with suppress(BackendError):
            sensor.aim(None)

    def _answer(self, result: Result, newest: Prompt | None) -> Look:
        """A look of a result: its mask belongs to the prompt that was in force."""
        if "dnn" in result.timings_ms:
            self._stats.time("inference", result.timings_ms["dnn"])
        ages_ns = {"frame": result.ages_ns["frame"]} if "frame" in result.ages_ns else {}
        if "roi" in result.ages_ns:
            ages_ns["roi_write"] = result.ages_ns["roi"]
        mask, asked = result.mask, result.roi
        if mask is None or asked is None or newest is None:
            return Look(result.frame, timings_ms=result.timings_ms, ages_ns=ages_ns)
        if asked == self._aim.roi and not self._aim.counted and not result.settling:
            self._stats.time("roi_settle", (time.monotonic_ns() - self._aim.since_ns) / 1e6)
            self._aim = _Aim(asked, self._aim.since_ns, counted=True)
        prompt = self._prompts.get(asked)
        kept = None if prompt is None else mask
        if prompt is not None and prompt.point is not None:
            same = newest.point is not None and newest.region == prompt.region
            kept = self._ladder.take(mask) if same and not result.settling else None
        return Look(
            result.frame, kept, asked if kept is not None else None, prompt,
            result.timings_ms, ages_ns, result.settling,
        )  # fmt: skip

    def _recover(self, error: Exception) -> None:
        if self._watch.wait(0):
            raise Ended from error
        recover("sensor", error, self.close, self.open, self._own, self._backoff, self._watch)

    def _sensor_stats(self) -> dict[str, object]:
        segmenter = self._segmenter
        return {} if segmenter is None else dict(segmenter.backend.stats)
