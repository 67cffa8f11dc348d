"""Gaze of a Lab Streaming Layer stream.

Understood without configuration: the streams of Pupil Labs (Neon Companion's own and the LSL
relay's: channels ``x``, ``y`` in pixels of the scene camera) and of Pupil Capture's LSL plugin
(``norm_pos_x``, ``norm_pos_y``, origin bottom left, and ``confidence``). For others, say which
channels hold what.
"""

from __future__ import annotations

import importlib
import math
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from picosam_gaze.clock import RoundTripOffset
from picosam_gaze.source import GazeSourceError, MissingGazeExtraError
from picosam_gaze.sources.place import INVISIBLE_PX, NEON_PX, place
from picosam_gaze.sources.threaded import LinkConfig, PeerLostError, ThreadedSource
from picosam_sdk.config import check
from picosam_sdk.interfaces import Context
from picosam_sdk.types import Gaze

__all__ = ["Layout", "LslConfig", "LslSource", "layout"]

_RESOLVE_S = 0.5
_OPEN_S = 2.0
_PULL_S = 0.2
_CORRECT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class LslConfig(LinkConfig):
    """``{kind = "lsl", ...}``.

    Args:
        stream: name of the stream; "" takes any of the type.
        type: type of the stream; "" takes any of the name.
        x, y, confidence, worn: labels of its channels, or their numbers from 0 as text, such as
            "3"; "" finds x, y and confidence by themselves, and does without worn.
        units: "auto" goes by the stream's own description.
        y_up: whether the origin is bottom left; None goes by the labels.
        min_confidence: below, the eye counts as lost.
        silent_s: a stream that sends nothing for so long is looked for anew.
    """

    stream: str = ""
    type: str = "Gaze"
    x: str = ""
    y: str = ""
    confidence: str = ""
    worn: str = ""
    units: Literal["auto", "shares", "pixels"] = "auto"
    y_up: bool | None = None
    min_confidence: float = 0.0
    silent_s: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.stream or self.type), "stream", "a name or a type", self.stream)
        check((not self.x) == (not self.y), "x", "both x and y, or neither", self.x)
        check(0 < self.silent_s <= 3600, "silent_s", "seconds, up to 3600", self.silent_s)
        ok = 0 <= self.min_confidence <= 1
        check(ok, "min_confidence", "a confidence, 0 to 1", self.min_confidence)
        for text in (self.stream, self.type):
            check("'" not in text, "stream", "a name without quotes", text)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a stream's samples hold what; ``size_px`` is (1, 1) for shares."""

    x: int
    y: int
    confidence: int | None
    worn: int | None
    size_px: tuple[int, int]
    y_up: bool


def layout(config: LslConfig, labels: Sequence[str], units: Sequence[str], maker: str) -> Layout:
    """How to read a stream.

    Args:
        config: of the source.
        labels, units: of the stream's channels; "" where it does not tell.
        maker: name and model that the stream gives.

    Raises:
        PeerLostError: the stream does not hold what is needed.
    """
    found = {label.lower(): number for number, label in reversed(list(enumerate(labels)))}

    def channel(label: str) -> int:
        if label.isdecimal() and int(label) < len(labels):
            return int(label)
        if label.lower() not in found:
            raise PeerLostError(f"the stream has no channel {label!r}; it has {list(labels)}")
        return found[label.lower()]

    core = "norm_pos_x" in found and not config.x
    x = channel(config.x or ("norm_pos_x" if core else "x"))
    y = channel(config.y or ("norm_pos_y" if core else "y"))
    confidence = config.confidence or ("confidence" if "confidence" in found else "")
    pixels = config.units == "pixels" or (config.units == "auto" and units[x].startswith("pix"))
    return Layout(
        x=x,
        y=y,
        confidence=channel(confidence) if confidence else None,
        worn=channel(config.worn) if config.worn else None,
        size_px=_size_px(config, maker) if pixels else (1, 1),
        y_up=core if config.y_up is None else config.y_up,
    )


class LslSource(ThreadedSource):
    """Reads the first stream that fits. LSL itself finds it, after its own lsl_api.cfg."""

    name: ClassVar[str] = "lsl"
    Config: ClassVar[type] = LslConfig

    def __init__(self, config: LslConfig, context: Context) -> None:
        super().__init__(config, context)
        self._pylsl: Any = None
        self._host = RoundTripOffset()
        self._correction_s: float | None = None
        self._size_px: tuple[int, int] | None = None

    @property
    def view_px(self) -> tuple[int, int] | None:
        return super().view_px or self._size_px

    @property
    def stats(self) -> Mapping[str, Any]:
        correction_s = self._correction_s
        offset_ns = None if correction_s is None else int(correction_s * 1e9)
        return {**super().stats, "clock_offset_ns": offset_ns}

    def _prepare(self) -> None:
        try:
            self._pylsl = importlib.import_module("pylsl")
        except ImportError as error:
            raise MissingGazeExtraError("pylsl", "lsl") from error
        except RuntimeError as error:
            raise GazeSourceError(
                "expected pylsl with the library liblsl, which its wheel for this system lacks",
                hint="Install liblsl (github.com/sccn/liblsl/releases), or name it in PYLSL_LIB.",
            ) from error

    def _receive(self, stop: threading.Event, wake: socket.socket) -> None:
        inlet = self._connect()
        how = self._layout(inlet.info(_OPEN_S))
        self._size_px = how.size_px if how.size_px != (1, 1) else None
        self._correct(inlet, _OPEN_S)
        self._linked = True
        corrected_s = heard_s = time.monotonic()
        while not stop.is_set():
            sample, stamp = inlet.pull_sample(timeout=_PULL_S)
            now_s = time.monotonic()
            if now_s - corrected_s > _CORRECT_S:
                self._correct(inlet, 0.1)
                corrected_s = now_s
            if sample is not None:
                self._read(sample, stamp, how)
                heard_s = now_s
            elif now_s - heard_s > self.config.silent_s:
                raise PeerLostError(f"the stream sent nothing for {self.config.silent_s:g} s")

    def _connect(self) -> Any:
        config = self.config
        wanted = {"name": config.stream, "type": config.type}
        predicate = " and ".join(f"{key}='{value}'" for key, value in wanted.items() if value)
        streams = self._pylsl.resolve_bypred(predicate, 1, _RESOLVE_S)
        if not streams:
            raise PeerLostError(f"no LSL stream with {predicate}")
        inlet = self._pylsl.StreamInlet(streams[0], max_buflen=1, max_chunklen=1, recover=False)
        inlet.open_stream(_OPEN_S)
        return inlet

    def _layout(self, info: Any) -> Layout:
        if info.channel_format() == self._pylsl.cf_string:
            raise PeerLostError("the stream holds text, not numbers")
        labels, units = [""] * info.channel_count(), [""] * info.channel_count()
        channel = info.desc().child("channels").child("channel")
        for number in range(info.channel_count()):
            labels[number], units[number] = (channel.child_value(k) for k in ("label", "unit"))
            channel = channel.next_sibling("channel")
        maker = info.desc().child("acquisition").child_value("model")
        return layout(self.config, labels, units, f"{info.name()} {maker}")

    def _correct(self, inlet: Any, timeout_s: float) -> None:
        """Asks LSL how far the stream's clock is from its own, and where its own is."""
        self._correction_s = inlet.time_correction(timeout_s)
        asked_ns = time.monotonic_ns()
        self._host.add(asked_ns, int(self._pylsl.local_clock() * 1e9), time.monotonic_ns())

    def _read(self, sample: Sequence[float], stamp: float, how: Layout) -> None:
        arrived_ns = time.monotonic_ns()
        confidence = 1.0 if how.confidence is None else float(sample[how.confidence])
        x, y = place(float(sample[how.x]), float(sample[how.y]), how.size_px)
        if not (0 <= confidence <= 1 and confidence >= self.config.min_confidence):
            x, y, confidence = math.nan, math.nan, min(max(0.0, confidence), 1.0)
        worn = how.worn is None or float(sample[how.worn]) > 0
        host_ns = self._host.offset_ns(arrived_ns)
        if not math.isfinite(stamp) or host_ns is None or self._correction_s is None:
            self._inbox.count("malformed")
            return
        stamp_ns = int((stamp + self._correction_s) * 1e9) + host_ns
        gaze = Gaze(x, 1 - y if how.y_up else y, stamp_ns, confidence, worn)
        self._inbox.put(gaze, int(stamp * 1e9), arrived_ns)


def _size_px(config: LslConfig, maker: str) -> tuple[int, int]:
    if config.view_px is not None:
        return config.view_px
    for model, size_px in (("neon", NEON_PX), ("invisible", INVISIBLE_PX)):
        if model in maker.lower():
            return size_px
    raise PeerLostError("the stream is in pixels, of a camera of unknown size: set view_px")
