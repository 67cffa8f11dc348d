"""The sensor backend: aims, follows which ROI is in force, reads masks, revives the camera."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from picosam_sdk.backends.imx500.camera import (
    MODES,
    Arrival,
    CameraOptions,
    CameraSession,
    scaler_crop,
)
from picosam_sdk.backends.imx500.card import read_card
from picosam_sdk.backends.imx500.grid import SENSOR_BOX, region_in_view, sensor_box
from picosam_sdk.backends.imx500.ledger import RoiLedger, RoiWrite
from picosam_sdk.backends.imx500.outputs import Outputs, read_outputs
from picosam_sdk.backends.imx500.probe import problem
from picosam_sdk.backends.imx500.roi_control import write_roi
from picosam_sdk.backends.imx500.supervisor import Supervisor
from picosam_sdk.backends.imx500.watchdog import Watchdog
from picosam_sdk.errors import (
    BackendError,
    BackendTimeoutError,
    InputError,
    PicoSamError,
    RoiRejectedError,
)
from picosam_sdk.interfaces import SensorBackend
from picosam_sdk.mask import Mask, Result
from picosam_sdk.types import Box, Frame, Roi

__all__ = ["Imx500Backend"]


class Imx500Backend(SensorBackend):
    """Runs the network in a Raspberry Pi AI Camera (Sony IMX500).

    Args:
        model: the network file (.rpk), its card beside it.
        camera: part of the camera's path in the device tree, such as "i2c@88000"; needed only
            with two AI Cameras.
        frames: whether results carry pictures. False streams none: only masks leave the camera.
        mode: the sensor's: "binned" (2028 x 1520) or "full" (4056 x 3040, 10 frames a second).
        fps: frames a second; None for as many as the mode gives.
        size_px: width and height of the pictures and of pasted masks.
        view: x, y, width, height of the part of the sensor that is the view, in its 4056 x 3040
            pixels; None for all of it. Prompts, pictures and masks are relative to it.
        settle_frames: frames after a change of the ROI whose masks may belong to the ROI
            before; ``picosam imx500 calibrate-settle`` measures it.
        settling: what becomes of those: "drop" or "mark" (``Result.settling``).
        progress: True shows a bar on a terminal while the network is uploaded; a function is
            called with (bytes done, bytes in all) from another thread.
        upload_timeout_s, stall_timeout_s: limits of the whole start, and of an upload that
            does not move.
        frame_timeout_s, inference_frames, restarts, backoff_s: see :class:`.watchdog.Watchdog`.
        input_tensor: also send what the network saw, for calibration and comparison.

    Raises:
        UnavailableError, ModelError, BackendTimeoutError, BackendError: it cannot be opened.
    """

    name: ClassVar[str] = "imx500"

    def __init__(
        self,
        model: str | Path,
        camera: str = "",
        frames: bool = True,
        mode: str = "binned",
        fps: float | None = None,
        size_px: tuple[int, int] = (1014, 760),
        view: tuple[int, int, int, int] | None = None,
        settle_frames: int = 4,
        settling: str = "drop",
        progress: bool | Callable[[int, int], None] = True,
        upload_timeout_s: float = 300.0,
        stall_timeout_s: float = 30.0,
        frame_timeout_s: float = 2.0,
        inference_frames: int = 90,
        restarts: int = 3,
        backoff_s: float = 0.5,
        input_tensor: bool = False,
    ) -> None:
        box = SENSOR_BOX if view is None else Box(*view[:2], view[0] + view[2], view[1] + view[3])
        _check(mode, settling, settle_frames, box)
        self.path = Path(model)
        self.card = read_card(self.path)
        options = CameraOptions(
            self.path, camera, frames, mode, fps, size_px, box, input_tensor, progress,
            upload_timeout_s, stall_timeout_s,
        )  # fmt: skip
        self._mark, self._zoomable, self._size_px = settling == "mark", frames, size_px
        self._condition = threading.Condition()
        self._ledger = RoiLedger(settle_frames)
        self._watchdog = Watchdog(frame_timeout_s, inference_frames, restarts, backoff_s)
        self._counts: Counter[str] = Counter(
            frames=0, inferences=0, settling=0, roi_writes=0, rois_deferred=0
        )
        self._problems: Counter[str] = Counter()
        self._view = box
        self._waiting: tuple[Roi, Box] | None = None
        self._result: Result | None = None
        self._failure: PicoSamError | None = None
        self._newest_ns: int | None = None
        self.observer: Callable[[Arrival, Outputs | None], None] | None = None
        """Called for each frame in the camera's thread; for calibration."""
        self._supervisor = Supervisor(options, self._watchdog, self._arrived)
        self._start()

    @classmethod
    def unavailable(cls) -> str:
        if find_spec("picamera2") is None:
            return "the package picamera2 is not installed"
        if find_spec("libcamera") is None:
            return (
                "libcamera's Python module is not there; on Raspberry Pi OS, make the "
                "environment with: python3 -m venv --system-site-packages"
            )
        return problem()

    def aim(self, roi: Roi | None) -> None:
        with self._condition:
            self._check_usable()
            self._waiting = None
            try:
                box = None if roi is None else sensor_box(roi, self.card.crop, self._view)
            except InputError:
                self._forget()
                raise
            if roi is None or box is None:
                self._forget()
                return
            current = self._ledger.current
            if current is not None and current.box == box:
                self._ledger.reprompt(roi)
            elif self._ledger.busy:
                self._waiting = (roi, box)
                self._counts["rois_deferred"] += 1
            else:
                self._result = None
                self._write(roi, box)

    def read(self, timeout_s: float) -> Result:
        deadline = time.monotonic() + timeout_s
        while True:
            with self._condition:
                self._check_usable()
                trouble = self._watchdog.trouble()
                if self._result is not None:
                    result, self._result = self._result, None
                    return self._aged(result)
                remaining = deadline - time.monotonic()
                if not trouble:
                    if remaining <= 0:
                        raise BackendTimeoutError(
                            f"expected a result within {timeout_s:g} s, got none "
                            f"({self._summary()})",
                            hint="Allow more time, or look at the backend's stats.",
                        )
                    self._condition.wait(min(remaining, 0.05))
                    continue
            self._start(trouble)

    def close(self) -> None:
        self._supervisor.close()
        with self._condition:
            self._failure = None  # its traceback leads back here
            self._condition.notify_all()

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the pictures and of pasted masks."""
        session = self._supervisor.session
        return session.size_px if session is not None else self._size_px

    @property
    def stats(self) -> dict[str, Any]:
        """State, counts of frames, inferences, ROI writes and restarts, and odd outputs."""
        with self._condition:
            current = self._ledger.current
            return {
                "state": self._supervisor.state,
                **self._counts,
                "restarts": self._watchdog.total,
                "problems": dict(self._problems),
                "roi_px": None if current is None else tuple(current.box),
                "settle_frames": self._ledger.settle_frames,
            }

    def writes(self) -> list[RoiWrite]:
        """The last ROIs that were written, oldest first."""
        with self._condition:
            return list(self._ledger.writes)

    def info(self) -> dict[str, Any]:
        return {"model": str(self.path), "quantization": self.card.quantization, **self.stats}

    def _start(self, trouble: str = "") -> None:
        """Opens the camera (again) and aims it as it was: a new session sees the whole sensor."""
        with self._condition:
            current = self._ledger.current
            aimed = self._waiting or (current and (current.prompt, current.box))
            self._ledger.clear()
            self._waiting = aimed or None
        try:
            self._supervisor.open(trouble)
        except PicoSamError as error:
            self._failure = error
            raise
        with self._condition:
            aimed, self._waiting = self._waiting, None
            if aimed:
                self._write(*aimed)

    def _check_usable(self) -> None:
        if self._failure is not None:
            failure = self._failure
            if isinstance(failure, RoiRejectedError):
                self._failure = None  # said once; another ROI may be taken
            raise failure
        if self._supervisor.state == "closed":
            raise BackendError(
                "expected an open sensor, got one that was closed",
                hint="Use it inside its 'with' block, or open another.",
            )

    # In the camera's thread.

    def _arrived(self, session: CameraSession, arrival: Arrival) -> None:
        began = time.perf_counter_ns()
        outputs = read_outputs(session.helper, arrival.metadata, self.card.crop.size_px)
        with self._condition:
            if isinstance(outputs, str):
                self._problems[outputs] += 1
                outputs = None
            elif outputs is not None and outputs.note:
                self._problems[outputs.note] += 1
            self._newest_ns = arrival.timestamp_ns
            self._counts["frames"] += 1
            self._counts["inferences"] += outputs is not None
            if self._zoomable:
                self._view = scaler_crop(arrival.metadata) or self._view
            self._watchdog.frame(outputs is not None)
            settled = self._ledger.frame(arrival.timestamp_ns, outputs is not None)
            if self.observer is not None:
                self.observer(arrival, outputs)
            result = self._made(session, arrival, outputs, settled)
            if result is not None:
                parse_ms = (time.perf_counter_ns() - began) / 1e6
                timings = {**(outputs.timings_ms if outputs else {}), "host": parse_ms}
                self._result = dataclasses.replace(result, timings_ms=timings)
                self._condition.notify_all()
            if self._waiting is not None and not self._ledger.busy:
                waiting, self._waiting = self._waiting, None
                try:
                    self._write(*waiting)
                except RoiRejectedError as error:
                    self._failure, self._result = error, None
                    self._condition.notify_all()

    def _made(
        self, session: CameraSession, arrival: Arrival, outputs: Outputs | None, settled: bool
    ) -> Result | None:
        """The result of a frame; None if it has none."""
        write = self._ledger.current
        mask: Mask | None = None
        if write is None and self._waiting is not None:
            return None  # just opened again, and about to be aimed as before
        if write is not None:
            if outputs is None:
                return None
            if not settled:
                self._counts["settling"] += 1
                if not self._mark:
                    return None
            region = region_in_view(write.box, self._view)
            if region is None:
                self._problems["the view was moved away from the ROI"] += 1
            else:
                mask = Mask(
                    logits=outputs.logits, roi=region, score=min(max(outputs.score, 0.0), 1.0),
                    size_px=session.size_px, prompt=write.prompt,
                    threshold=self.card.threshold_logit,
                )  # fmt: skip
        image = arrival.picture() if arrival.picture is not None else None
        frame = Frame(image, arrival.timestamp_ns, self._counts["frames"] - 1)
        return Result(
            frame, mask, write.prompt if write else None,
            ages_ns={"roi": write.written_ns} if write else {},
            settling=write is not None and not settled,
        )  # fmt: skip

    def _write(self, roi: Roi, box: Box) -> None:
        """Writes a ROI and records it; from a refusal on, there is no prompt."""
        self._ledger.clear()
        session = self._supervisor.session
        if session is None or self._supervisor.state != "streaming":
            self._waiting = (roi, box)  # it is being opened, and is aimed then
            return
        write_roi(session.helper, box)
        self._counts["roi_writes"] += 1
        self._ledger.record(RoiWrite(roi, box, time.monotonic_ns(), self._newest_ns))

    def _aged(self, result: Result) -> Result:
        """Turns points in time into ages."""
        now = time.monotonic_ns()
        ages = {key: now - value for key, value in result.ages_ns.items()}
        return dataclasses.replace(
            result, ages_ns={"frame": now - result.frame.timestamp_ns, **ages}
        )

    def _forget(self) -> None:
        self._ledger.clear()
        self._result = None

    def _summary(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self._counts.items())
        problems = "; ".join(f"{name}: {count}" for name, count in self._problems.items())
        return f"state {self._supervisor.state}, {counts or 'no frames'}" + (
            f"; {problems}" if problems else ""
        )


def _check(mode: str, settling: str, settle_frames: int, view: Box) -> None:
    whole = SENSOR_BOX
    inside = 0 <= view.x0 < view.x1 <= whole.x1 and 0 <= view.y0 < view.y1 <= whole.y1
    if mode not in MODES or settling not in ("drop", "mark") or settle_frames < 0 or not inside:
        raise InputError(
            "expected mode 'binned' or 'full', settling 'drop' or 'mark', settle_frames of at "
            f"least 0 and a view inside 4056 x 3040 pixels, got {mode!r}, {settling!r}, "
            f"{settle_frames} and {tuple(view)}",
            hint="Leave them out for what suits most cameras.",
        )
