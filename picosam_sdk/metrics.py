"""The statistics of an application as Prometheus text over HTTP (extra ``metrics``)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from picosam_sdk.errors import ConfigError, MissingExtraError
from picosam_sdk.hosts import is_loopback, name_in
from picosam_sdk.outbox import Outbox
from picosam_sdk.stats import BOUNDS_MS, Distribution, Stats

__all__ = ["MetricsServer"]

_PUBLISHER_COUNTS = {
    "accepted": "results taken into its outbox",
    "sent": "results delivered",
    "dropped": "results given up: the outbox was full, or they could not be delivered",
    "withheld": "results withheld by the egress policy",
    "expired": "results withheld by the egress policy when their turn came",
    "bytes": "bytes that left",
}


class MetricsServer:
    """Answers every GET with the metrics, in threads of its own, until it is closed.

    Durations are histograms in seconds. Of what parts say of themselves, only whole numbers and
    truth values are shown: counts and states, no places and no texts.

    Args:
        stats: of the application.
        outboxes: whose lengths are shown.
        info: labels of ``picosam_info``, such as version and device.
        host: address to listen on.
        port: 0 for any that is free; see ``port``.

    Raises:
        MissingExtraError: prometheus-client is not installed.
        ConfigError: it cannot listen there.
    """

    def __init__(
        self,
        stats: Stats,
        outboxes: Sequence[Outbox],
        info: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise MissingExtraError(error.name or "prometheus_client", "metrics") from error
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(stats, outboxes, info))
        handler = _handler_class(local=is_loopback(host)).factory(registry)
        try:
            self._server = _Server(host, port, handler)
        except OSError as error:
            raise ConfigError(
                f"metrics.port: expected to listen on {host}:{port}, got: {error.strerror}",
                hint="Choose another port, or end the program that uses it.",
            ) from error
        self.port = int(self._server.server_address[1])
        """The port that it listens on."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening; may be called more than once."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_class(local: bool) -> Any:
    """Answers a GET; on loopback only under a name of this machine.

    A page in a browser here may have a name that leads to this address (DNS rebinding), and would
    read when there was something to see. Elsewhere a scraper may use any name.
    """
    from prometheus_client import MetricsHandler

    class Handler(MetricsHandler):
        timeout = 10  # of a client that sends nothing

        server_version, sys_version = "picosam", ""  # else it tells Python's version

        def do_GET(self) -> None:  # noqa: N802 - http.server looks for this name
            if local and not is_loopback(name_in(self.headers.get("Host", ""))):
                self.send_error(421, "This answers to localhost and its addresses alone")
                return
            super().do_GET()

        def end_headers(self) -> None:
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            super().end_headers()

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for its own name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""


class _Collector:
    """Makes the metric families when they are asked for."""

    def __init__(self, stats: Stats, outboxes: Sequence[Outbox], info: Mapping[str, str]) -> None:
        self._stats, self._outboxes, self._info = stats, outboxes, info

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stats = self._stats
        about = GaugeMetricFamily("picosam_info", "What runs here", labels=list(self._info))
        about.add_metric(list(self._info.values()), 1)
        yield about
        yield GaugeMetricFamily("picosam_uptime_seconds", "Since the start", stats.uptime_s)
        yield GaugeMetricFamily("picosam_fps", "Frames a second, lately", stats.fps)
        for name, text in (
            ("frames", "frames whose results were handed over"),
            ("masks", "those that had a mask"),
            ("settling", "those whose mask may belong to the ROI before"),
        ):
            yield CounterMetricFamily(f"picosam_{name}", text, stats[name])
        yield _histograms("picosam_stage_seconds", "How long steps took, how old things were",
                          {(stage,): one for stage, one in stats.distributions().items()},
                          ["stage"])  # fmt: skip
        yield from self._parts()
        yield from self._publishers()

    def _parts(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels = ["role", "part"]
        errors = CounterMetricFamily("picosam_part_errors", "Errors of parts", labels=labels)
        restarts = CounterMetricFamily("picosam_part_restarts", "Opened again", labels=labels)
        values = GaugeMetricFamily(
            "picosam_part_value", "What parts say of themselves", labels=[*labels, "key"]
        )
        for (role, name), part in self._stats.parts().items():
            errors.add_metric([role, name], part["errors"])
            restarts.add_metric([role, name], part["restarts"])
            for key, value in part.own().items():
                if isinstance(value, int):
                    values.add_metric([role, name, str(key)], value)
        yield from (errors, restarts, values)

    def _publishers(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        outboxes, labels = self._outboxes, ["publisher"]
        for count, text in _PUBLISHER_COUNTS.items():
            family = CounterMetricFamily(f"picosam_publisher_{count}", text, labels=labels)
            for outbox in outboxes:
                family.add_metric([outbox.name], outbox.stats[count])
            yield family
        waiting = GaugeMetricFamily("picosam_publisher_waiting", "In its outbox", labels=labels)
        for outbox in outboxes:
            waiting.add_metric([outbox.name], outbox.waiting)
        yield waiting
        for stage, text in (
            ("publish", "How long a publisher took"),
            ("age", "From the exposure to the delivery"),
        ):
            found = {(box.name,): box.stats.histogram(stage).read() for box in outboxes}
            yield _histograms(f"picosam_publisher_{stage}_seconds", text, found, labels)


def _histograms(name: str, text: str, found: Mapping[Any, Distribution], labels: list[str]) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=labels)
    for values, one in found.items():
        buckets, total = [], 0
        for bound_ms, count in zip((*BOUNDS_MS, float("inf")), one.counts, strict=True):
            total += count
            buckets.append((repr(bound_ms / 1e3).replace("inf", "+Inf"), float(total)))
        family.add_metric(list(values), buckets, one.sum_ms / 1e3)
    return family
