"""``picosam preview``: opens the page on a camera, a video, photos or an emulated sensor."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from picosam_sdk.app import Application
    from picosam_web.publisher import WebPublisher

__all__ = ["add_parser", "name", "run"]

name = "preview"

_PORT = 8000
_OPEN_S = 5.0


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        name,
        help="look at masks in the browser, and prompt there",
        description="Opens a page that shows masks live, and that takes a box (drag) or a point\n"
        "(click) as the next prompt. By default the page gets masks and numbers only;\n"
        "--picture grants it the picture, too. It listens on this machine alone unless --host\n"
        "says otherwise, and then asks for the token that is printed. Ctrl-C ends it.",
        epilog="examples:\n  picosam preview --picture                  webcam 0\n"
        "  picosam preview synthetic --picture        no camera needed\n"
        "  picosam preview photos --picture --roi 25,5,60,90%\n"
        "  picosam preview emulated                   the AI Camera, without one\n"
        "  picosam preview clip.mp4 --point 50,50%\n"
        "  picosam preview picosam.toml               without its other publishers\n"
        "  picosam preview 0 --host 0.0.0.0           for a phone in the same network",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", nargs="?", default="0", metavar="SOURCE",
        help="webcam number (default: 0), video, photo, folder of photos, 'photos', 'synthetic', "
        "'emulated', network.rpk, rtsp://..., or a picosam.toml",
    )  # fmt: skip
    parser.add_argument("--picture", action=argparse.BooleanOptionalAction, default=None,
                        help="show the camera's picture, too (default: masks only)")  # fmt: skip
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--roi", type=_place(4), metavar="X,Y,W,H",
        help="box to begin with, as shares of the view, or percent with %%",
    )  # fmt: skip
    start.add_argument("--point", type=_place(2), metavar="X,Y",
                       help="point to begin with, alike")  # fmt: skip
    parser.add_argument(
        "--follow", action=argparse.BooleanOptionalAction, default=None,
        help="follow what was prompted (default: yes, but not on photos)",
    )  # fmt: skip
    parser.add_argument("--pointer", action="store_true",
                        help="take the mouse as a gaze, for the ROI source 'gaze'")  # fmt: skip
    parser.add_argument("--host", metavar="ADDRESS",
                        help="address to listen on (default: 127.0.0.1)")  # fmt: skip
    parser.add_argument(
        "--port", type=_port, metavar="N",
        help=f"port (default: {_PORT}, or a free one if that is taken)",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from picosam_sdk import app
    from picosam_sdk.app import Application
    from picosam_sdk.plugins import Plugins
    from picosam_web.publisher import WebPublisher
    from picosam_web.sources import Look, configuration

    web, token = _web_keys(args)
    config = configuration(
        Look(args.source, web, args.picture, args.follow, args.roi, args.point)
    )  # fmt: skip
    if config.publish[0].options.get("token") != web.get("token"):
        token = ""  # the file's own, which is not shown
    left_out = _left_out(args.source) if args.source.endswith(".toml") else []
    plugins = Plugins()
    parts = app.make_parts(config, plugins)
    page = parts.publishers[0].part
    assert isinstance(page, WebPublisher)
    application = Application(config, parts, plugins)
    with Signals(application.stop) as signals, _camera_hint(args.source), application:
        _wait_until_open(page, application)
        signals.running = True
        url = _address(page, token)
        print(f"picosam preview of {args.source}: {url}", flush=True)
        for line in _notes(page, left_out):
            print(line, flush=True)
        if not args.no_browser:
            _open_browser(url)
        application.run()
    code = 130 if signals.received == signal.SIGINT else 0
    if application.stuck:  # in a camera, which nothing can interrupt
        sys.stdout.flush()
        os._exit(code)
    return code


def _web_keys(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The keys of the page's table that the command line gives, and the token to print."""
    import secrets

    from picosam_sdk.hosts import is_loopback

    keys: dict[str, Any] = {}
    if args.host is not None:
        keys["host"] = args.host
    if args.port is not None:
        keys["port"] = args.port
    elif not args.source.endswith(".toml"):
        keys["port"] = _PORT if _is_free(args.host or "127.0.0.1", _PORT) else 0
    if args.pointer:
        keys["pointer"] = True
    token = ""
    if args.host is not None and not is_loopback(args.host):
        token = keys["token"] = secrets.token_urlsafe(18)
    return keys, token


def _left_out(source: str) -> list[str]:
    from picosam_sdk import app

    return [table.kind for table in app.load(Path(source)).publish if table.kind != "web"]


def _wait_until_open(page: WebPublisher, application: Application) -> None:
    """Waits for the page; a port that is taken is no reason to try for ever here.

    Raises:
        PublishError: it could not be opened.
    """
    from picosam_sdk.errors import PublishError

    deadline_s = time.monotonic() + _OPEN_S
    while not page.is_open:
        stats = next(iter(application.stats()["publisher"].values()))
        if stats.get("last_error") or time.monotonic() > deadline_s:
            raise PublishError(
                f"expected the page at {page.url}, got: {stats.get('last_error', 'nothing yet')}",
                hint="Choose another port: --port 0 takes any free one.",
            )
        time.sleep(0.01)


def _address(page: WebPublisher, token: str) -> str:
    """The link to open; it has the token where neither a server nor its log sees it."""
    url = page.url
    for anywhere in ("//0.0.0.0:", "//[::]:"):
        if anywhere in url:
            url = url.replace(anywhere, f"//{_local_address()}:")
    return f"{url}#token={token}" if token else url


def _notes(page: WebPublisher, left_out: list[str]) -> Iterator[str]:
    from picosam_sdk.hosts import is_loopback

    if page.config.picture:
        yield "The page gets the picture, too; leave --picture out for masks only."
    else:
        yield "The page gets masks and numbers; --picture shows the camera's picture, too."
    if not is_loopback(page.config.host):
        yield "Others in the network can open it with the token. It is not encrypted."
    if left_out:
        yield f"Nothing is published elsewhere meanwhile; left out: {', '.join(left_out)}."
    yield "Ctrl-C ends it."


def _local_address() -> str:
    """This machine's address towards others, or its loopback one; nothing is sent to find it."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, routed like any other
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _open_browser(url: str) -> None:
    """Opens the page where there is a screen; a browser in the terminal would hide the link."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        return
    import webbrowser

    webbrowser.open(url)


def _is_free(host: str, port: int) -> bool:
    from picosam_sdk.errors import PublishError
    from picosam_web.server import listen

    try:
        listen(host, port).close()
    except PublishError:
        return False
    return True


@contextmanager
def _camera_hint(source: str) -> Iterator[None]:
    """Says what to look at where there is no webcam."""
    from picosam_sdk.errors import CameraError

    try:
        yield
    except CameraError as error:
        if source.isdecimal():
            error.hint += " Without a camera: picosam preview synthetic --picture"
        raise


class Signals:
    """Makes SIGINT and SIGTERM end the run cleanly; a second one ends the process at once.

    Args:
        stop: ends a run. Until ``running`` is set, a signal is a KeyboardInterrupt instead, so
            that it ends what takes long to open.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self.running = False
        self.received: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        if not self.running:
            raise KeyboardInterrupt
        self._stop()


def _place(count: int) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        from picosam_web.sources import parse_place

        try:
            return parse_place(text, count)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected {count} numbers inside the view, as 0.1,0.2 or 10,20%, got '{text}'"
            ) from None

    return parse


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text}")
    return number
