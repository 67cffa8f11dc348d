"""Whole pipelines in processes of their own: throughput, latency to a subscriber, CPU, memory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["HOST", "broker", "configuration", "mosquitto", "measure_pipelines", "measured_run"]

HOST = "127.0.0.1"
_PROGRAM = Path(__file__).with_name("measured_run.py")
_ROI = '[[roi]]\nkind = "fixed"\nbox = [0.3, 0.2, 0.4, 0.6]\n'
_FOLLOW = f'[[roi]]\nkind = "follow"\n{_ROI}'


def measure_pipelines(seconds: float, paced_s: float, turns: int) -> dict[str, Any]:
    """Runs pipelines at 1280 x 720 with the shipped network on one thread, in turns.

    Args:
        seconds: for a turn of each unpaced one.
        paced_s: for a turn of each one at 30 frames a second.
        turns: of each; figures are the medians.

    Returns:
        ``unpaced`` and ``paced``: rows of ``name``, ``fps``, ``cpu`` (cores in use),
        ``cpu_ms`` (of all threads, a frame), ``rss_mb``, and with a subscriber ``received_hz``,
        ``latency_p50_ms``, ``latency_p99_ms``; ``left_out``: what, and why.
    """
    found: dict[str, Any] = {"left_out": []}
    with tempfile.TemporaryDirectory(prefix="picosam-bench") as name:
        folder = Path(name)
        plans = {"fixed ROI": _ROI, "follow": _FOLLOW, "gaze": _gaze(folder)}
        unpaced: dict[str, Callable[[], dict[str, float]]] = {
            "the camera alone": lambda: _camera_alone(seconds)
        }
        for label, rois in plans.items():
            unpaced[label] = lambda r=rois: rates(measured_run(configuration(folder, r), seconds))
        paced: dict[str, Callable[[], dict[str, float]]] = {}
        if mosquitto() is None:
            found["left_out"].append("MQTT: mosquitto is not installed")
        else:
            for qos in (0, 1):
                label = f"follow, MQTT QoS {qos}"
                unpaced[label] = lambda q=qos: _published(folder, q, 0, seconds)
                paced[label] = lambda q=qos: _published(folder, q, 30, paced_s)
        found["unpaced"], found["paced"] = _in_turns(unpaced, turns), _in_turns(paced, turns)
    return found


def _in_turns(plans: dict[str, Callable[[], dict[str, float]]], turns: int) -> list[dict[str, Any]]:
    """Medians of each figure, by plan."""
    every: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    for _ in range(turns):
        for name, call in plans.items():
            every[name].append(call())
    return [
        {"name": name, **{key: statistics.median(run[key] for run in runs) for key in runs[0]}}
        for name, runs in every.items()
    ]


def configuration(
    folder: Path, rois: str, *, fps: float = 0, publishers: str = "", size_px: str = "[1280, 720]"
) -> Path:
    """Writes a picosam.toml with the synthetic camera."""
    path = folder / "picosam.toml"
    path.write_text(
        f'[device]\nname = "bench"\n[camera]\nkind = "synthetic"\nsize_px = {size_px}\n'
        f"fps = {fps}\nobject_size = 0.4\n{rois}{publishers}"
    )
    return path


def measured_run(config: Path, seconds: float = 0, *, frames: int = 0) -> list[dict[str, Any]]:
    """Runs it, and gives the lines that it printed; the last holds its statistics.

    Raises:
        RuntimeError: it failed.
    """
    every_s = min(0.5, seconds / 8 or 0.5)
    command = [sys.executable, str(_PROGRAM), str(config), "--every", str(every_s),
               "--seconds", str(seconds), "--frames", str(frames)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def rates(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Frames a second, cores and memory, between the second line and the last but one: warm."""
    first, last = lines[1], lines[-2]
    span_s = max(1e-9, last["t_s"] - first["t_s"])
    stats = lines[-1]["stats"]
    dropped = sum(one.get("dropped", 0) for one in stats.get("publisher", {}).values())
    return {
        "fps": (last["frames"] - first["frames"]) / span_s,
        "cpu": (last["cpu_s"] - first["cpu_s"]) / span_s,
        "cpu_ms": 1000
        * (last["cpu_s"] - first["cpu_s"])
        / max(1, last["frames"] - first["frames"]),
        "rss_mb": max(line["rss_kb"] for line in lines) / 1000,
        "masks": stats.get("masks", 0) / max(1, stats.get("frames", 1)),
        "dropped": dropped,
    }


def _camera_alone(seconds: float) -> dict[str, float]:
    """How many frames a second the camera itself draws."""
    from picosam_sdk.cameras.synthetic import Scene, SyntheticConfig

    scene = Scene(SyntheticConfig(size_px=(1280, 720), object_size=0.4))
    began_s, cpu_s, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began_s < min(1.0, seconds):
        scene.render(count)
        count += 1
    cpu_s, span_s = time.process_time() - cpu_s, time.monotonic() - began_s
    return {"fps": count / span_s, "cpu": cpu_s / span_s, "cpu_ms": 1000 * cpu_s / count}


def _gaze(folder: Path) -> str:
    """A recorded gaze at 200 Hz that goes from place to place, and a ROI source for it."""
    lines = ["timestamp [ns],gaze x [px],gaze y [px],worn,fixation id,blink id"]
    places = [(640, 360), (420, 300), (820, 420), (640, 500)]
    for number in range(200 * 8):
        x, y = places[number // 400]
        lines.append(f"{number * 5_000_000},{x + number % 3},{y + number % 2},1,,")
    (folder / "gaze.csv").write_text("\n".join(lines) + "\n")
    return (
        '[[roi]]\nkind = "gaze"\nmapping = "identity"\n'
        f'source = {{ kind = "replay", path = "{folder / "gaze.csv"}", loop = true, '
        "view_px = [1280, 720] }\n[roi.prompt]\ndwell_ms = 200\n"
    )


def mosquitto() -> str | None:
    """The broker's program, or None."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return shutil.which("mosquitto", path=path)


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A real mosquitto on a free port of loopback."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = int(sock.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} {HOST}\nallow_anonymous true\npersistence false\n")
    process = subprocess.Popen([str(mosquitto()), "-c", str(config)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        deadline_s = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
                break
            if time.monotonic() > deadline_s:
                raise RuntimeError("mosquitto does not listen")
            time.sleep(0.02)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


class Subscriber:
    """A client that notes when each mask arrived after its frame was taken."""

    def __init__(self, port: int, qos: int) -> None:
        import paho.mqtt.client as paho

        self.latencies_ms: list[float] = []
        self.arrived_s: list[float] = []
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._received
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect(HOST, port)
        self._client.loop_start()
        self._client.subscribe("picosam/bench/mask", qos)
        if not self._ready.wait(10):
            raise RuntimeError("the broker grants no subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        now_ns = time.time_ns()
        taken_ns = json.loads(message.payload)["timestamp_ns"]
        self.arrived_s.append(time.monotonic())
        self.latencies_ms.append((now_ns - taken_ns) / 1e6)


def _published(folder: Path, qos: int, fps: float, seconds: float) -> dict[str, Any]:
    """A pipeline that sends every mask, a broker, and a subscriber in this process."""
    with broker(folder) as port:
        subscriber = Subscriber(port, qos)
        publishers = (
            f'[[publish]]\nkind = "mqtt"\nhost = "{HOST}"\nport = {port}\nqos = {qos}\n'
            "changes_only = false\nrate_hz = 0.0\n"
            f'spool = {{ path = "{folder / f"spool-{qos}-{fps:.0f}.sqlite"}" }}\n'
        )
        config = configuration(folder, _FOLLOW, fps=fps, publishers=publishers)
        try:
            found: dict[str, Any] = rates(measured_run(config, seconds))
        finally:
            subscriber.close()
    arrivals = zip(subscriber.arrived_s, subscriber.latencies_ms, strict=True)
    begin_s = subscriber.arrived_s[0] + 1.0  # warm
    steady = [latency_ms for when_s, latency_ms in arrivals if when_s > begin_s]
    if len(steady) > 1:
        cuts = statistics.quantiles(steady, n=100, method="inclusive")
        found |= {"latency_p50_ms": cuts[49], "latency_p99_ms": cuts[98]}
    span_s = max(1e-9, subscriber.arrived_s[-1] - subscriber.arrived_s[0])
    return {**found, "received": len(subscriber.arrived_s),
            "received_hz": len(subscriber.arrived_s) / span_s}  # fmt: skip
