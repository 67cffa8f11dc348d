"""What a plugin implements: abstract base classes, one a role."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from picosam_sdk.mask import Mask, Result
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.settings import EgressRule
from picosam_sdk.types import Frame, Gaze, ImageArray, Prompt, Roi

__all__ = [
    "Backend",
    "Camera",
    "Context",
    "HostBackend",
    "Latest",
    "MaskFilter",
    "NoConfig",
    "Part",
    "Publisher",
    "RoiSource",
    "SensorBackend",
]

T = TypeVar("T")


class Backend(ABC):
    """Something that runs the network. Its constructor takes the options of ``Segmenter``."""

    name: ClassVar[str]
    """What the user writes in ``Segmenter(backend=...)``."""

    card: ModelCard
    """The card of the model that it runs."""

    @classmethod
    def unavailable(cls) -> str:
        """Why this backend cannot run on this machine, or "" if it can. Must be cheap."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds. May be called more than once."""

    def info(self) -> dict[str, Any]:
        """Facts for ``picosam doctor``."""
        return {}


class HostBackend(Backend):
    """A backend that is handed crops by the host."""

    @abstractmethod
    def infer(self, crops: ImageArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Runs the network on a batch.

        Args:
            crops: RGB, uint8 (N, S, S, 3), S being ``card.crop.size_px``; N at least 1.

        Returns:
            Logits float32 (N, S, S), and the predicted IoU of each mask, float32 (N,), 0 to 1.
            Both stay valid until the next call.

        Raises:
            InputError: the batch has another shape or dtype.
            BackendError: the run failed.
        """


class SensorBackend(Backend):
    """A backend that is the camera: it is told where to look, and its masks are read."""

    @abstractmethod
    def aim(self, roi: Roi | None) -> None:
        """Prompts the sensor.

        The ROI may take effect some frames later; every mask says which ROI it was computed
        under. If an earlier ROI has not given a mask yet, the new one waits for that; of several
        that wait, the newest counts.

        Args:
            roi: as shares of the sensor's view; None for no prompt, which gives no masks.

        Raises:
            InputError: the ROI lies wholly outside the view; from then on there is no prompt.
            RoiRejectedError: the sensor did not take it; from then on there is no prompt.
            BackendError: the backend is closed.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> Result:
        """The next result; each is given once, and one that nobody read yields to a newer one.

        Its mask is None where there was no prompt.

        Raises:
            EOFError: there are no more, since it is a recording.
            BackendTimeoutError: none came in time, or the sensor could not be revived.
            RoiRejectedError: a ROI that waited was not taken.
            BackendError: the backend is closed.
        """

    @property
    def stats(self) -> dict[str, Any]:
        """Counts and states since it was opened."""
        return {}


class Latest(Generic[T]):
    """A place for one value, shared by threads: the newest replaces the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None

    def put(self, value: T | None) -> None:
        """Replaces the value; None empties the place."""
        with self._lock:
            self._value = value

    def get(self) -> T | None:
        """The newest value, which stays; None if there is none."""
        with self._lock:
            return self._value


@dataclass(frozen=True, slots=True)
class Context:
    """What the parts of one application share. It gives no way to a frame.

    Args:
        device: name of this device, as in topics and manifests.
        session: random name of this run, so that a receiver can tell a restart from a loss.
        pointer: where a pointing device leaves its place, such as a mouse on the web page; the
            ROI source "gaze" of the gaze plugin can read it.
        prompt: a prompt set by hand or from afar; a web page or a command topic writes it.
        egress: what the policy lets this part have, to show or to check; the gate holds to it
            whatever the part does.
        status: what the application says of its parts, renewed every second while it runs:
            names, kinds, states and counts, ready for JSON; see
            :func:`picosam_sdk.application.summary`.
    """

    device: str = "picosam"
    session: str = ""
    pointer: Latest[Gaze] = field(default_factory=Latest)
    prompt: Latest[Prompt] = field(default_factory=Latest)
    egress: EgressRule = field(default_factory=EgressRule)
    status: Latest[Mapping[str, Any]] = field(default_factory=Latest)


@dataclass(frozen=True)
class NoConfig:
    """The configuration of a part that has no keys of its own."""


class Part(ABC):
    """What cameras, ROI sources, publishers and mask filters have in common.

    The pipeline makes a part from its table in the configuration: what is left after the common
    keys fills the class's ``Config``, a frozen dataclass; an unknown key is refused there.
    A part imports what is heavy, and opens what can fail, in ``open``, not in its constructor:
    'picosam config check' and 'picosam privacy' construct it, but do not open it.
    """

    name: ClassVar[str]
    """What the user writes as ``kind``."""

    Config: ClassVar[type] = NoConfig
    """A frozen dataclass; picosam_sdk.config says which types its fields may have."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    def open(self) -> None:  # noqa: B027 - a part may have nothing to open
        """Gets ready. Called once before use, and again after ``close`` to recover.

        Raises:
            MissingExtraError: a package is not installed.
            PicoSamError: it cannot be opened; the pipeline says so and may try again.
        """

    def close(self) -> None:  # noqa: B027
        """Frees what it holds. May be called more than once, and without ``open``."""

    @property
    def stats(self) -> Mapping[str, Any]:
        """Counts and states since it was opened, for people and metrics."""
        return {}


class Camera(Part):
    """Where frames come from."""

    live: ClassVar[bool] = True
    """Whether frames are lost when nobody reads them; a file's or a folder's are not."""

    @abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, with its image; of a live camera, the newest.

        Returns:
            None at the end of a file or a folder.

        Raises:
            CameraError: no picture came in time, or the camera is gone.
        """


class RoiSource(Part):
    """Says where to look."""

    @abstractmethod
    def latest(self, now_ns: int) -> Prompt | Roi | None:
        """What to look at now. Must not block: it runs inside the frame loop.

        A source whose input is stale, lost or outside the view returns None, never the place
        before and never the whole view: then the next source of the chain is asked.

        Args:
            now_ns: the monotonic clock.
        """

    def observe(self, result: Result) -> None:
        """Is shown each result, as far as the egress policy grants it; must not block."""


class Publisher(Part):
    """Takes results out of the process, or to a file."""

    @property
    def destination(self) -> str:
        """Where its data go, as in the manifest: "mqtts://broker:8883/picosam/desk/#"."""
        return self.name

    @property
    def needs(self) -> frozenset[str]:
        """Grants without which this configuration of it makes no sense, such as {"pixels"}.

        One that the user's policy did not grant is an EgressError before anything starts.
        """
        return frozenset()

    @abstractmethod
    def publish(self, result: Result) -> int | None:
        """Delivers one result. Runs in this publisher's own thread, and may block there.

        Args:
            result: what the egress policy lets it have.

        Returns:
            How many bytes left, for the audit log; None if nothing did.

        Raises:
            Exception: whatever it raises is counted and logged; the result is tried again after
                a pause if no newer one has come, and the publisher is closed and opened first.
        """

    def flush(self, timeout_s: float) -> bool:
        """Delivers what it still holds; False if some is left after the time."""
        return True


class MaskFilter(Part):
    """Changes a mask on its way from the network to the publishers, such as smoothing it."""

    @abstractmethod
    def apply(self, mask: Mask, now_ns: int) -> Mask | None:
        """The mask to go on with; None to withhold it. Must not block."""

    def reset(self) -> None:
        """Forgets what it remembers of earlier masks: the object in view has changed."""
