"""The shelf: its messages at a real broker, Home Assistant, and the whole app on its own film."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from picosam_sdk import Context, Frame, Mask, Result, Roi
from picosam_sdk.config import from_mapping

ROI = Roi(0.2, 0.2, 0.4, 0.4)
BASE = "picosam/hall/shelf"
# After https://www.home-assistant.io/integrations/event.mqtt: JSON with 'event_type' is taken as
# it is; its other values become the event's attributes.
EVENT_ENTITY = {
    "type": "object",
    "required": ["platform", "unique_id", "state_topic", "event_types"],
    "properties": {
        "platform": {"const": "event"},
        "unique_id": {"type": "string", "minLength": 1},
        "name": {"type": "string"},
        "state_topic": {"type": "string", "minLength": 1},
        "event_types": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "device_class": {"enum": ["button", "doorbell", "motion"]},
    },
    "additionalProperties": False,
}


def mask(share: float) -> Mask:
    """One that covers so much of its ROI."""
    bits = np.zeros((96, 96), bool)
    bits[:, : round(96 * share)] = True
    return Mask.from_bits(bits, ROI, 0.8, (640, 480))


EMPTY, CUP = mask(0.9), mask(0.3)


@pytest.fixture
def shelf_at(shelf: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the publisher: ``shelf_at(port, **options)``."""
    opened = []

    def make(port: int, **options: Any) -> Any:
        table = {"host": "127.0.0.1", "port": port, "reconnect_s": 0.05, "reconnect_max_s": 0.1,
                 "reference": str(tmp_path / "empty.npz"), "heartbeat_s": 0.0,
                 "homeassistant": {}, "rules": {"learn": 2, "looks": 2}, **options}  # fmt: skip
        config = from_mapping(table, shelf.parts.ShelfConfig)
        publisher = shelf.parts.ShelfPublisher(config, Context(device="hall", session="s"))
        publisher.open()
        opened.append(publisher)
        return publisher

    yield make
    for publisher in opened:
        publisher.close()


def see(publisher: Any, region: str, *masks: Mask) -> None:
    for one in masks:
        frame = Frame(None, time.monotonic_ns(), 7)
        publisher.publish(Result(frame, one, ROI, region=region))


def states(listener: Any) -> Any:
    """The places of the newest state."""
    return json.loads(listener.wait(f"{BASE}/state")[-1])["regions"]


def test_events_and_state(broker: Any, shelf_at: Any, listen: Any, wait_until: Any) -> None:
    listener = listen(broker.port, f"{BASE}/#")
    publisher = shelf_at(broker.port)
    see(publisher, "left", EMPTY)
    wait_until(lambda: states(listener)["left"]["learning"])
    see(publisher, "left", EMPTY, *[CUP] * 4)
    see(publisher, "right", EMPTY, EMPTY)
    (event,) = [json.loads(payload) for payload in listener.wait(f"{BASE}/event")]
    assert event["event_type"] == "enter"
    assert (event["region"], event["seq"], event["frame"]) == ("left", 0, 7)
    assert event["area"] == pytest.approx(CUP.area_px / (640 * 480), abs=1e-4)
    assert event["area_before"] is None
    assert abs(event["timestamp_ns"] - time.time_ns()) < 10e9
    wait_until(lambda: states(listener).keys() == {"left", "right"})
    assert states(listener)["left"]["present"]
    assert not states(listener)["right"]["present"]
    see(publisher, "left", *[EMPTY] * 4)
    leave = json.loads(listener.wait(f"{BASE}/event", 2)[1])
    assert (leave["event_type"], leave["seq"], leave["area"]) == ("leave", 1, None)
    assert leave["area_before"] == event["area"]


def test_events_wait_for_the_broker_and_come_in_order(
    broker: Any, shelf_at: Any, listen: Any, wait_until: Any
) -> None:
    publisher = shelf_at(broker.port)
    see(publisher, "left", EMPTY, EMPTY)
    broker.stop()
    wait_until(lambda: not publisher._connection.connected)
    see(publisher, "left", *[CUP] * 4, *[EMPTY] * 4, *[CUP] * 4)
    assert publisher.stats["waiting"] == 3
    assert not publisher.flush(0.05)
    broker.start()
    listener = listen(broker.port, f"{BASE}/#")
    wait_until(lambda: publisher.flush(0.1))
    events = [json.loads(payload) for payload in listener.wait(f"{BASE}/event", 3)]
    assert [event["event_type"] for event in events] == ["enter", "leave", "enter"]
    wait_until(lambda: states(listener)["left"]["present"])


def test_the_empty_shelf_is_known_after_a_restart(broker: Any, shelf_at: Any, listen: Any) -> None:
    first = shelf_at(broker.port)
    see(first, "left", EMPTY, EMPTY)
    first.close()
    listener = listen(broker.port, f"{BASE}/event")
    see(shelf_at(broker.port), "left", *[CUP] * 3)
    assert json.loads(listener.wait(f"{BASE}/event")[0])["event_type"] == "enter"


def test_it_takes_no_picture_and_a_result_without_a_mask_is_no_news(
    broker: Any, shelf_at: Any
) -> None:
    publisher = shelf_at(broker.port)
    assert publisher.needs == frozenset()
    see(publisher, "left", EMPTY, EMPTY, *[CUP] * 4)
    frame = Frame(None, time.monotonic_ns())
    publisher.publish(Result(frame, None, None, region="left"))
    publisher.publish(Result(frame, EMPTY, ROI, region="left", settling=True))
    assert publisher._places["left"].evidence > 0.1, "it was not looked at"
    assert publisher._places["left"].present
    assert publisher.destination == f"mqtt://127.0.0.1:{broker.port}/{BASE}/#"


def test_home_assistant_sees_places_and_events(
    broker: Any, shelf_at: Any, ha: Any, wait_until: Any
) -> None:
    class HomeAssistant(ha.HomeAssistant):  # type: ignore[misc]
        """Knows event entities, too."""

        def __init__(self, port: int) -> None:
            self.events: list[dict[str, Any]] = []
            super().__init__(port)

        def _discovered(self, topic: str, payload: bytes) -> None:
            device = json.loads(payload)
            event = device["components"].pop("event")
            jsonschema.Draft202012Validator(EVENT_ENTITY).validate(event)
            super()._discovered(topic, json.dumps(device).encode())
            self.event = event
            self._client.subscribe(event["state_topic"], 1)

        def _state(self, device: Any, topic: str, payload: bytes) -> None:
            if topic == self.event["state_topic"]:
                event = json.loads(payload)
                assert event.pop("event_type") in self.event["event_types"]
                self.events.append(event)
            super()._state(device, topic, payload)

    home = HomeAssistant(broker.port)
    try:
        publisher = shelf_at(broker.port, homeassistant={"area": "Hall"})
        see(publisher, "top_left", EMPTY, EMPTY)
        wait_until(lambda: home.states.get("picosam_hall_shelf_top_left_present") is False)
        see(publisher, "Regal 'oben'", EMPTY, EMPTY)
        wait_until(lambda: len(_sensors(home)) == 2)
        assert home.available == {"hall shelf": True}
        see(publisher, "top_left", *[CUP] * 4)
        wait_until(lambda: home.states["picosam_hall_shelf_top_left_present"])
        wait_until(lambda: home.states["picosam_hall_shelf_top_left_area"])
        area = home.states["picosam_hall_shelf_top_left_area"]
        assert area == pytest.approx(100 * CUP.area_px / (640 * 480), abs=0.01)
        (event,) = wait_until(lambda: home.events)
        assert (event["region"], event["device"]) == ("top_left", "hall")
        before = home.discoveries
        home.say("online")  # Home Assistant starts again
        wait_until(lambda: home.discoveries == before + 1)
        publisher.close()
        wait_until(lambda: home.available == {"hall shelf": False})
    finally:
        home.close()
    assert not home.problems


def _sensors(home: Any) -> list[str]:
    components = [one for device in home.devices.values() for one in device["components"].values()]
    names = [one["name"] for one in components if one["platform"] == "binary_sensor"]
    assert all("score" not in one["unique_id"] for one in components)
    return names


def test_the_documented_messages_are_the_real_ones(shelf: Any, iot: Path) -> None:
    book = shelf.messages.Book(Context(device="hall", session="5c1e0a9b"))
    place = shelf.presence.Place(shelf.presence.Rules())
    values = book.update(place, Result(Frame(None, 0), EMPTY, ROI, region="top_left"))
    real = {"event": json.loads(book.event("enter", values)), "state": json.loads(book.state())}
    text = (iot.parents[1] / "docs" / "iot.md").read_text("utf-8")
    documented = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert documented[0].keys() == real["event"].keys()
    assert documented[1].keys() == real["state"].keys()
    (entry,) = documented[1]["regions"].values()
    assert entry.keys() == real["state"]["regions"]["top_left"].keys()


def test_scores_match_each_truth_once(shelf: Any) -> None:
    happened = {"frame": 10, "region": "a", "event_type": "enter"}
    truth = {"fps": 10, "events": [happened]}
    told = {**happened, "frame": 14}
    figures = shelf.report.score([told, told], truth)
    assert (figures["precision"], figures["recall"]) == (0.5, 1.0)
    assert figures["rows"][0]["delay_s"] == pytest.approx(0.4)
    early = {**happened, "frame": 9}
    other = {**happened, "region": "b"}
    late = {**happened, "frame": 99}
    assert shelf.report.score([early, other, late], truth)["recall"] == 0


def test_the_app_on_its_film(start: Any, tmp_path: Path) -> None:
    printed, _ = (process := start("shelf/app.py", "-o", "shelf")).communicate(timeout=120)
    assert process.returncode == 0, printed
    assert re.search(r"frame +\d+: enter  top_left, [\d.]+% of the view", printed)
    out = tmp_path / "shelf"
    figures = json.loads((out / "figures.json").read_text("utf-8"))
    assert len(figures["rows"]) == 10
    assert figures["recall"] >= 0.8, printed
    assert figures["precision"] >= 0.8, printed
    assert figures["delay_s"]["median"] < 2, "of the film's own time"
    looks = [json.loads(line) for line in (out / "looks.jsonl").read_text("utf-8").splitlines()]
    assert len(looks) == 480, "none was left out"
    assert cv2.imread(str(out / "shelf.png")).shape[0] > 500
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert [line["grants"] for line in lines if line["event"] == "grant"] == [[], []]


def test_a_configuration_that_is_not_there(start: Any) -> None:
    printed, _ = (process := start("shelf/app.py", "--config", "none.toml")).communicate(timeout=60)
    assert process.returncode == 1
    assert len(printed.splitlines()) == 2
    assert "none.toml" in printed
