"""What every backend must do; a test class to inherit. The other roles' contracts stand here, too.

::

    from picosam_sdk import Segmenter
    from picosam_sdk.testing.contract import BackendContract

    class TestAcme(BackendContract):
        def open(self):
            return Segmenter("acme")

``CameraContract``, ``RoiSourceContract``, ``PublisherContract`` and ``MaskFilterContract`` are for
the parts of a pipeline; :mod:`picosam_sdk.testing.part_contract` says how they are used.

A host's backend is shown a picture of its own making; for a sensor, whatever is in front of it
will do, since the tests ask where a mask lies and what it belongs to, not what it shows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from picosam_sdk.errors import BackendError, InputError, UnsupportedError
from picosam_sdk.interfaces import Backend, HostBackend, SensorBackend
from picosam_sdk.mask import Mask
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.testing.camera_contract import CameraContract
from picosam_sdk.testing.command_contract import CommandContract
from picosam_sdk.testing.mask_filter_contract import MaskFilterContract
from picosam_sdk.testing.publisher_contract import PublisherContract
from picosam_sdk.testing.roi_source_contract import RoiSourceContract
from picosam_sdk.types import ImageArray, Roi

__all__ = [
    "BackendContract",
    "CameraContract",
    "CommandContract",
    "MaskFilterContract",
    "PublisherContract",
    "RoiSourceContract",
]

MIDDLE = Roi(0.3, 0.25, 0.3, 0.4)


class BackendContract:
    """Tests of a backend behind a Segmenter. Inherit it and say how to open one.

    Attributes:
        placement_px: how far, in pixels of the frame, a backend may move a ROI's sides to lie
            on its own grid.
    """

    placement_px: float = 4.0
    timeout_s: float = 30.0

    def open(self) -> Any:
        """A new Segmenter on the backend under test."""
        raise NotImplementedError("say how to open the backend")

    @pytest.fixture
    def segmenter(self) -> Iterator[Any]:
        segmenter = self.open()
        try:
            yield segmenter
        finally:
            segmenter.close()

    def segment(self, segmenter: Any, roi: Roi) -> Mask:
        """The mask under a ROI, from a host or a sensor."""
        mask: Mask
        if isinstance(segmenter.backend, SensorBackend):
            mask = segmenter.segment(roi=roi, timeout_s=self.timeout_s)
        else:
            mask = segmenter.segment(picture(), roi)
        return mask

    def test_is_a_backend_with_a_name_and_a_card(self, segmenter: Any) -> None:
        backend = segmenter.backend
        assert isinstance(backend, (HostBackend, SensorBackend))
        assert isinstance(backend, Backend)
        assert backend.name
        assert isinstance(backend.card, ModelCard)
        assert segmenter.card is backend.card
        json.dumps(backend.info())

    def test_says_quickly_whether_it_can_be_used(self, segmenter: Any) -> None:
        began = time.perf_counter()
        assert isinstance(type(segmenter.backend).unavailable(), str)
        assert time.perf_counter() - began < 1

    def test_mask_says_what_it_belongs_to(self, segmenter: Any) -> None:
        mask = self.segment(segmenter, MIDDLE)
        size = segmenter.card.crop.size_px
        assert mask.logits.shape == (size, size)
        assert mask.logits.dtype == np.float32
        assert 0 <= mask.score <= 1
        assert mask.prompt == MIDDLE
        assert mask.threshold == segmenter.card.threshold_logit
        assert mask.paste().shape == (mask.size_px[1], mask.size_px[0])

    @pytest.mark.parametrize(
        "roi",
        [MIDDLE, Roi(-0.1, 0.4, 0.4, 0.3), Roi(0.8, 0.7, 0.5, 0.6), Roi(0.2, 0.55, 0.6, 0.2)],
        ids=["inside", "over the left", "over the corner", "wide"],
    )
    def test_mask_lies_where_the_crop_rule_says(self, segmenter: Any, roi: Roi) -> None:
        mask = self.segment(segmenter, roi)
        rule = segmenter.card.crop
        width_px, height_px = mask.size_px
        padded = roi.grow(rule.padding)
        if rule.square:
            padded = padded.square(width_px / height_px)
        for start, length, got_start, got_length, side_px in (
            (padded.x, padded.width, mask.roi.x, mask.roi.width, width_px),
            (padded.y, padded.height, mask.roi.y, mask.roi.height, height_px),
        ):
            first, end = max(0.0, start), min(1.0, start + length)
            assert abs(got_start - first) * side_px <= self.placement_px
            assert abs(got_start + got_length - end) * side_px <= self.placement_px

    @pytest.mark.parametrize("roi", [Roi(1.2, 0.2, 0.2, 0.2), Roi(0.2, -0.5, 0.2, 0.4)])
    def test_a_roi_outside_the_view_gives_an_error_and_no_mask(
        self, segmenter: Any, roi: Roi
    ) -> None:
        with pytest.raises(InputError):
            self.segment(segmenter, roi)

    def test_a_tiny_roi_never_becomes_the_whole_view(self, segmenter: Any) -> None:
        mask = self.segment(segmenter, Roi(0.5, 0.5, 1e-4, 1e-4))
        assert mask.roi.width < 0.2
        assert mask.roi.height < 0.2

    def test_the_same_prompt_gives_the_same_place(self, segmenter: Any) -> None:
        first = self.segment(segmenter, MIDDLE)
        self.segment(segmenter, Roi(0.55, 0.5, 0.3, 0.3))
        again = self.segment(segmenter, MIDDLE)
        assert again.roi == first.roi

    def test_what_is_no_roi_is_refused(self, segmenter: Any) -> None:
        with pytest.raises(InputError):
            self.segment(segmenter, "middle")  # type: ignore[arg-type]

    def test_a_sensor_takes_no_pictures_and_a_host_has_no_camera(self, segmenter: Any) -> None:
        if isinstance(segmenter.backend, SensorBackend):
            with pytest.raises(UnsupportedError):
                segmenter.segment(picture(), MIDDLE)
            with pytest.raises(UnsupportedError):
                segmenter.segment_many(picture(), [MIDDLE])
        else:
            with pytest.raises(UnsupportedError):
                next(segmenter.stream(MIDDLE))

    def test_streams_a_result_for_each_prompt(self, segmenter: Any) -> None:
        if not isinstance(segmenter.backend, SensorBackend):
            many = segmenter.segment_many(picture(), [MIDDLE, MIDDLE])
            assert [mask.prompt for mask in many] == [MIDDLE, MIDDLE]
            return
        prompts = [MIDDLE, None, Roi(2.0, 2.0, 0.1, 0.1), Roi(0.5, 0.5, 0.3, 0.3)]
        results = list(segmenter.stream(prompts, timeout_s=self.timeout_s))
        assert [result.mask is not None for result in results] == [True, False, False, True]
        assert [result.roi for result in results] == [MIDDLE, None, None, prompts[3]]
        stamps = [result.frame.timestamp_ns for result in results]
        assert stamps == sorted(stamps)
        assert all(result.ages_ns["frame"] > 0 for result in results)

    def test_closing_twice_is_allowed_and_using_it_then_is_not(self) -> None:
        segmenter = self.open()
        segmenter.close()
        segmenter.close()
        with pytest.raises(BackendError):
            self.segment(segmenter, MIDDLE)


def picture() -> ImageArray:
    """A red block on grey, 400 x 300."""
    image = np.full((300, 400, 3), 90, np.uint8)
    image[90:180, 130:230] = (230, 30, 30)
    return image
