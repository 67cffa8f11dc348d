"""The page in a browser: prompts go in, masks come out, and nothing else leaves."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from picosam_sdk import Mask, Segmenter
from picosam_sdk.payload import decode_mask
from picosam_sdk.types import ImageArray

BOX = (0.18, 0.06, 0.9, 0.95)
"""Around the cat, two corners."""


def _canvas(seen: Any, name: str) -> NDArray[np.uint8]:
    """The pixels of a canvas, RGBA."""
    url = seen.js(f"document.getElementById('{name}').toDataURL('image/png')")
    data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert image.shape[2] == 4
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def _last_bits(seen: Any) -> NDArray[np.bool_]:
    width, height, bits = seen.js(
        "[picosam.lastMask.width, picosam.lastMask.height, Array.from(picosam.lastMask.bits)]"
    )
    return np.array(bits, np.bool_).reshape(height, width)


def _assert_agrees(seen: Any, expected: Mask) -> None:
    """What the page decoded and drew is what the API gives for the same frame and prompt."""
    bits = _last_bits(seen)
    assert _iou(bits, expected.logits > expected.threshold) > 0.99
    drawn = _canvas(seen, "mask")[:, :, 3] > 64
    height_px, width_px = drawn.shape
    assert _iou(drawn, expected.paste(width_px, height_px)) > 0.99
    message = decode_mask(seen.js("picosam.lastResult.message"))
    assert message is not None
    assert message.area_px == pytest.approx(expected.area_px, rel=0.01)


def test_a_box_is_prompted_by_drag_and_its_mask_agrees(
    kiosk: Any, visit: Callable[..., Any], photo: ImageArray
) -> None:
    served = kiosk.serve()
    seen = visit(served.url).live()
    assert seen.js("picosam.lastMask") is None, "a mask without a prompt"
    seen.drag(*BOX)
    seen.until_mask()
    roi = served.prompt().roi
    assert (roi.x, roi.y) == pytest.approx(BOX[:2], abs=0.01)
    assert (roi.x + roi.width, roi.y + roi.height) == pytest.approx(BOX[2:], abs=0.01)
    with Segmenter() as segmenter:
        _assert_agrees(seen, segmenter.segment(photo, roi))
    assert seen.text("#found").startswith("Object: ")
    seen.shoot("masks-only")


def test_a_point_is_prompted_by_click_and_its_mask_agrees(
    kiosk: Any, visit: Callable[..., Any], photo: ImageArray
) -> None:
    served = kiosk.serve()
    seen = visit(served.url).live()
    seen.click(0.55, 0.5)
    seen.until_mask()
    x, y = served.prompt().point
    assert (x, y) == pytest.approx((0.55, 0.5), abs=0.01)
    height_px, width_px = photo.shape[:2]
    with Segmenter() as segmenter:
        _assert_agrees(seen, segmenter.segment(photo, point=(x * width_px, y * height_px)))


def test_the_whole_of_it_works_by_keys(
    kiosk: Any, visit: Callable[..., Any], until: Callable[..., Any]
) -> None:
    served = kiosk.serve()
    seen = visit(served.url).live()
    keyboard = seen.page.keyboard
    keyboard.press("Tab")
    assert seen.js("document.activeElement.id") == "stage"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert seen.js(outline) == "solid", "the focus does not show"
    assert _canvas(seen, "marks").any(), "the box that the keys move does not show"
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowUp"):
        keyboard.press(key)
    keyboard.press("Enter")
    roi = until(served.prompt, "a prompt").roi
    assert (roi.x, roi.y) == pytest.approx((0.32, 0.3))
    assert (roi.width, roi.height) == pytest.approx((0.44, 0.44))
    seen.until_mask()
    seen.shoot("keys")
    keyboard.press("p")
    keyboard.press("ArrowLeft")
    keyboard.press("Enter")
    point = until(lambda: served.prompt().point, "a point")
    assert point == pytest.approx((0.48, 0.5))
    keyboard.press("Escape")
    until(lambda: served.prompt() is None, "the prompt to be taken back")
    seen.until("picosam.lastResult.message.mask === null")
    assert not _canvas(seen, "mask").any()
    assert "No object" in seen.js("document.getElementById('said').textContent")


def test_escape_while_dragging_prompts_nothing(kiosk: Any, visit: Callable[..., Any]) -> None:
    served = kiosk.serve()
    seen = visit(served.url).live()
    seen.page.mouse.move(*seen.at(0.2, 0.2))
    seen.page.mouse.down()
    seen.page.mouse.move(*seen.at(0.6, 0.6))
    assert _canvas(seen, "marks").any()
    seen.page.keyboard.press("Escape")
    seen.page.mouse.up()
    before = seen.js("picosam.shown")
    seen.until(f"picosam.shown > {before + 3}")
    assert served.prompt() is None


def test_no_picture_leaves_by_default(kiosk: Any, visit: Callable[..., Any]) -> None:
    seen, frames = _watched(kiosk.serve().url, visit)
    seen.drag(*BOX)
    seen.until_mask()
    assert all(isinstance(frame, str) for frame in frames), "something binary came"
    assert seen.js("picosam.pictures") == 0
    assert not _canvas(seen, "picture").any()
    assert "not granted" in seen.text("#policy")
    assert set(seen.js("picosam.state.application.parts[0]")) <= {
        "role", "name", "kind", "state", "sent", "dropped", "withheld", "errors", "restarts",
    }  # fmt: skip


@pytest.mark.parametrize("grant", ["pixels", "redacted"])
def test_a_granted_picture_is_shown(
    kiosk: Any, visit: Callable[..., Any], photo: ImageArray, grant: str
) -> None:
    served = kiosk.serve({"picture": True, "jpeg_quality": 95}, [grant])
    seen, frames = _watched(served.url, visit)
    seen.drag(*BOX)
    seen.until("picosam.lastResult.picture && picosam.lastResult.message.area_px > 0")
    pictures = [frame for frame in frames if isinstance(frame, bytes)]
    assert pictures
    assert all(frame[8:11] == b"\xff\xd8\xff" for frame in pictures)
    assert seen.js("picosam.pictures") > 0
    assert seen.js("picosam.lastResult.picture") == grant
    shown = _canvas(seen, "picture")[:, :, :3].astype(int)
    assert shown.shape == photo.shape
    mask = decode_mask(seen.js("picosam.lastResult.message"))
    assert mask is not None
    inside = cv2.erode(mask.paste().astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(shown - photo)[inside].mean() < 4
    outside = np.abs(shown - photo)[cv2.dilate(mask.paste().astype(np.uint8), np.ones((9, 9))) == 0]
    assert outside.mean() < 4 if grant == "pixels" else outside.mean() > 10
    seen.shoot(f"picture-{grant}")


def _watched(url: str, visit: Callable[..., Any]) -> tuple[Any, list[str | bytes]]:
    """A live page, and all frames that its WebSocket receives from then on."""
    frames: list[str | bytes] = []
    seen = visit(url)
    keep = lambda frame: frames.append(frame)  # noqa: E731 - a bound method has no place for marks
    seen.page.on("websocket", lambda socket: socket.on("framereceived", keep))
    seen.page.reload()
    return seen.live(), frames


def test_it_comes_back_after_the_server_was_started_again(
    kiosk: Any, visit: Callable[..., Any], until: Callable[..., Any]
) -> None:
    served = kiosk.serve()
    port = served.page.stats and int(served.url.rsplit(":", 1)[1].strip("/"))
    seen = visit(served.url, quiet=False).live()
    seen.drag(*BOX)
    seen.until_mask()
    session = seen.text("#session")
    served.stop()
    # In one question: it tries to connect now and then.
    link = "document.getElementById('link')"
    assert "lost" in seen.until(f"{link}.dataset.state === 'lost' && {link}.innerText")
    assert not _canvas(seen, "mask").any(), "what is old looks live"
    seen.shoot("lost")
    again = kiosk.serve({"port": port})
    shown = seen.js("picosam.shown")
    seen.until(f"picosam.shown > {shown + 2}")
    assert seen.text("#link") == "connected"
    until(lambda: seen.text("#session") != session, "the new session")
    seen.drag(*BOX)
    seen.until_mask()
    assert again.prompt() is not None


def test_without_the_token_it_says_what_to_do_and_with_it_it_opens(
    kiosk: Any, visit: Callable[..., Any], token: str
) -> None:
    served = kiosk.serve({"token": token})
    seen = visit(served.url, quiet=False)
    answer = seen.page.goto(served.url)
    assert answer is not None
    assert answer.status == 401
    assert "picosam preview" in seen.text("main")
    assert seen.js("window.picosam") is None
    seen.page.fill("#token", "not the token, but long enough")
    seen.page.press("#token", "Enter")
    seen.until("!document.getElementById('error').hidden")
    assert "not the token" in seen.text("#error")
    seen.shoot("token")
    seen.page.fill("#token", token)
    seen.page.click("button")
    seen.live()
    (cookie,) = seen.page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert token not in str(cookie)
    seen.page.reload()
    seen.live()


@pytest.mark.parametrize("form", ["#token={}", "?token={}"])
def test_a_link_with_the_token_opens_it_and_does_not_keep_it(
    kiosk: Any, visit: Callable[..., Any], token: str, form: str
) -> None:
    served = kiosk.serve({"token": token})
    seen = visit(served.url + form.format(token), quiet=False)
    seen.live()
    assert token not in seen.page.url
    assert not [url for url in seen.requests[1:] if token in url]


def test_a_page_whose_token_has_changed_is_led_to_the_new_one(
    kiosk: Any, visit: Callable[..., Any], token: str
) -> None:
    served = kiosk.serve({"token": token})
    port = int(served.url.rsplit(":", 1)[1].strip("/"))
    seen = visit(f"{served.url}#token={token}", quiet=False)
    seen.live()
    served.stop()
    kiosk.serve({"port": port, "token": token[::-1]})
    seen.until("document.title.includes('token is needed')")


def test_it_fits_a_phone_and_is_tapped(
    kiosk: Any, visit: Callable[..., Any], until: Callable[..., Any]
) -> None:
    served = kiosk.serve({"picture": True}, ["pixels"])
    phone = {"width": 390, "height": 844}
    seen = visit(served.url, viewport=phone, device_scale_factor=2, is_mobile=True, has_touch=True)
    seen.live()
    seen.page.touchscreen.tap(*seen.at(0.5, 0.5))
    assert until(served.prompt, "a prompt").point == pytest.approx((0.5, 0.5), abs=0.01)
    seen.until_mask()
    assert seen.js("document.documentElement.scrollWidth") <= 390
    stage = seen.page.locator("#stage").bounding_box()
    assert stage["x"] >= 0
    assert stage["x"] + stage["width"] <= 390
    assert stage["width"] > 340
    assert stage["y"] + stage["height"] < 844
    small = seen.js(
        "[...document.querySelectorAll('button')].filter(b => b.offsetHeight < 36).length"
    )
    assert small == 0, "too small for a finger"
    seen.shoot("phone", full_page=True)


def test_it_says_when_prompts_lead_nowhere(kiosk: Any, visit: Callable[..., Any]) -> None:
    fixed = [{"kind": "fixed", "box": [0.2, 0.1, 0.7, 0.8]}]
    served = kiosk.serve(roi=fixed)
    seen = visit(served.url).live()
    seen.until("!document.getElementById('prompts-note').hidden")
    assert 'kind = "manual"' in seen.text("#prompts-note")
    seen.until_mask()


def test_dark_and_without_motion(kiosk: Any, visit: Callable[..., Any]) -> None:
    seen = visit(kiosk.serve().url, color_scheme="dark", reduced_motion="reduce").live()
    moves = "getComputedStyle(document.getElementById('clear')).transitionDuration"
    back = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert seen.js(moves) == "0s"
    assert max(seen.js(back)) < 60
    seen.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    assert seen.js(moves) != "0s"
    assert min(seen.js(back)) > 200
    seen.page.emulate_media(color_scheme="dark")
    seen.drag(*BOX)
    seen.until_mask()
    seen.shoot("dark")


def test_the_mouse_is_a_gaze_if_that_is_wanted(
    kiosk: Any, visit: Callable[..., Any], until: Callable[..., Any]
) -> None:
    served = kiosk.serve({"pointer": True})
    seen = visit(served.url).live()
    seen.until("picosam.state?.pointer")
    pointer = served.application.context.pointer

    def at(x: float, y: float) -> bool:
        seen.page.mouse.move(*seen.at(x, y))
        gaze = pointer.get()
        return gaze is not None and abs(gaze.x - x) < 0.01 and abs(gaze.y - y) < 0.01

    until(lambda: at(0.3, 0.6), "the pointer's place")
    assert pointer.get().valid
    seen.page.mouse.move(2, 2)
    until(lambda: math.isnan(pointer.get().x), "the pointer to have left")
    assert not pointer.get().valid


def test_the_panel_tells_numbers_and_parts(kiosk: Any, visit: Callable[..., Any]) -> None:
    served = kiosk.serve()
    seen = visit(served.url).live()
    seen.drag(*BOX)
    seen.until_mask()
    seen.until("document.getElementById('parts').children.length >= 4")
    assert "roi manual" in seen.text("#parts").replace("\n", " ")
    seen.until("document.getElementById('stages').textContent.includes('network')")
    assert seen.until("/^[0-9.]+ (ms|s)$/.test(document.getElementById('latency').textContent)")
    assert "median" in seen.page.get_attribute("#spark", "aria-label")
    assert int(seen.text("#shown")) > 0
    assert seen.text("#roi-age").endswith("s")
