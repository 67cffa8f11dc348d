"""A broker, a bad network, a small disk, and real pipelines in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from tests.faults.checks import Checker

__all__ = ["PipelineProcess", "World", "bad_network"]

ROOT = Path(__file__).parents[2]
LIMIT_S = 12.0
WARM_S = 15.0
_LATE_SAMPLES = 180  # at two a second
QUIET_MALLOC = {
    "MALLOC_ARENA_MAX": "1",  # else freed blocks are kept once for each thread that had some
    "MALLOC_MMAP_THRESHOLD_": "131072",  # else it rises to the largest block that was ever freed
    "MALLOC_TRIM_THRESHOLD_": "131072",
}
"""So that glibc gives back what is freed, and memory grows by what is held."""

_DISK = "24m"  # two spools, whose logs may grow to 4 MB each, and room


def bad_network() -> ModuleType:
    """The broker, listener and fault proxy of the MQTT plugin's tests."""
    path = ROOT / "plugins/picosam-mqtt/tests/conftest.py"
    spec = importlib.util.spec_from_file_location("faults_bad_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def late_growth_mb(samples_mb: Sequence[float]) -> float:
    """How much higher the median of the last quarter is than that of the second quarter.

    What an allocator keeps for the next time comes early, and what is opened anew needs more for a
    moment; neither counts. Lives too short say nothing.
    """
    n = len(samples_mb)
    if n < _LATE_SAMPLES:
        return 0.0
    return statistics.median(samples_mb[-n // 4 :]) - statistics.median(samples_mb[n // 4 : n // 2])


class PipelineProcess:
    """One ``picosam run``, which is started again after it was killed."""

    def __init__(self, device: str, folder: Path, spool: Path, tables: str) -> None:
        self.device, self.folder, self.spool = device, folder, spool
        self.orders = folder / "orders"
        self.orders.mkdir(parents=True)
        self.config = folder / "picosam.toml"
        self.config.write_text(tables)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.most = dict.fromkeys(
            ("rss_mb", "growth_mb", "late_growth_mb", "threads", "longest_life_s"), 0.0
        )
        self._began_s = 0.0
        self._warm_mb: list[float] = []  # since it was warm

    def start(self, plugin: Path) -> None:
        path = os.pathsep.join((str(plugin), str(ROOT)))
        scratch = self.folder / "tmp"  # where a killed one leaves what it would have removed
        scratch.mkdir(exist_ok=True)
        environment = {**QUIET_MALLOC, **os.environ, "OMP_NUM_THREADS": "1",
                       "PYTHONPATH": path, "FAULTS_DIR": str(self.orders),
                       "TMPDIR": str(scratch)}  # fmt: skip
        for order in self.orders.iterdir():  # what the one before did not come to
            order.unlink()
        program = "import sys; from picosam_sdk.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "run", str(self.config), "--quiet"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.starts += 1
        self._began_s, self._warm_mb = time.monotonic(), []

    def end(self, how: signal.Signals, limit_s: float = 10.0) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(limit_s)
        self.process = None
        return code

    def waiting(self) -> list[tuple[str, str, int]]:
        """(device, session, seq) of the masks in the spool; the process must have ended."""
        with closing(sqlite3.connect(self.spool)) as database:
            rows = database.execute("SELECT payload FROM message WHERE topic LIKE '%/mask'")
            messages = [json.loads(payload) for (payload,) in rows]
        return [(m["device"], m["session"], m["seq"]) for m in messages]

    def order(self, what: str, limit_s: float = LIMIT_S) -> bool:
        """Has a part fail; whether it did within the time."""
        (self.orders / what).touch()
        return self.taken(what, limit_s)

    def taken(self, what: str, limit_s: float = LIMIT_S) -> bool:
        """Whether a part takes what was laid ready for it."""
        file, deadline = self.orders / what, time.monotonic() + limit_s
        while file.exists() and time.monotonic() < deadline:
            time.sleep(0.003)
        if not file.exists():
            return True
        file.unlink(missing_ok=True)
        return False

    def sample(self) -> None:
        """Memory and threads, from /proc."""
        if self.process is None:
            return
        with suppress(OSError, KeyError, ValueError):
            text = Path(f"/proc/{self.process.pid}/status").read_text()
            status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            rss_mb = int(status["VmRSS"].split()[0]) / 1024
            life_s = time.monotonic() - self._began_s
            if life_s > WARM_S:
                self._warm_mb.append(rss_mb)
            now = {"rss_mb": rss_mb, "threads": int(status["Threads"]), "longest_life_s": life_s,
                   "growth_mb": max(self._warm_mb, default=0.0) - (*self._warm_mb, 0.0)[0],
                   "late_growth_mb": late_growth_mb(self._warm_mb)}  # fmt: skip
            self.most = {key: max(self.most[key], now[key]) for key in now}

    def limit_files(self, n_bytes: int) -> None:
        """Lets it write no file beyond so many bytes: a quota, where a disk cannot be mounted."""
        assert self.process is not None
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (n_bytes, hard))


class World:
    """All that a run of the suite needs; a context manager."""

    def __init__(self, folder: Path, sensor: bool = True) -> None:
        self.folder, self.checker = folder, Checker()
        self.with_sensor = sensor
        self.net = bad_network()
        self.pipelines: dict[str, PipelineProcess] = {}
        self.arrived_s: dict[str, float] = {}
        self.owed: list[tuple[str, str, int]] = []
        self.longest_gap_s = 0.0
        self.disk = folder / "disk"
        self.mounted = False
        self._stack = ExitStack()
        self._beats: tuple[int, float] = (0, 0.0)
        self._sampled_s = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.disk.mkdir(parents=True)
            self._mount(stack)
            self.broker = self.net.Mosquitto(self.folder / "broker").start()
            stack.callback(self._stop_broker)
            self.proxy = self.net.FaultProxy(self.broker.port)
            stack.callback(self.proxy.close)
            self.listen()
            stack.callback(lambda: self.listener.close())
            self._watch_beats(stack)
            self._make_pipelines()
            stack.callback(self._stop_pipelines)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # What came --------------------------------------------------------------------------------

    def listen(self) -> None:
        """Begins to listen, with a new client."""
        self.listener = self.net.Listener(self.broker.plain_port, "#")
        self.listener.messages = deque(self.listener.messages)

    def drain(self) -> None:
        """Checks what has come."""
        while self.listener.messages:
            message = self.listener.messages.popleft()
            if self.checker.message(message.topic, bytes(message.payload)):
                self.arrived_s[message.topic.split("/")[1]] = time.monotonic()
        now_s = time.monotonic()
        if now_s - self._sampled_s > 0.5:
            self._sampled_s = now_s
            for pipeline in self.pipelines.values():
                pipeline.sample()

    def recovered(self, device: str, since_s: float, limit_s: float = LIMIT_S) -> float | None:
        """Seconds until a new mask of a device came; None if none did in time."""
        while time.monotonic() < since_s + limit_s:
            self.drain()
            if self.arrived_s.get(device, 0.0) > since_s:
                return self.arrived_s[device] - since_s
            time.sleep(0.005)
        return None

    def settle(self, limit_s: float = LIMIT_S) -> bool:
        """Ends the pipelines in order; whether they delivered all they held."""
        for pipeline in self.pipelines.values():
            pipeline.end(signal.SIGTERM)
        self.listener.catch_up()
        self.drain()
        self.checker.must_have(self.owed)
        return not any(pipeline.waiting() for pipeline in self.pipelines.values())

    def gap_s(self) -> float:
        """The longest time between two reads of the camera since the last call."""
        gap_s, self.longest_gap_s = self.longest_gap_s, 0.0
        return gap_s

    def written(self) -> list[bytes]:
        """What lies on the disk: spools, audit log, what was printed."""
        return [path.read_bytes() for path in self.folder.rglob("*")
                if path.is_file() and path.suffix not in (".onnx", ".rpk", ".py")]  # fmt: skip

    # What goes wrong --------------------------------------------------------------------------

    def kill_broker(self, pause_s: float) -> None:
        """Kills it when the subscriber has what it acknowledged; both are back when this returns.

        What a broker acknowledged is the broker's, so its own loss is not the pipeline's.
        """
        self.proxy.refuse = True
        self.proxy.cut()
        time.sleep(0.02)
        self.listener.catch_up()
        self.drain()
        self.listener.close()
        self.broker.kill()
        time.sleep(pause_s)
        self.broker.start()
        self.listen()
        self.proxy.refuse = False

    def fill_disk(self) -> None:
        if not self.mounted:
            for pipeline in self.pipelines.values():
                pipeline.limit_files(1)
            return
        with suppress(OSError), (self.disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"\1" * 65536)

    def free_disk(self) -> None:
        (self.disk / "ballast").unlink(missing_ok=True)
        if not self.mounted:
            for pipeline in self.pipelines.values():
                pipeline.limit_files(resource.RLIM_INFINITY)

    def kill(self, device: str) -> None:
        """kill -9 and a new start; what the spool held must come."""
        pipeline = self.pipelines[device]
        pipeline.end(signal.SIGKILL)
        self.owed += pipeline.waiting()
        pipeline.start(self.folder / "plugin")

    def restart(self, device: str, also: Callable[[], bool] = lambda: True) -> bool:
        """SIGTERM and a new start; what else is true between the two."""
        pipeline = self.pipelines[device]
        code = pipeline.end(signal.SIGTERM)
        if code:
            self.checker.violations.append(f"SIGTERM: {device} ended with {code}")
        self.owed += pipeline.waiting()
        happened = also()
        pipeline.start(self.folder / "plugin")
        return happened

    # Setting up -------------------------------------------------------------------------------

    def _mount(self, stack: ExitStack) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(self.disk)]
        if shutil.which("mount") and os.geteuid() == 0:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        if self.mounted:
            stack.callback(subprocess.run, ["umount", "-l", str(self.disk)], check=False)

    def _watch_beats(self, stack: ExitStack) -> None:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        self.beat_port = int(sock.getsockname()[1])
        ended = threading.Event()
        thread = threading.Thread(target=self._count_beats, args=(sock, ended))
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)

    def _count_beats(self, sock: socket.socket, ended: threading.Event) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                who = int(sock.recv(64))
                now_s = time.monotonic()
                before, at_s = self._beats
                if who == before:  # the time between two processes is no gap of the loop
                    self.longest_gap_s = max(self.longest_gap_s, now_s - at_s)
                self._beats = (who, now_s)

    def _make_pipelines(self) -> None:
        plugin = self.folder / "plugin"
        information = plugin / "faulty_parts-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: faulty-parts\nVersion: 1.0\n"
        )
        (information / "entry_points.txt").write_text(
            "[picosam_sdk]\nfaulty = tests.faults.parts\n"
        )
        heads = {
            "host": f'[camera]\nkind = "faulty"\nbeat_port = {self.beat_port}\n'
            '[segmenter]\nbackend = "faulty"\n',
        }
        if self.with_sensor:
            from tests.imx500.conftest import red_model

            model = red_model(self.folder / "red.onnx")
            heads["sensor"] = f'[segmenter]\nbackend = "faulty-sensor"\nmodel = "{model}"\n'
        for device, head in heads.items():
            spool = self.disk / f"{device}.spool"
            text = head + self._tables(device, spool)
            pipeline = PipelineProcess(device, self.folder / device, spool, text)
            self.pipelines[device] = pipeline
            pipeline.start(plugin)

    def _tables(self, device: str, spool: Path) -> str:
        values: dict[str, Any] = {
            "host": self.net.HOST, "port": self.proxy.port, "changes_only": False, "rate_hz": 0.0,
            "stats_s": 2.0, "silhouette": True, "keepalive_s": 1, "connect_timeout_s": 2.0,
            "reconnect_s": 0.05, "reconnect_max_s": 0.2, "retry_s": 0.05, "retry_max_s": 0.2,
        }  # fmt: skip
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        return (
            f'[device]\nname = "{device}"\n'
            f'[policy]\naudit_log = "{self.folder / device / "audit.jsonl"}"\n'
            '[[roi]]\nkind = "faulty"\n[[filter]]\nkind = "faulty"\n'
            f'[[publish]]\nkind = "mqtt"\n{lines}spool = {{ path = "{spool}" }}\n'
            '[[publish]]\nkind = "faulty"\nretry_s = 0.05\nretry_max_s = 0.2\n'
        )

    def _stop_broker(self) -> None:
        self.broker.thaw()
        self.broker.kill()

    def _stop_pipelines(self) -> None:
        for pipeline in self.pipelines.values():
            if pipeline.process is not None:
                pipeline.end(signal.SIGKILL)
