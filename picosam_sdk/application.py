"""An application: opens its parts, runs the loop, and ends in time whatever hangs."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from picosam_sdk.egress import Audit, Gate, check_needs, manifest
from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.interfaces import Context
from picosam_sdk.outbox import Outbox, close_all
from picosam_sdk.parts import Parts
from picosam_sdk.pipeline import FilterChain, HostEye, Pipeline, RoiChain, SensorEye, Watch
from picosam_sdk.plugins import Plugins
from picosam_sdk.retrying import is_permanent
from picosam_sdk.segmenter import Segmenter
from picosam_sdk.settings import AppConfig
from picosam_sdk.stats import Stats
from picosam_sdk.systemd import Notifier

__all__ = ["Application", "status_text", "summary"]

_log = logging.getLogger(__name__)

_OPENING_S = 1.0
"""How long the start waits for publishers, to say at once what no second attempt will mend."""

_LAST_FRAME_S = 0.3
"""How long the end waits for the frame in work before outboxes take no more."""

_SUMMARY_S = 1.0
_COUNTS = ("sent", "dropped", "withheld", "errors", "restarts")


class Application:
    """One device's pipeline. A context manager: it is open inside the ``with`` block.

    Args:
        config: the whole configuration.
        parts: made of it.
        plugins: where the backend comes from.

    Raises:
        EgressError: a publisher needs what its table does not grant.
    """

    def __init__(self, config: AppConfig, parts: Parts, plugins: Plugins) -> None:
        for placed in parts.publishers:
            check_needs(placed.part, placed.table.egress, placed.key)
        self._config, self._parts, self._plugins = config, parts, plugins
        self._stats = Stats()
        self._gates: dict[tuple[str, str], Gate] = {}
        self._outboxes: list[Outbox] = []
        self._pipeline: Pipeline | None = None
        self._stack = ExitStack()
        self._notifier = Notifier()
        # Its put() may be called by a signal handler, which an Event's set() may not.
        self._inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._handed_over = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._alive_until_s = 0.0

    @property
    def context(self) -> Context:
        """What the parts share: name, session, and where a pointer or a prompt may be put."""
        return self._parts.context

    @property
    def stuck(self) -> bool:
        """Whether a thread hangs in a camera, backend or publisher after the end."""
        loop = self._thread is not None and self._thread.is_alive()
        return self._stop.is_set() and (loop or any(box.alive for box in self._outboxes))

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def run(self, on_status: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Runs until the frames end, ``max_frames`` are done, or :meth:`stop` is called.

        Then outboxes deliver what they hold for at most ``run.shutdown_s``.

        Args:
            on_status: called with :meth:`stats` every ``run.status_s`` seconds.

        Raises:
            Exception: what ended the loop unasked; nothing that a part does should.
        """
        assert self._pipeline is not None, "run() is for the inside of a 'with' block"
        self._show_life(60)
        self._thread = threading.Thread(target=self._loop, name="picosam-loop", daemon=True)
        self._thread.start()
        self._notifier.ready()
        try:
            self._watch_over(on_status)
        finally:
            self._shut_down(self._thread)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends :meth:`run`, from any thread or a signal handler."""
        self._inbox.put("stop")

    def stats(self) -> dict[str, Any]:
        """What was counted and measured since the start; ready for JSON where the parts' own is."""
        stats = {
            "device": self.context.device,
            "session": self.context.session,
            **self._stats.read(),
        }
        for (role, name), gate in self._gates.items():
            stats.setdefault(role, {}).setdefault(name, {})["egress"] = gate.stats
        for outbox in self._outboxes:
            stats["publisher"][outbox.name]["waiting"] = outbox.waiting
        return stats

    def close(self) -> None:
        """Closes everything; may be called more than once."""
        if self._thread is None and self._pipeline is not None:
            self._pipeline.close()
        self._stack.close()

    def _open(self) -> None:
        policy, metrics = self._config.policy, self._config.metrics
        audit = Audit(policy.audit_log, policy.audit_max_bytes, policy.audit_files)
        self._stack.callback(audit.close)
        audit.record("start", device=self.context.device, session=self.context.session,
                     manifest=manifest(self._config, self._parts)["record_id"])  # fmt: skip
        self._open_outboxes(audit)
        self._stack.callback(lambda: close_all(self._outboxes, 0.0))
        if metrics.port:
            from picosam_sdk.metrics import MetricsServer

            info = {"device": self.context.device, "backend": self._parts.backend.name}
            server = MetricsServer(self._stats, self._outboxes, info, metrics.host, metrics.port)
            self._stack.callback(server.close)
        self._pipeline = self._make_pipeline(audit)
        self._pipeline.open()
        self._check_outboxes()
        self._tell_parts()

    def _open_outboxes(self, audit: Audit) -> None:
        for placed in self._parts.publishers:
            publisher, name = placed.part, placed.name
            gate = Gate(name, placed.table.egress, audit, destination=publisher.destination)
            stats = self._stats.part("publisher", name, _own_stats(publisher))
            self._gates["publisher", name] = gate
            outbox = Outbox(name, publisher, gate, placed.table, stats)
            self._outboxes.append(outbox)
            outbox.start()

    def _check_outboxes(self) -> None:
        """Refuses to start with a publisher that lacks a package, or the like."""
        deadline_s = time.monotonic() + _OPENING_S
        for outbox in self._outboxes:
            error = outbox.wait_opened(max(0.0, deadline_s - time.monotonic()))
            if error is not None and is_permanent(error):
                raise error

    def _make_pipeline(self, audit: Audit) -> Pipeline:
        parts, stats = self._parts, self._stats
        watch = Watch(self._stop.wait, self._show_life)
        sources = []
        for placed in parts.rois:
            gate = Gate(f"roi {placed.name}", placed.table.egress, audit,
                        destination="inside this process")  # fmt: skip
            self._gates["roi", placed.name] = gate
            sources.append((placed.name, placed.part, gate))
        if parts.camera is None:
            eye: SensorEye | HostEye = SensorEye(
                self._make_segmenter, stats, watch, parts.backend.name
            )
        else:
            eye = HostEye(parts.camera.part, self._make_segmenter, stats, watch, parts.camera.name)
        filters = FilterChain([(placed.name, placed.part) for placed in parts.filters], stats)
        return Pipeline(eye, RoiChain(sources, stats), filters, self._outboxes, stats,
                        self._config.run, watch)  # fmt: skip

    def _make_segmenter(self) -> Segmenter:
        try:
            return Segmenter(
                self._parts.backend.name, plugins=self._plugins, **self._parts.backend_options
            )
        except InputError as error:
            raise ConfigError(f"segmenter: {error}", hint=error.hint) from error

    def _tell_parts(self) -> None:
        self.context.status.put(summary(self._parts, self.stats()))

    def _show_life(self, within_s: float) -> None:
        """The loop says within how many seconds it will call again."""
        self._alive_until_s = time.monotonic() + within_s

    def _loop(self) -> None:
        """In a thread of its own, since a camera may hang where nothing can interrupt it."""
        assert self._pipeline is not None
        try:
            self._pipeline.run()
        except BaseException as error:
            self._failure = error
        finally:
            self._handed_over.set()
            self._inbox.put("ended")
            self._pipeline.close()

    def _watch_over(self, on_status: Callable[[dict[str, Any]], None] | None) -> None:
        """Waits for the end; tells systemd and the user how it goes."""
        alive_s = self._notifier.watchdog_s / 3 or 30.0
        status_s = self._config.run.status_s if on_status is not None else 0.0
        next_alive_s = next_status_s = next_summary_s = time.monotonic()
        next_status_s += status_s
        while True:
            now_s = time.monotonic()
            if now_s >= next_alive_s:
                next_alive_s = now_s + alive_s
                if now_s < self._alive_until_s:
                    self._notifier.alive(status_text(self.stats()))
            if on_status is not None and status_s and now_s >= next_status_s:
                next_status_s = now_s + status_s
                on_status(self.stats())
            if now_s >= next_summary_s:
                next_summary_s = now_s + _SUMMARY_S
                self._tell_parts()
            wake_s = min(next_alive_s, next_summary_s)
            if status_s:
                wake_s = min(wake_s, next_status_s)
            try:
                self._inbox.get(timeout=max(0.0, wake_s - time.monotonic()))
            except queue.Empty:
                continue
            return

    def _shut_down(self, thread: threading.Thread) -> None:
        deadline_s = time.monotonic() + self._config.run.shutdown_s
        self._stop.set()
        self._notifier.stopping()
        self._handed_over.wait(_LAST_FRAME_S)
        close_all(self._outboxes, max(0.0, deadline_s - time.monotonic()))
        thread.join(max(0.0, deadline_s - time.monotonic()))
        if thread.is_alive():
            _log.warning("the camera or backend hangs and is left behind")


def status_text(stats: dict[str, Any]) -> str:
    """One line about :meth:`Application.stats`, for people."""
    text = f"{stats['fps']:.1f} fps, {stats.get('frames', 0)} frames, {stats.get('masks', 0)} masks"
    for name, one in stats.get("publisher", {}).items():
        text += f" | {name}: {one.get('sent', 0)} sent"
        if one.get("dropped"):
            text += f", {one['dropped']} dropped"
        if one.get("state") not in ("ready", "closed"):
            text += f", {one.get('state')}"
    for role in ("camera", "backend", "roi"):
        for name, one in stats.get(role, {}).items():
            if one.get("state") in ("lost", "retrying"):
                text += f" | {role} {name}: {one['state']}"
    return text


def summary(parts: Parts, stats: dict[str, Any]) -> dict[str, Any]:
    """What parts are told of each other: names, kinds, states and counts, and nothing else.

    Args:
        parts: as configured.
        stats: of :meth:`Application.stats`.

    Returns:
        ``fps``, ``frames``, ``masks``, ``uptime_s``, and under ``parts`` a list of ``role``,
        ``name``, ``kind``, ``state`` and those of the counts that are not 0.
    """
    kinds: dict[tuple[str, str], str] = {}
    if parts.camera is not None:
        kinds["camera", parts.camera.name] = parts.camera.table.kind
    for source in parts.rois:
        kinds["roi", source.name] = source.table.kind
    for mask_filter in parts.filters:
        kinds["filter", mask_filter.name] = mask_filter.table.kind
    for publisher in parts.publishers:
        kinds["publisher", publisher.name] = publisher.table.kind
    rows = []
    for role in ("camera", "backend", "roi", "filter", "publisher"):
        for name, one in stats.get(role, {}).items():
            kind = kinds.get((role, name), parts.backend.name if role == "backend" else name)
            counts = {key: one[key] for key in _COUNTS if one.get(key)}
            rows.append({"role": role, "name": name, "kind": kind,
                         "state": one.get("state", ""), **counts})  # fmt: skip
    told = {key: stats.get(key, 0) for key in ("fps", "frames", "masks", "uptime_s")}
    return {**told, "parts": rows}


def _own_stats(part: Any) -> Callable[[], Any]:
    return lambda: part.stats
