"""The publisher: its contract, its keys, its messages."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from picosam_web import plugin
from picosam_web.publisher import WebPublisher
from picosam_web.settings import WebConfig

from picosam_sdk import ConfigError, Context, EgressError, Plugins, Publisher, PublishError
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import check_needs
from picosam_sdk.settings import EgressRule
from picosam_sdk.testing.contract import PublisherContract
from picosam_sdk.testing.results import a_result, odd_results

SCHEMA = json.loads(files("picosam_sdk").joinpath("assets", "mask.schema.json").read_text())


class _Watched(PublisherContract):
    """Somebody looks at the page, so that something leaves."""

    part: ClassVar[type[Publisher]] = WebPublisher

    @pytest.fixture
    def opened(self, make: Callable[[], Any], watch: Any) -> Iterator[Any]:
        publisher = make()
        publisher.open()
        with watch(publisher) as self.watcher:
            self.watcher.wait()
            yield publisher

    def delivered(self, publisher: Any) -> int | None:
        self.watcher.wait()
        return len(self.watcher.results)


class TestMasks(_Watched):
    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"port": _free_port(), "max_rate_hz": 0}


class TestPictures(_Watched):
    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"port": _free_port(), "max_rate_hz": 0, "picture": True}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(**options: Any) -> WebConfig:
    return from_mapping(options, WebConfig, "publish[0].")


def test_it_is_found_by_its_kind() -> None:
    plugins = Plugins(discover=False)
    plugins.register(plugin, "web")
    assert plugins.part(Publisher, "web") is WebPublisher  # type: ignore[type-abstract]
    assert [command.name for command in plugins.commands()] == ["preview"]


def test_beyond_this_machine_it_wants_a_token() -> None:
    with pytest.raises(ConfigError, match=r"publish\[0\]\.token: .*0\.0\.0\.0") as caught:
        _config(host="0.0.0.0")
    assert "PICOSAM_WEB_TOKEN" in caught.value.hint
    assert _config(host="0.0.0.0", token="x" * 16).host == "0.0.0.0"
    assert _config(host="::1").token is None


@pytest.mark.parametrize(
    "options",
    [{"port": 70000}, {"host": " "}, {"picture_px": 1}, {"jpeg_quality": 0}, {"max_rate_hz": -1},
     {"max_clients": 0}, {"allowed_hosts": ["http://desk"]}, {"allowed_hosts": ["desk:80"]}],
)  # fmt: skip
def test_wrong_keys_are_refused(options: dict[str, Any]) -> None:
    (key,) = options
    with pytest.raises(ConfigError, match=rf"publish\[0\]\.{key}"):
        _config(**options)


def test_a_short_token_is_refused_when_it_is_read(direct: Any) -> None:
    with pytest.raises(ConfigError, match="at least 16 characters"):
        direct(token="short")


def test_it_needs_a_grant_only_for_a_picture() -> None:
    def needs(picture: bool, *grants: Any) -> frozenset[str]:
        context = Context(egress=EgressRule(grants=grants))
        return WebPublisher(_config(picture=picture), context).needs

    assert needs(False) == frozenset()
    assert needs(False, "pixels") == frozenset()
    assert needs(True) == {"pixels"}
    assert needs(True, "redacted") == {"redacted"}
    assert needs(True, "cutout", "gaze") == {"cutout"}
    page = WebPublisher(_config(picture=True), Context())
    with pytest.raises(EgressError, match="pixels"):
        check_needs(page, EgressRule(), "publish[0]")


def test_it_says_where_data_go(direct: Any) -> None:
    page = WebPublisher(_config(port=8123), Context())
    assert page.destination == "http://127.0.0.1:8123/, browsers of this machine's users"
    far = WebPublisher(_config(host="::", token="t" * 16), Context())
    assert far.destination == ("http://[::]:8000/, browsers of who can reach it and know the token")
    opened = direct()
    assert not opened.url.endswith(":0/"), "the port that it got"


def test_a_port_that_is_taken_is_an_error_that_may_pass(direct: Any) -> None:
    first = direct()
    port = int(first.url.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(PublishError, match=f"{port}.*in use"):
        direct(port=port)
    first.close()
    assert direct(port=port).is_open


def test_an_address_of_others_is_an_error(direct: Any, token: str) -> None:
    with pytest.raises(PublishError, match=r"203\.0\.113\.9"):
        direct(host="203.0.113.9", token=token)
    with pytest.raises(PublishError, match=r"no\.such\.host"):
        direct(host="no.such.host.invalid", token=token)


def test_a_message_is_the_payload_and_what_the_page_needs_beside(
    direct: Any, watch: Any, until: Any
) -> None:
    page = direct(max_rate_hz=0)
    validator = Draft202012Validator(SCHEMA)
    results = [*odd_results().values(), a_result(9, grants=("gaze",))]
    with watch(page) as watcher:
        watcher.wait()
        for result in results:
            page.publish(result)
            assert page.flush(10)
        until(lambda: len(watcher.results) == len(results), "all results")
        watched = watcher
    for number, sent in enumerate(watched.results):
        validator.validate(sent["message"])
        assert sent["message"]["seq"] == number
        assert sent["message"]["session"] == "0123456789abcdef"
    assert watched.results[-1]["timings_ms"] == {"network": 5.0}
    assert watched.results[-1]["message"]["gaze"] == [0.5, 0.5]
    assert watched.pictures == []


def test_pictures_come_as_jpeg_and_no_larger_than_wanted(
    direct: Any, watch: Any, until: Any
) -> None:
    page = direct(max_rate_hz=0, picture=True, picture_px=80)
    with watch(page) as watcher:
        watcher.wait()
        n_bytes = page.publish(a_result(grants=("pixels",)))
        page.publish(a_result(1))
        until(lambda: len(watcher.results) == 2, "both results")
        watched = watcher
    (picture,) = watched.pictures
    assert [sent["picture"] for sent in watched.results] == ["pixels", ""]
    assert n_bytes > len(picture)
    assert picture[:8] == watched.results[0]["message"]["seq"].to_bytes(8, "big")
    image = cv2.imdecode(np.frombuffer(picture[8:], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (60, 80, 3)


def test_a_picture_without_a_grant_or_a_wish_does_not_leave(
    direct: Any, watch: Any, until: Any
) -> None:
    for options, result in [
        ({"picture": False}, a_result(grants=("pixels",))),
        ({"picture": True}, a_result(grants=("pixels",), image_grant="")),
    ]:
        page = direct(max_rate_hz=0, **options)
        with watch(page) as watcher:
            watcher.wait()
            for index in range(2):
                page.publish(replace(result, frame=replace(result.frame, index=index)))
                until(lambda: len(watcher.results) > index, "a result")  # noqa: B023
            assert watcher.pictures == []


def test_colours_are_not_swapped_and_hidden_pixels_stay_hidden() -> None:
    from picosam_web.pictures import jpeg_of

    image = np.zeros((32, 32, 4), np.uint8)
    image[:, :16] = (250, 10, 20, 255)
    image[:, 16:] = (90, 90, 90, 0)
    back = cv2.imdecode(np.frombuffer(jpeg_of(image, 64, 95), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = back[16, 4]
    assert red > 200 > 60 > max(blue, green)
    assert back[16, 28].max() < 30


def test_nobody_looks_and_nothing_leaves(direct: Any) -> None:
    page = direct()
    assert page.publish(a_result()) is None
    assert page.stats["unwatched"] == 1
    assert page.stats["seq"] == 0


def test_the_rate_is_kept_on_a_grid() -> None:
    page = WebPublisher(_config(max_rate_hz=10), Context())
    times_ms = range(0, 2000, 33)
    passed = [ms for ms in times_ms if not page._too_soon(ms * 1_000_000)]
    assert 18 <= len(passed) <= 21
    same = WebPublisher(_config(max_rate_hz=30), Context())
    jitter = [0, 30, 70, 99, 134, 165, 201, 230]
    assert not any(same._too_soon(ms * 1_000_000) for ms in jitter), "a camera of the same rate"


def test_a_slow_page_loses_results_and_that_is_counted(direct: Any, until: Any) -> None:
    from websockets.sync.client import connect

    page = direct(max_rate_hz=0)
    with connect(page.url.replace("http", "ws") + "ws") as slow:
        until(lambda: page.stats["pages"], "the page")
        page.publish(a_result(0))
        assert json.loads(slow.recv(10))["type"] == "state"
        first = json.loads(slow.recv(10))
        slow.send(json.dumps({"type": "seen", "seq": first["message"]["seq"]}))
        slow.send(json.dumps({"type": "ping", "t": 1}))
        assert json.loads(slow.recv(10))["type"] == "pong"  # so it was heard
        told = [page.publish(a_result(index)) for index in range(1, 9)]
        assert page.stats["pages_dropped"] == 5
        slow.send(json.dumps({"type": "seen", "seq": 2}))
        got: list[int] = []
        while len(got) < 3:
            message = json.loads(slow.recv(10))
            got += [message["message"]["seq"]] if message["type"] == "result" else []
        assert got == [1, 2, 8]
    assert told[0] is not None
    until(lambda: page.stats["pages"] == 0, "the page to be gone")
    assert page.stats["pages_sent"] == 4


def test_a_server_that_died_is_started_again_by_the_outbox(direct: Any) -> None:
    page = direct()
    page._server._uvicorn.should_exit = True
    page._server._thread.join(10)
    with pytest.raises(PublishError, match="ended"):
        page.publish(a_result())
    page.close()
    page.open()
    assert page.is_open


def test_it_takes_no_signals_and_ends_soon(direct: Any) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    page = direct()
    assert signal.getsignal(signal.SIGINT) is before
    thread = threading.Thread(target=page.close)
    thread.start()
    thread.join(2)
    assert not thread.is_alive()
