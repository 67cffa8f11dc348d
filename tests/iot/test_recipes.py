"""Node-RED's flow and Telegraf's configuration, held against real messages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import Context, Frame, Result, Roi, Segmenter, load_image
from picosam_sdk.payload import encode_result

NODE = shutil.which("node")
TYPES = {"int": int, "float": (int, float), "string": str, "bool": bool}


@pytest.fixture
def messages(shelf: Any, photos: Path) -> dict[str, dict[str, Any]]:
    """Real messages by the topic that a recipe subscribes to."""
    image = load_image(photos / "coffee.jpg")
    roi = Roi.from_pixels(171, 16, 240, 293, image)
    with Segmenter() as segmenter:
        mask = segmenter.segment(image, roi)
    result = Result(Frame(None, 0), mask, roi, ages_ns={"frame": 3_000_000}, region="cup")
    book = shelf.messages.Book(Context(device="hall", session="s"))
    place = shelf.presence.Place(shelf.presence.Rules())
    return {
        "picosam/+/mask": encode_result(result, device="desk", session="s", seq=0),
        "picosam/+/shelf/event": json.loads(book.event("enter", book.update(place, result))),
    }


@pytest.fixture(scope="session")
def flow(iot: Path) -> dict[str, Any]:
    nodes = json.loads((iot / "recipes" / "node-red.json").read_text("utf-8"))
    by_id = {node["id"]: node for node in nodes}
    assert len(by_id) == len(nodes)
    return by_id


def test_the_flows_nodes_are_wired(flow: dict[str, Any], messages: dict[str, Any]) -> None:
    for node in flow.values():
        for output in node.get("wires", []):
            assert set(output) <= set(flow)
        if "z" in node:
            assert flow[node["z"]]["type"] == "tab"
        if node["type"] == "mqtt in":
            assert flow[node["broker"]]["type"] == "mqtt-broker"
            assert node["topic"] in messages
            assert node["datatype"] == "json"


@pytest.mark.skipif(NODE is None, reason="needs node")
@pytest.mark.parametrize(
    ("topic", "change", "expected"),
    [
        ("picosam/+/shelf/event", {}, {"topic": "cup", "payload": "hall: cup is occupied"}),
        ("picosam/+/shelf/event", {"event_type": "party"}, None),
        ("picosam/+/mask", {"area_px": 60_000}, {"topic": "cup", "payload": 25}),
        ("picosam/+/mask", {"area_px": None, "size_px": None}, {"topic": "cup", "payload": 0}),
        ("picosam/+/mask", {"v": 2}, None),
    ],
)
def test_the_flows_functions_run_on_real_messages(
    flow: dict[str, Any], messages: dict[str, Any], topic: str, change: Any, expected: Any
) -> None:
    (source,) = [node for node in flow.values() if node.get("topic") == topic]
    ((function,),) = source["wires"]
    script = f"""
        const run = new Function("msg", "node", {json.dumps(flow[function]["func"])});
        const msg = {{ topic: "picosam/x", payload: {json.dumps({**messages[topic], **change})} }};
        console.log(JSON.stringify(run(msg, {{ warn() {{}} }})));
    """
    done = subprocess.run([str(NODE), "-e", script], capture_output=True, text=True, check=True)
    given = json.loads(done.stdout)
    if expected is None:
        assert given is None
    else:
        assert given.items() >= expected.items()


def test_telegraf_reads_what_is_there(iot: Path, messages: dict[str, Any]) -> None:
    config = tomllib.loads((iot / "recipes" / "telegraf.conf").read_text("utf-8"))
    consumers = config["inputs"]["mqtt_consumer"]
    assert {topic for one in consumers for topic in one["topics"]} == set(messages)
    assert len({one["client_id"] for one in consumers}) == len(consumers)
    for consumer in consumers:
        (topic,) = consumer["topics"]
        (parser,) = consumer["json_v2"]
        assert parser["timestamp_format"] == "unix_ns"
        assert len(str(_at(messages[topic], parser["timestamp_path"]))) == 19
        for tag in parser["tag"]:
            assert isinstance(_at(messages[topic], tag["path"]), str)
        for field in parser["field"]:
            value = _at(messages[topic], field["path"])
            assert value is None or isinstance(value, TYPES[field["type"]]), field


def _at(message: Any, path: str) -> Any:
    """The value at a path of keys with dots between them, as GJSON reads it."""
    for key in path.split("."):
        message = message[key]
    return message


def test_the_readme_names_what_is_there(iot: Path) -> None:
    text = (iot / "README.md").read_text("utf-8")
    named = set(re.findall(r"examples/mqtt_iot/([\w/.-]+\.\w+)", text))
    named |= set(re.findall(r"(?<![\w/])((?:shelf|recipes)/[\w.-]+\.\w+)", text))
    assert {"shelf/app.py", "draw_masks.py", "recipes/telegraf.conf"} <= named
    assert [name for name in named if not (iot / name).exists() and name != "shelf/shelf.png"] == []
