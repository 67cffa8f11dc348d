"""What each grant gives, what the rule keeps back, and that what comes out is on its own."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from picosam_sdk import ConfigError, EgressError, Frame, Gaze, Mask, Publisher, Result, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import Gate, check_needs, forget_frames
from picosam_sdk.settings import EgressRule, Grant
from tests.egress.scenes import GAZE, ROI, disc, noise, reachable, result


def _through(rule: EgressRule, given: Result | None = None) -> Result:
    gate = Gate("test", rule)
    admitted = gate.admit(result() if given is None else given, 0)
    assert admitted is not None
    released = gate.release(admitted)
    assert released is not None
    return released


def _withheld(rule: EgressRule, given: Result) -> Mapping[str, int]:
    gate = Gate("test", rule)
    gate.admit(given, 0)
    withheld: Mapping[str, int] = gate.stats["withheld"]
    return withheld


def test_by_default_numbers_and_the_mask_leave_and_no_picture() -> None:
    given = result()
    released = _through(EgressRule(), given)
    assert (released.frame.image, released.image_grant, released.gaze) == (None, "", None)
    assert (released.frame.timestamp_ns, released.frame.index) == (5_000, 7)
    assert released.mask is not None
    assert given.mask is not None
    np.testing.assert_array_equal(released.mask.logits, given.mask.logits)
    assert (released.mask.roi, released.mask.prompt, released.roi) == (ROI, ROI, ROI)
    assert (released.region, dict(released.timings_ms)) == ("shelf", {"inference": 4.5})
    assert _withheld(EgressRule(), given) == {"image": 1}


@pytest.mark.parametrize(
    ("grants", "redaction", "expected"),
    [
        (("pixels",), "blur", "pixels"),
        (("cutout",), "blur", "cutout"),
        (("redacted",), "blur", "redacted"),
        (("redacted",), "blank", "redacted"),
        (("cutout", "redacted"), "blur", "redacted"),
        (("cutout", "redacted", "pixels"), "blur", "pixels"),
        (("gaze",), "blur", ""),
    ],
)
def test_what_each_grant_shows(grants: tuple[Grant, ...], redaction: Any, expected: str) -> None:
    image, mask = noise(), disc()
    released = _through(EgressRule(grants=grants, redaction=redaction), result(image, mask))
    assert released.image_grant == expected
    shown, bits = released.frame.image, mask.paste()
    if not expected:
        assert shown is None
        return
    assert shown is not None
    np.testing.assert_array_equal(shown[bits], image[bits])
    if expected == "pixels":
        np.testing.assert_array_equal(shown, image)
    elif expected == "cutout" or redaction == "blank":
        assert not shown[~bits].any()
    else:
        assert (shown[~bits] == image[~bits]).mean() < 0.02
        assert shown[~bits].any()


@pytest.mark.parametrize("grant", ["cutout", "redacted"])
def test_without_a_mask_no_picture_leaves(grant: Grant) -> None:
    rule, no_mask = EgressRule(grants=(grant,)), result(masked=False)
    assert _through(rule, no_mask).frame.image is None
    assert _withheld(rule, no_mask) == {"image_no_mask": 1}
    larger = result(noise(320, 240))
    assert _through(rule, larger).frame.image is None
    assert _withheld(rule, larger) == {"image_size": 1}


def test_an_empty_mask_cuts_out_nothing() -> None:
    shown = _through(EgressRule(grants=("cutout",)), result(mask=disc(-1.0))).frame.image
    assert shown is not None
    assert not shown.any()


@pytest.mark.parametrize("grant", ["cutout", "redacted", "pixels"])
def test_a_mask_under_the_least_area_leaves_neither_picture_nor_prompt(grant: Grant) -> None:
    small = result(mask=disc(0.1))
    assert small.mask is not None
    share = small.mask.area_px / (160 * 120)
    below, above = (EgressRule(grants=(grant,), min_area=share * factor) for factor in (1.1, 0.9))
    kept = _through(below, small)
    assert (kept.mask, kept.roi, kept.frame.image) == (None, None, None)
    assert _withheld(below, small) == {"mask_min_area": 1, "prompt": 1, "image_min_area": 1}
    assert _through(above, small).mask is not None
    assert _through(above, small).frame.image is not None


def test_gaze_is_withheld_with_everything_that_was_made_from_it() -> None:
    roi = Roi(GAZE.x - 0.2, GAZE.y - 0.2, 0.4, 0.4)  # the gaze is at its centre
    mask = disc(0.15, roi, (0.7, 0.3))
    given = dataclasses.replace(result(mask=mask, gaze=GAZE), roi=roi)
    released = _through(EgressRule(), given)
    assert (released.gaze, released.roi) == (None, None)
    assert released.mask is not None
    assert released.mask.prompt is None
    assert np.hypot(*np.subtract(released.mask.roi.center, roi.center)) > 0.05
    x, y, width, height = released.mask.bbox() or (0, 0, 0, 0)
    np.testing.assert_allclose((x, y, width, height), mask.bbox() or (), atol=1)
    assert _withheld(EgressRule(), given) == {"gaze": 1, "prompt": 1, "image": 1}
    # A gaze that prompted, but whose place is not told, is withheld in the same way.
    untold = dataclasses.replace(given, gaze=None)
    assert _through(EgressRule(), untold).roi is None
    granted = _through(EgressRule(grants=("gaze",)), given)
    assert (granted.gaze, granted.roi) == (GAZE, roi)
    assert granted.mask is not None
    assert granted.mask.roi == roi


def test_an_empty_mask_does_not_tell_where_the_eye_looked() -> None:
    released = _through(EgressRule(), result(mask=disc(-1.0), gaze=GAZE))
    assert released.mask is not None
    assert (released.mask.bbox(), released.mask.roi) == (None, Roi(0, 0, 1, 1))


def test_a_coarse_mask_shows_nothing_finer_anywhere() -> None:
    released = _through(EgressRule(grants=("gaze",), coarsen=8), result(gaze=GAZE))
    assert released.mask is not None
    assert (released.roi, released.mask.prompt) == (None, None)
    assert released.mask.roi == Roi(0, 0, 1, 1)
    assert released.mask.logits.shape == (8, 8)
    assert len(np.unique(released.mask.logits)) == 2


def test_privacy_masks_hide_parts_of_every_picture_and_of_every_mask() -> None:
    left: tuple[Any, ...] = ((0.0, 0.0, 0.5, 1.0),)
    for grant in ("pixels", "cutout", "redacted"):
        rule = EgressRule(grants=(grant,), privacy_masks=left)  # type: ignore[arg-type]
        released = _through(rule)
        assert released.frame.image is not None
        assert released.mask is not None
        assert not released.frame.image[:, :80].any() or grant == "redacted"
        assert not released.mask.paste()[:, :80].any()
        assert released.mask.paste()[:, 82:].any()
    # What is around it is blurred as if it had been black in the scene, too.
    dark = noise()
    dark[:, :81] = 0
    rule = EgressRule(grants=("redacted",), privacy_masks=left)
    a, b = _through(rule, result(noise())), _through(rule, result(dark))
    assert a.frame.image is not None
    assert b.frame.image is not None
    np.testing.assert_array_equal(a.frame.image, b.frame.image)


def test_rate_and_windows_keep_whole_results_back() -> None:
    now = [datetime(2026, 5, 4, 12)]
    rule = EgressRule(max_rate_hz=10, windows=("08:00-18:00",))
    gate = Gate("test", rule, wall_clock=lambda: now[0])
    through = [
        gate.admit(result(), ms * 1_000_000) is not None for ms in (0, 50, 99, 100, 199, 200)
    ]
    assert through == [True, False, False, True, False, True]
    waiting = gate.admit(result(), 300_000_000)
    now[0] = datetime(2026, 5, 4, 18)
    assert gate.admit(result(), 10**9) is None
    assert waiting is not None
    assert gate.release(waiting) is None  # it waited until the hours were over
    assert gate.stats["withheld"] == {"result_rate": 3, "image": 4, "result_window": 2}
    now[0] = datetime(2026, 5, 5, 8)
    assert gate.release(waiting) is not None


@pytest.mark.parametrize("grants", [(), ("gaze",), ("pixels",), ("cutout",), ("redacted",)])
def test_what_comes_out_shares_nothing_with_what_went_in(grants: tuple[Grant, ...]) -> None:
    given = result(gaze=GAZE)
    inside = {id(thing): thing for thing in reachable(given) if _is_data(thing)}
    assert {id(given.frame.image), id(given.timings_ms), id(given.gaze), id(ROI)} <= set(inside)
    released = _through(EgressRule(grants=grants), given)
    assert [thing for thing in reachable(released) if id(thing) in inside] == []


def _is_data(thing: Any) -> bool:
    if isinstance(thing, np.ndarray | Frame | Gaze | Mask | Result | Roi):
        return True
    return isinstance(thing, dict) and set(map(type, thing.values())) in ({int}, {float})


def test_a_mask_of_another_class_leaves_what_it_carries_behind() -> None:
    class Carrier(Mask):
        """What a careless or malicious filter might return."""

    class Array(np.ndarray):  # type: ignore[type-arg]
        picture: Any

    plain, image = disc(), noise()
    logits = plain.logits.copy().view(Array)
    logits.picture = image
    mask = Carrier(logits, plain.roi, plain.score, plain.size_px)
    mask.__dict__["picture"] = image
    released = _through(EgressRule(), result(image, mask))
    assert type(released.mask) is Mask
    assert type(released.mask.logits) is np.ndarray
    assert not any(thing is image for thing in reachable(released))


def test_what_is_sent_is_counted() -> None:
    gate = Gate("test", EgressRule(grants=("pixels",)))
    for count in (100, None, 20):
        admitted = gate.admit(result(), 0)
        assert admitted is not None
        gate.sent(count)
    assert gate.stats == {
        "admitted": 3, "sent": 2, "bytes": 120, "images": {"pixels": 3}, "withheld": {},
    }  # fmt: skip


class _Needy(Publisher):
    name = "needy"
    needs = frozenset({"pixels", "gaze"})

    def publish(self, result: Result) -> int | None:
        return None


def test_needs_that_are_not_granted_are_refused_by_the_key() -> None:
    part = _Needy(None, None)  # type: ignore[arg-type]
    with pytest.raises(EgressError, match=r"publish\[2\]\.egress\.grants.*pixels.*'needy'") as got:
        check_needs(part, EgressRule(grants=("gaze", "cutout")), "publish[2]")
    assert 'grants = ["gaze", "cutout", "pixels"]' in got.value.hint
    check_needs(part, EgressRule(grants=("gaze", "pixels")), "publish[2]")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"grants": ["video"]}, "grants"),
        ({"coarsen": 8, "grants": ["cutout"]}, "coarsen"),
        ({"coarsen": -1}, "coarsen"),
        ({"windows": ["8:00-18:00"]}, "windows"),
        ({"windows": ["08:00-08:00"]}, "windows"),
        ({"privacy_masks": [[0.0, 0.0, 0.0, 1.0]]}, "privacy_masks"),
        ({"privacy_masks": [[0.0, 0.0, 1.0]]}, "privacy_masks"),
        ({"pixels": True}, "pixels: unknown key"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"egress.{key}"):
        from_mapping(table, EgressRule, "egress.")


def test_where_an_error_came_from_is_logged_as_text(caplog: pytest.LogCaptureFixture) -> None:
    def publish() -> None:
        raise ValueError("no broker")

    for level, lines in ((logging.INFO, 0), (logging.DEBUG, 1)):
        caplog.clear()
        with caplog.at_level(level):
            with pytest.raises(ValueError, match="broker") as got:
                publish()
            forget_frames(got.value)
        assert got.value.__traceback__ is None
        assert len(caplog.records) == lines
    assert "in publish" in caplog.text
    assert caplog.records[0].exc_info is None
