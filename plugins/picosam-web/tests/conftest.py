"""A real server in a real application, and a real browser."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
from picosam_web.publisher import WebPublisher
from picosam_web.settings import WebConfig
from playwright.sync_api import Browser, Error, Page, sync_playwright
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from picosam_sdk import Plugins, app
from picosam_sdk.app import Application
from picosam_sdk.config import from_mapping
from picosam_sdk.images import load_image
from picosam_sdk.interfaces import Context
from picosam_sdk.samples import sample_photos
from picosam_sdk.settings import AppConfig
from picosam_sdk.types import ImageArray

hypothesis.settings.register_profile("picosam-web", deadline=None, max_examples=60)
hypothesis.settings.load_profile("picosam-web")

WAIT_S = 30.0
SHOTS = Path(__file__).parents[3] / "out" / "web"
TOKEN = "a-token-for-tests-only"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Waits until it holds, and returns what it gave."""
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited too long for {what or condition}"
        time.sleep(0.025)
    return found


@dataclass
class Served:
    """An application with a page, which runs in a thread."""

    application: Application
    page: WebPublisher
    thread: threading.Thread
    config: AppConfig

    @property
    def url(self) -> str:
        return self.page.url

    def prompt(self) -> Any:
        """The prompt that ROI sources see."""
        return self.application.context.prompt.get()

    def stop(self) -> None:
        self.application.stop()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        self.application.close()


@dataclass
class Kiosk:
    """Starts applications with a page; all end with the test."""

    stack: ExitStack = field(default_factory=ExitStack)

    def serve(
        self,
        web: dict[str, Any] | None = None,
        grants: list[str] | None = None,
        photo: Path | None = None,
        **tables: Any,
    ) -> Served:
        """Starts one on a photograph that stays, with the ROI source "manual".

        Args:
            web: keys of the page's own table.
            grants: of it.
            photo: the first sample if None.
            tables: further tables, instead of the usual ones.
        """
        egress = {"grants": grants or []}
        raw: dict[str, Any] = {
            "device": {"name": "desk"},
            "camera": {"kind": "photos", "path": str(photo or photo_path()), "fps": 12.0,
                       "loop": True},
            "roi": [{"kind": "manual", "max_age_s": 0}],
            "publish": [{"kind": "web", "port": 0, "egress": egress, **(web or {})}],
            "run": {"status_s": 0},
        }  # fmt: skip
        config = from_mapping(raw | tables, AppConfig)
        plugins = Plugins()
        parts = app.make_parts(config, plugins)
        page = parts.publishers[0].part
        assert isinstance(page, WebPublisher)
        application = Application(config, parts, plugins)
        application.__enter__()
        thread = threading.Thread(target=application.run)
        served = Served(application, page, thread, config)
        self.stack.callback(served.stop)
        thread.start()
        until(lambda: page.is_open, "the page")
        return served


class Watcher:
    """Somebody who looks at a publisher's page: confirms and keeps what comes, and comes back."""

    def __init__(self, publisher: WebPublisher) -> None:
        self._publisher = publisher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.results: list[dict[str, Any]] = []
        self.pictures: list[bytes] = []

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def wait(self) -> None:
        """Until the page knows of it."""
        until(lambda: self._publisher.stats["pages"], "the watcher")

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            with suppress(OSError, WebSocketException):
                url = self._publisher.url.replace("http://", "ws://")
                with connect(f"{url}ws") as connection:
                    self._read(connection)

    def _read(self, connection: ClientConnection) -> None:
        while not self._stop.is_set():
            try:
                data = connection.recv(0.05)
            except TimeoutError:
                continue
            if isinstance(data, bytes):
                self.pictures.append(data)
                continue
            message = json.loads(data)
            if message["type"] == "result":
                self.results.append(message)
                connection.send(json.dumps({"type": "seen", "seq": message["message"]["seq"]}))


def photo_path() -> Path:
    """A photograph of a cat."""
    return next(photo.path for photo in sample_photos() if photo.path.stem == "chelsea")


@pytest.fixture(scope="session")
def photo() -> ImageArray:
    return load_image(photo_path())


@pytest.fixture(scope="session", name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture(scope="session")
def watch() -> type[Watcher]:
    return Watcher


@pytest.fixture
def direct() -> Iterator[Callable[..., WebPublisher]]:
    """A function that opens a publisher alone, with these keys of its table."""
    with ExitStack() as stack:

        def make(context: Context | None = None, **options: Any) -> WebPublisher:
            config: Any = from_mapping({"port": 0, **options}, WebConfig)
            publisher = WebPublisher(config, context or Context("desk", "0123456789abcdef"))
            stack.callback(publisher.close)
            publisher.open()
            return publisher

        yield make


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN


@pytest.fixture
def kiosk() -> Iterator[Kiosk]:
    kiosk = Kiosk()
    with kiosk.stack:
        yield kiosk


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, Debian's package or another one on PATH.

    Its driver keeps an event loop in this thread, so it does not live longer than its module.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert program is not None, "the tests need Chromium: sudo apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Visit:
    """A page in the browser, what it requested, and what went wrong there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def js(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def until(self, expression: str) -> Any:
        """Waits until an expression holds in the page, and returns it."""

        def ask() -> Any:
            try:
                return self.js(expression)
            except Error as error:
                if "context was destroyed" in str(error):  # it is on the way to another page
                    return None
                raise

        return until(ask, expression)

    def live(self) -> Visit:
        """Waits for the first result."""
        self.until("Boolean(window.picosam && picosam.shown > 0)")
        return self

    def until_mask(self) -> Any:
        """Waits for a mask that has an object in it."""
        return self.until("picosam.lastResult?.message.area_px > 0")

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Drags over the view; the corners are shares of it."""
        mouse = self.page.mouse
        mouse.move(*self.at(x0, y0))
        mouse.down()
        mouse.move(*self.at((x0 + x1) / 2, (y0 + y1) / 2))
        mouse.move(*self.at(x1, y1))
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("#stage").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def shoot(self, name: str, **options: Any) -> Path:
        """Keeps a screenshot, for people to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        self.page.screenshot(path=path, **options)
        return path


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """A function that opens an address, as Visit; ``quiet=False`` allows errors on the console."""
    with ExitStack() as stack:

        def go(url: str, quiet: bool = True, **options: Any) -> Visit:
            options.setdefault("viewport", {"width": 1100, "height": 720})
            context = browser.new_context(**options)
            stack.callback(context.close)
            seen = Visit(context.new_page())
            stack.callback(_assert_stayed_at_home, seen, url)
            if quiet:
                stack.callback(_assert_quiet, seen)
            seen.page.goto(url)
            return seen

        yield go


def _assert_stayed_at_home(seen: Visit, url: str) -> None:
    """No request left the page's origin."""
    assert seen.requests
    assert {urlsplit(one).netloc for one in seen.requests} == {urlsplit(url).netloc}


def _assert_quiet(seen: Visit) -> None:
    assert seen.errors == []
