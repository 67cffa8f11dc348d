"""What the page shows of results that are put before it, and when it stops showing them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from picosam_sdk.testing.results import a_result, odd_results


def _marks(seen: Any) -> Any:
    url = seen.js("document.getElementById('marks').toDataURL('image/png')")
    data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[:, :, 3]


def _near(alpha: Any, x: float, y: float, far: int = 16) -> Any:
    height, width = alpha.shape
    row, column = round(y * height), round(x * width)
    return alpha[row - far : row + far, column - far : column + far]


def _shown(seen: Any, page: Any, result: Any) -> None:
    """Publishes until the page has shown it."""
    before = seen.js("picosam.shown")
    page.publish(result)
    seen.until(f"picosam.shown > {before}")


def test_gaze_roi_and_region(direct: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = direct(max_rate_hz=0)
    seen = visit(page.url)
    seen.until("window.picosam?.link.connected")
    _shown(seen, page, a_result(0))
    assert not _near(_marks(seen), 0.5, 0.5).any(), "a gaze that was not granted"
    assert _near(_marks(seen), 0.25, 0.5, 4).any(), "the ROI in force"
    ages = {"frame": 20_000_000, "roi": 4_200_000_000}
    _shown(seen, page, a_result(1, grants=("gaze",), region="shelf 2", ages_ns=ages))
    assert _near(_marks(seen), 0.5, 0.5).any(), "the gaze"
    assert seen.text("#roi-age") == "4.2 s"
    assert "shelf 2" in seen.text("#found")
    _shown(seen, page, a_result(2, settling=True))
    assert "turning" in seen.text("#found")


def test_every_odd_result_is_shown(direct: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = direct(max_rate_hz=0)
    seen = visit(page.url)
    seen.until("window.picosam?.link.connected")
    for result in odd_results(("gaze",)).values():
        _shown(seen, page, result)
    assert seen.page.locator("#error").is_hidden()


def test_what_is_old_is_taken_away(direct: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = direct(max_rate_hz=0)
    seen = visit(page.url)
    seen.until("window.picosam?.link.connected")
    assert seen.text("#notice") == "Waiting for the first result."
    _shown(seen, page, a_result(0))
    assert seen.js("picosam.lastMask !== null")
    began = time.monotonic()
    seen.until("picosam.lastMask === null")
    assert time.monotonic() - began < 10
    assert not _marks(seen).any()
    assert seen.text("#notice").startswith("No results for")
    assert seen.text("#link") == "connected"


def test_losses_are_counted(direct: Callable[..., Any], visit: Callable[..., Any]) -> None:
    page = direct(max_rate_hz=0)
    seen = visit(page.url)
    seen.until("window.picosam?.link.connected")
    _shown(seen, page, a_result(0))
    _shown(seen, page, a_result(4))  # three frames that were sent to nobody
    page._seq += 2  # two that were lost on the way to this page
    _shown(seen, page, a_result(7))
    assert [seen.text(f"#{name}") for name in ("shown", "dropped", "skipped")] == ["3", "2", "3"]
