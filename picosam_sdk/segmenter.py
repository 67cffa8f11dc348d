"""Segmenter: a picture and a prompt in, a mask out, whatever runs the network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from picosam_sdk import points, sensing
from picosam_sdk.errors import BackendError, InputError, UnavailableError, UnsupportedError
from picosam_sdk.geometry import crop, crop_box, point_rois, region_of
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import Backend, HostBackend, SensorBackend
from picosam_sdk.mask import Mask, Result
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.plugins import Plugins
from picosam_sdk.types import Box, ImageArray, Roi

__all__ = ["Segmenter"]

_MAX_BATCH = 16


class Segmenter:
    """Segments the object that a prompt shows.

    ::

        with Segmenter() as segmenter:
            mask = segmenter.segment(image, Roi.from_pixels(40, 60, 200, 180, image))

    Args:
        backend: name of the backend that runs the network; ``picosam doctor`` lists them.
        plugins: where backends are looked up; None finds the installed ones.
        options: the backend's own; "onnx" takes ``model`` (a path) and ``threads``, "imx500"
            ``model`` (a .rpk file) and what its class says.

    Raises:
        UnknownPluginError: no backend has this name.
        UnavailableError: the backend cannot run on this machine.
        InputError: an option is unknown or has a wrong value.
        ModelError: the model cannot be used.

    One Segmenter serves one thread at a time.
    """

    def __init__(
        self, backend: str = "onnx", *, plugins: Plugins | None = None, **options: Any
    ) -> None:
        cls = (plugins or Plugins()).backend(backend)
        reason = cls.unavailable()
        if reason:
            raise UnavailableError(
                f"expected backend '{backend}' to be usable here, but {reason}",
                hint="Run 'picosam doctor' to see which backends are.",
            )
        if not issubclass(cls, (HostBackend, SensorBackend)):
            raise BackendError(
                f"expected a HostBackend or a SensorBackend named '{backend}', got {cls.__name__}",
                hint="Derive the plugin's class from one of the two.",
            )
        _check_options(cls, options)
        self._backend: HostBackend | SensorBackend = cls(**options)
        size = self.card.crop.size_px
        self._crops = np.empty((_MAX_BATCH, size, size, 3), np.uint8)
        self._threshold = self.card.threshold_logit
        self.timings_ms: dict[str, float] = {}
        """Of the last call, in milliseconds: ``crop``, ``network`` and ``mask``; of a sensor,
        ``dnn`` and ``dsp`` as it measured them, and ``host``."""

    @property
    def backend(self) -> Any:
        """The backend in use: a :class:`HostBackend` or a :class:`SensorBackend`."""
        return self._backend

    @property
    def card(self) -> ModelCard:
        """The card of the model in use."""
        return self._backend.card

    def segment(
        self,
        image: Any = None,
        roi: Roi | None = None,
        *,
        point: tuple[float, float] | None = None,
        timeout_s: float = 10.0,
    ) -> Mask:
        """The mask of the object in a ROI, or of the object at a point.

        With a sensor, ``segment(roi=roi)`` aims it and returns the first mask that was computed
        under this ROI.

        Args:
            image: RGB uint8 (H, W, 3), a path, or a PIL image; greyscale and RGBA are converted.
                A sensor takes none.
            roi: a box around the object.
            point: x, y in pixels, on the object. Squares of several sizes around it are run as
                one batch, and each mask that holds the point once more, prompted with its own
                box; :mod:`picosam_sdk.points` says by what rule the best is chosen. If no mask
                holds the point, the result is empty.
            timeout_s: how long to wait for a sensor; the host takes the time it takes.

        Raises:
            InputError: the image or the prompt cannot be used, or not exactly one prompt is given.
            UnsupportedError: a sensor was given an image or a point.
            BackendTimeoutError: the sensor gave no such mask in time.
            BackendError: the backend failed.
        """
        if isinstance(self._backend, SensorBackend):
            return self._segment_sensor(self._backend, image, roi, point, timeout_s)
        picture = load_image(image)
        if (roi is None) == (point is None):
            raise InputError(
                f"expected a ROI or a point, got {'neither' if roi is None else 'both'}",
                hint="Call segment(image, Roi.from_pixels(x, y, width, height, image)) "
                "or segment(image, point=(x, y)).",
            )
        if roi is not None:
            return self._run(picture, [_checked(roi)])[0]
        return self._segment_point(picture, _checked_point(point))

    def segment_many(self, image: Any, rois: Iterable[Roi]) -> list[Mask]:
        """One mask a ROI, in the ROIs' order, computed in batches.

        Raises:
            InputError: the image or one of the ROIs cannot be used.
            BackendError: the backend failed.
        """
        return self._run(load_image(image), [_checked(roi) for roi in rois])

    def stream(
        self, rois: Roi | Iterable[Roi | None], *, timeout_s: float = 10.0
    ) -> Iterator[Result]:
        """Prompts a sensor with one ROI after the other, and yields a result for each.

        Args:
            rois: a ROI (for ever), or ROIs such as a gaze's, taken one at a time when the
                result before has been handed over. None, and a ROI outside the view, is no
                prompt: the result then has no mask.
            timeout_s: how long to wait for each result.

        Raises:
            UnsupportedError: the backend has no camera.
            BackendTimeoutError, RoiRejectedError, BackendError: the sensor failed.
        """
        if not isinstance(self._backend, SensorBackend):
            raise UnsupportedError(
                f"expected a sensor to stream from, got backend '{self._backend.name}'",
                hint="Use backend='imx500' or 'imx500-emulated', or segment(image, roi).",
            )
        for result in sensing.results(self._backend, rois, timeout_s):
            self.timings_ms = dict(result.timings_ms)
            yield result

    def close(self) -> None:
        """Closes the backend."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _segment_sensor(
        self, sensor: SensorBackend, image: Any, roi: Roi | None, point: Any, timeout_s: float
    ) -> Mask:
        if image is not None or point is not None or roi is None:
            given = [
                name for name, value in (("image", image), ("point", point)) if value is not None
            ]
            raise UnsupportedError(
                f"expected a ROI and nothing else for the sensor '{sensor.name}', "
                f"got {' and '.join(given) or 'none'}",
                hint="Call segment(roi=Roi(x, y, width, height)) with shares of its view.",
            )
        mask, result = sensing.first_result(sensor, _checked(roi), timeout_s)
        self.timings_ms = dict(result.timings_ms)
        return mask

    def _run(self, image: ImageArray, rois: Sequence[Roi]) -> list[Mask]:
        backend = self._backend
        if not isinstance(backend, HostBackend):
            raise UnsupportedError(
                f"expected a backend that takes pictures, got the sensor '{backend.name}'",
                hint="Use segment(roi=...) or stream(rois), or backend='onnx' for pictures.",
            )
        height_px, width_px = image.shape[:2]
        rule = self.card.crop
        boxes = [crop_box(roi, width_px, height_px, rule) for roi in rois]
        masks: list[Mask] = []
        times = {"crop": 0, "network": 0, "mask": 0}
        for start in range(0, len(boxes), _MAX_BATCH):
            part = boxes[start : start + _MAX_BATCH]
            began = time.perf_counter_ns()
            for index, box in enumerate(part):
                crop(image, box, rule.size_px, out=self._crops[index])
            cropped = time.perf_counter_ns()
            logits, scores = backend.infer(self._crops[: len(part)])
            ran = time.perf_counter_ns()
            masks += [
                self._mask(logits[i], scores[i], box, rois[start + i], (width_px, height_px))
                for i, box in enumerate(part)
            ]
            times["crop"] += cropped - began
            times["network"] += ran - cropped
            times["mask"] += time.perf_counter_ns() - ran
        self.timings_ms = {key: value / 1e6 for key, value in times.items()}
        return masks

    def _mask(
        self,
        logits: NDArray[np.float32],
        score: np.float32,
        box: Box,
        prompt: Roi,
        size_px: tuple[int, int],
    ) -> Mask:
        return Mask(
            logits=logits, roi=region_of(box, *size_px), score=float(score),
            size_px=size_px, prompt=prompt, threshold=self._threshold,
        )  # fmt: skip

    def _segment_point(self, image: ImageArray, point: tuple[float, float]) -> Mask:
        height_px, width_px = image.shape[:2]
        x, y = point[0] / width_px, point[1] / height_px
        rungs = point_rois(x, y, width_px / height_px, points.SIDES)
        every = self._run(image, rungs)
        spent_ms = self.timings_ms
        first = [mask for mask in every if points.holds(mask, x, y)]
        second = self._run(image, [points.bbox_roi(mask) for mask in first])
        self.timings_ms = {key: spent_ms[key] + value for key, value in self.timings_ms.items()}
        found = points.best(first, second, x, y)
        if found is not None:
            return found
        nothing = every[len(every) // 2]
        return replace(nothing, logits=np.full_like(nothing.logits, self._threshold - 1), score=0.0)


def _checked(roi: Any) -> Roi:
    if not isinstance(roi, Roi):
        raise InputError(
            f"expected a Roi, got {type(roi).__name__} {roi!r}",
            hint="Make one with Roi.from_pixels(x, y, width, height, image).",
        )
    return roi


def _checked_point(point: Any) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in point)
    except (TypeError, ValueError):
        raise InputError(
            f"expected a point (x, y) in pixels, got {point!r}",
            hint="Call segment(image, point=(x, y)).",
        ) from None
    return x, y


def _check_options(cls: type[Backend], options: dict[str, Any]) -> None:
    """Refuses options that the backend's constructor does not have, or needs and did not get."""
    import inspect

    known = inspect.signature(cls).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"expected options out of {', '.join(known)} for backend '{cls.name}', "
            f"got {', '.join(unknown)}",
            hint="Remove or correct the option.",
        )
    needed = [name for name, option in known.items() if option.default is option.empty]
    missing = [name for name in needed if name not in options]
    if missing:
        raise InputError(
            f"expected the option {missing[0]} for backend '{cls.name}', got none",
            hint=f"Call Segmenter('{cls.name}', {missing[0]}=...).",
        )
