"""The metrics: read over HTTP, and parsed as a scraper does."""

from __future__ import annotations

import socket
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from picosam_sdk import ConfigError, MissingExtraError
from picosam_sdk.metrics import MetricsServer
from picosam_sdk.outbox import Outbox
from picosam_sdk.settings import PublishTable
from picosam_sdk.stats import BOUNDS_MS, Stats
from tests.pipeline.conftest import Capture, OpenGate, result


class Setup:
    def __init__(self) -> None:
        self.stats = Stats()
        gate = OpenGate()
        table = PublishTable("capture", queue=2)
        part = self.stats.part("publisher", "far", lambda: {
            "spooled": 7, "connected": True, "gaze_x": 0.25, "last": "secret text"
        })  # fmt: skip
        self.outbox = Outbox("far", Capture(), gate, table, part)  # type: ignore[arg-type]
        self.server = MetricsServer(self.stats, [self.outbox], {"device": 'desk "1"'})

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        url = f"http://127.0.0.1:{self.server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def setup() -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.server.close()
    setup.outbox.close(0)


def test_counts_and_histograms(setup: Setup) -> None:
    for value_ms in (0.2, 3.0, 3.0, 40.0, 60_000.0):
        setup.stats.time("inference", value_ms)
    setup.stats.count("masks", 3)
    for _ in range(4):
        setup.stats.frame()
    for index in range(5):
        setup.outbox.offer(result(index), 0)
    setup.stats.part("camera", "webcam").error(OSError("gone"))
    samples = setup.samples()
    assert samples["picosam_info", (("device", 'desk "1"'),)] == 1
    assert samples["picosam_frames_total", ()] == 4
    assert samples["picosam_masks_total", ()] == 3
    assert samples["picosam_publisher_dropped_total", (("publisher", "far"),)] == 3
    assert samples["picosam_publisher_waiting", (("publisher", "far"),)] == 2
    camera = (("part", "webcam"), ("role", "camera"))
    assert samples["picosam_part_errors_total", camera] == 1
    stage = ("stage", "inference")
    buckets = {
        labels[0][1]: value
        for (name, labels), value in samples.items()
        if name == "picosam_stage_seconds_bucket" and stage in labels
    }
    assert list(buckets.values()) == sorted(buckets.values())
    assert len(buckets) == len(BOUNDS_MS) + 1
    assert buckets["0.005"] == 3
    assert buckets["+Inf"] == samples["picosam_stage_seconds_count", (stage,)] == 5
    assert samples["picosam_stage_seconds_sum", (stage,)] == pytest.approx(60.0462)


def test_of_what_parts_say_only_whole_numbers_are_shown(setup: Setup) -> None:
    shown = {
        dict(labels)["key"]: value
        for (name, labels), value in setup.samples().items()
        if name == "picosam_part_value"
    }
    assert shown == {"spooled": 7, "connected": 1}


def test_it_listens_on_loopback_only(setup: Setup) -> None:
    assert setup.server._server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_names_the_key(setup: Setup) -> None:
    with pytest.raises(ConfigError, match=rf"metrics\.port: .*127\.0\.0\.1:{setup.server.port}"):
        MetricsServer(setup.stats, [], {}, port=setup.server.port)


def test_a_client_that_says_nothing_holds_up_nobody(setup: Setup) -> None:
    with socket.create_connection(("127.0.0.1", setup.server.port), timeout=10):
        assert setup.samples()
        began = time.monotonic()
        setup.server.close()
        assert time.monotonic() - began < 8  # less than that client's time-out


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError) as caught:
        MetricsServer(Stats(), [], {})
    assert "picosam-sdk[metrics]" in caught.value.hint
