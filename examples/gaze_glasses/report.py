"""Receives the glasses' masks as anybody would, and holds them against the recording's truth."""

from __future__ import annotations

import csv
import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from numpy.typing import NDArray
from picosam_mqtt.decode import DecodedMask, decode
from picosam_mqtt.tail import disconnect

from picosam_sdk.app import FileConfig
from picosam_sdk.rle import decode as decode_rle

GOOD_IOU = 0.5


class Subscriber:
    """Decodes every mask that a broker passes on, and counts the bytes of all topics."""

    def __init__(self, host: str, port: int) -> None:
        self.masks: list[DecodedMask] = []
        self.bytes: dict[str, int] = {}
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("picosam/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._receive
        self._client.connect(host, port)

    def _receive(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        topic = message.topic.rsplit("/", 1)[-1]
        self.bytes[topic] = self.bytes.get(topic, 0) + len(message.payload)
        if topic == "mask":
            self.masks.append(decode(message.payload))

    def wait_for(self, count: int, timeout_s: float = 5.0) -> None:
        """Waits until so many masks have come."""
        deadline_s = time.monotonic() + timeout_s
        while len(self.masks) < count and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._subscribed.wait(5)
        return self

    def __exit__(self, *error: object) -> None:
        disconnect(self._client)


def with_port(config: FileConfig, port: int) -> FileConfig:
    """The same configuration with the broker's port in its MQTT publisher."""
    tables = tuple(
        dataclasses.replace(table, options={**table.options, "port": port})
        if table.kind == "mqtt"
        else table
        for table in config.publish
    )
    return dataclasses.replace(config, publish=tables)


def score(out: Path, subscriber: Subscriber, stats: dict[str, Any]) -> dict[str, Any]:
    """What the figures are: by fixation, time to the first good mask, and the IoU from then on."""
    truth = json.loads((out / "clip" / "truth.json").read_text("utf-8"))
    ious = {mask.frame: _iou(mask, truth["frames"][mask.frame]) for mask in subscriber.masks
            if mask.present}  # fmt: skip
    fixations = []
    for number, (name, frames) in enumerate(_fixations(truth)):
        good = [frame for frame in frames if (ious.get(frame) or 0.0) >= GOOD_IOU]
        first = good[0] if good else None
        seen = [ious[frame] for frame in frames if ious.get(frame) is not None]
        fixations.append({
            "number": number,
            "object": name,
            "to_mask_s": None if first is None else (first - frames[0]) / truth["fps"],
            "miou": float(np.mean(seen)) if seen else None,
            "masks": len(seen),
        })  # fmt: skip
    latency = [mask.ages_ms["frame"] for mask in subscriber.masks if "frame" in mask.ages_ms]
    return {
        "fixations": fixations,
        "frames": stats["frames"],
        "masks_received": len(subscriber.masks),
        "latency_ms": {"p50": _percentile(latency, 50), "p99": _percentile(latency, 99)},
        "bytes_received": subscriber.bytes,
        "bytes_of_frames": stats["frames"] * int(np.prod(truth["size_px"])) * 3,
        "iou_by_frame": {str(frame): iou for frame, iou in ious.items() if iou is not None},
    }


def print_figures(figures: dict[str, Any]) -> None:
    """The figures as a table."""
    print(f"\n{'fixation':<18}{'first good mask':>16}{'mean IoU':>10}{'masks':>7}")
    for row in figures["fixations"]:
        after = "never" if row["to_mask_s"] is None else f"{row['to_mask_s']:.2f} s"
        miou = "-" if row["miou"] is None else f"{row['miou']:.2f}"
        print(f"{row['object']:<18}{after:>16}{miou:>10}{row['masks']:>7}")
    sent, raw = sum(figures["bytes_received"].values()), figures["bytes_of_frames"]
    latency = figures["latency_ms"]
    print(
        f"{figures['masks_received']} messages of {figures['frames']} frames arrived, made "
        f"{latency['p50']:.0f} ms after the frame (median; 99 %: {latency['p99']:.0f} ms).\n"
        f"{sent / 1000:.0f} kB left over MQTT, no pixel among them; the frames were "
        f"{raw / 1e6:.0f} MB."
    )


def plot(out: Path, figures: dict[str, Any]) -> None:
    """IoU over time with the fixations and the gaze, as ``figure.png``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    truth = json.loads((out / "clip" / "truth.json").read_text("utf-8"))
    fps, size_px = truth["fps"], truth["size_px"]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
    with (out / "clip" / "gaze.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    start_ns = int(rows[0]["timestamp [ns]"])
    times_s = [(int(row["timestamp [ns]"]) - start_ns) / 1e9 for row in rows]
    top.plot(times_s, [float(row["gaze x [px]"]) / size_px[0] for row in rows], label="x")
    top.plot(times_s, [float(row["gaze y [px]"]) / size_px[1] for row in rows], label="y")
    top.set(ylabel="gaze, share of the view", ylim=(0, 1))
    top.legend(loc="upper right")
    frames = sorted(int(frame) for frame in figures["iou_by_frame"])
    ious = [figures["iou_by_frame"][str(frame)] for frame in frames]
    bottom.plot([frame / fps for frame in frames], ious, ".", color="tab:red")
    bottom.set(ylabel="IoU with the truth", xlabel="time in s", ylim=(0, 1))
    for name, span in _fixations(truth):
        for axis in (top, bottom):
            axis.axvspan(span[0] / fps, (span[-1] + 1) / fps, alpha=0.12, color="tab:green")
        bottom.text(span[0] / fps + 0.05, 0.04, name, fontsize=9)
    figure.savefig(out / "figure.png", dpi=110)
    plt.close(figure)


def save_still(out: Path, figures: dict[str, Any]) -> None:
    """The film's frame with the best mask, as ``glasses.jpg``."""
    ious = figures["iou_by_frame"]
    film = cv2.VideoCapture(str(out / "glasses.mp4"))
    film.set(cv2.CAP_PROP_POS_FRAMES, int(max(ious, key=ious.get, default="0")))
    found, picture = film.read()
    film.release()
    if found:
        cv2.imwrite(str(out / "glasses.jpg"), picture)


def _fixations(truth: dict[str, Any]) -> list[tuple[str, list[int]]]:
    """Name and frames of each fixation, in order."""
    spans: dict[int, tuple[str, list[int]]] = {}
    for index, frame in enumerate(truth["frames"]):
        if frame is not None:
            spans.setdefault(frame["fixation"], (frame["name"], []))[1].append(index)
    return [spans[number] for number in sorted(spans)]


def _iou(mask: DecodedMask, truth: dict[str, Any] | None) -> float | None:
    """With what is fixated in that frame; None while the eye is in flight."""
    if truth is None:
        return None
    found: NDArray[np.bool_] = mask.paste()
    wanted = decode_rle(truth["rle"])
    return float((found & wanted).sum() / (found | wanted).sum())


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0
