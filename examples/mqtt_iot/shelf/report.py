"""Listens to the shelf as anybody would, and holds what it says against what happened."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from picosam_mqtt.tail import disconnect

from picosam_sdk.app import FileConfig
from picosam_sdk.config import from_mapping
from picosam_sdk.rois.fixed import FixedConfig

LATE_S = 4.0
"""An event that comes later than this after the truth is a wrong one, and the truth was missed."""

COLORS = {"enter": "tab:green", "leave": "tab:red", "change": "tab:orange"}


class Listener:
    """Prints and keeps the events that a broker passes on."""

    def __init__(self, host: str, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        self.bytes = 0
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("picosam/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._receive
        self._client.connect(host, port)

    def _receive(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        self.bytes += len(message.payload)
        if message.topic.endswith("/shelf/event"):
            event = json.loads(message.payload)
            self.events.append(event)
            area = "" if event["area"] is None else f", {event['area']:.1%} of the view"
            print(f"frame {event['frame']:4}: {event['event_type']:<6} {event['region']}{area}")

    def wait_for(self, count: int, timeout_s: float = 5.0) -> None:
        """Waits until so many events have come."""
        deadline_s = time.monotonic() + timeout_s
        while len(self.events) < count and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._subscribed.wait(5)
        return self

    def __exit__(self, *error: object) -> None:
        disconnect(self._client)


def with_port(config: FileConfig, port: int) -> FileConfig:
    """The same configuration with the broker's port in its publishers."""
    tables = tuple(
        dataclasses.replace(table, options={**table.options, "port": port})
        for table in config.publish
    )
    return dataclasses.replace(config, publish=tables)


def score(events: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, Any]:
    """Matches events and truth one to one: the same place and kind, at most LATE_S afterwards."""
    rows, left = [], list(events)
    for happened in truth["events"]:
        told = next((event for event in left if _tells(event, happened, truth["fps"])), None)
        if told is not None:
            left.remove(told)
        delay_s = None if told is None else (told["frame"] - happened["frame"]) / truth["fps"]
        rows.append({**happened, "delay_s": delay_s})
    delays_s = [row["delay_s"] for row in rows if row["delay_s"] is not None]
    return {
        "rows": rows,
        "wrong": left,
        "precision": len(delays_s) / len(events) if events else 0.0,
        "recall": len(delays_s) / len(rows),
        "delay_s": {"median": float(np.median(delays_s)), "max": max(delays_s)} if delays_s else {},
    }


def read_looks(out: Path) -> list[dict[str, Any]]:
    """Every look, as the part "shelf" wrote it down."""
    return [json.loads(line) for line in (out / "looks.jsonl").read_text("utf-8").splitlines()]


def mean_scores(looks: list[dict[str, Any]]) -> dict[str, float]:
    """The network's own score, averaged over looks at empty and at occupied places."""
    scores: dict[str, list[float]] = {"empty": [], "occupied": []}
    for look in looks:
        scores["occupied" if look["present"] else "empty"].append(look["score"])
    return {state: float(np.mean(values or [0.0])) for state, values in scores.items()}


def _tells(event: dict[str, Any], happened: dict[str, Any], fps: int) -> bool:
    same = all(event[key] == happened[key] for key in ("region", "event_type"))
    return same and 0 <= event["frame"] - happened["frame"] <= LATE_S * fps


def print_score(figures: dict[str, Any], n_bytes: int) -> None:
    """The truth with what was told of it, and the figures."""
    print(f"\n{'what happened':<28}{'frame':>6}{'told after':>12}")
    for row in figures["rows"]:
        delay = "never" if row["delay_s"] is None else f"{row['delay_s']:.2f} s"
        print(f"{row['event_type'] + ' ' + row['region']:<28}{row['frame']:>6}{delay:>12}")
    for event in figures["wrong"]:
        print(f"{event['event_type'] + ' ' + event['region']:<28}{'':>6}{'not true':>12}")
    delay, scores = figures["delay_s"], figures["scores"]
    print(
        f"precision {figures['precision']:.2f}, recall {figures['recall']:.2f}, told "
        f"{delay.get('median', 0):.2f} s after (median; at most {delay.get('max', 0):.2f} s); "
        f"{n_bytes / 1000:.0f} kB over MQTT, no pixel among them\n"
        f"the network's score alone would not tell: {scores['empty']:.2f} where it was empty, "
        f"{scores['occupied']:.2f} where something stood"
    )


def plot(out: Path, config: FileConfig, events: list[dict[str, Any]]) -> None:
    """Pictures of the first events, and the evidence in each place over time: ``shelf.png``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    truth = json.loads((out / "film" / "truth.json").read_text("utf-8"))
    looks = read_looks(out)
    regions = list(dict.fromkeys(look["name"] for look in looks))
    figure = plt.figure(figsize=(11, 8.5), layout="constrained")
    grid = figure.add_gridspec(2 + len(regions), 3, height_ratios=[2.2, 2.2] + [1] * len(regions))
    for number, event in enumerate(events[:6]):
        axis = figure.add_subplot(grid[number // 3, number % 3])
        axis.imshow(picture_of(out, config, event))
        axis.set_axis_off()
        axis.set_title(f"{event['event_type']} {event['region']}", fontsize=10)
    for number, region in enumerate(regions):
        axis = figure.add_subplot(grid[2 + number, :])
        own = [look for look in looks if look["name"] == region]
        times_s = [look["frame"] / truth["fps"] for look in own]
        axis.plot(times_s, [look["evidence"] for look in own], color="black", lw=1)
        axis.fill_between(times_s, 0, [look["present"] for look in own], step="post", alpha=0.15)
        for happened in truth["events"]:
            if happened["region"] == region:
                at_s = happened["frame"] / truth["fps"]
                axis.axvline(at_s, color=COLORS[happened["event_type"]], ls="--", lw=1.5)
        axis.set(ylim=(0, 1), xlim=(0, max(times_s)))
        axis.set_ylabel(region, fontsize=8)
    axis.set_xlabel("s; line: evidence, shaded: told to be occupied, dashed: the truth (green "
                    "enters, red leaves, orange changes)")  # fmt: skip
    figure.savefig(out / "shelf.png", dpi=100)
    plt.close(figure)


def picture_of(out: Path, config: FileConfig, event: dict[str, Any]) -> Any:
    """The film's frame of an event, with the watched places drawn; RGB."""
    film = cv2.VideoCapture(str(out / "film" / "shelf.mp4"))
    film.set(cv2.CAP_PROP_POS_FRAMES, event["frame"])
    picture = np.ascontiguousarray(film.read()[1][..., ::-1])
    film.release()
    for prompt in from_mapping(config.roi[0].options, FixedConfig).prompts():
        assert prompt.roi is not None
        box = prompt.roi.to_pixels(picture.shape[1], picture.shape[0])
        color = (40, 200, 80) if prompt.region == event["region"] else (120, 120, 120)
        cv2.rectangle(picture, (box.x0, box.y0), (box.x1, box.y1), color, 3)
    return picture
