"""The README and the payload's description tell the truth: their Python runs, their JSON holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from picosam_mqtt.command import main
from picosam_mqtt.decode import decode
from picosam_mqtt.orders import read_order
from picosam_mqtt.publisher import MqttPublisher, MqttPublisherConfig
from picosam_mqtt.roi import MqttRoi, MqttRoiConfig
from picosam_mqtt.state import StateBook

from picosam_sdk import Context, Frame, Mask, Roi
from picosam_sdk.config import from_mapping
from picosam_sdk.mask import Result
from picosam_sdk.payload import encode_result
from picosam_sdk.testing.results import a_result

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "plugins/picosam-mqtt/README.md"
PAYLOAD = ROOT / "docs/mqtt-payload.md"
NO_SDK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "picosam_sdk":
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""


def _blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.M)


def _message() -> dict[str, Any]:
    bits = np.zeros((96, 96), bool)
    bits[24:72, 24:72] = True
    mask = Mask.from_bits(bits, Roi(0.25, 0.25, 0.5, 0.5), score=0.91, size_px=(640, 480))
    result = Result(Frame(None, time.monotonic_ns(), 530), mask, Roi(0.3, 0.3, 0.4, 0.4))
    return encode_result(result, device="desk", session="5c1e0a9b", seq=17)


def _run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_mask_in_three_lines_without_the_sdk(broker: Any, listen: Any, tmp_path: Path) -> None:
    """The README's first example, told the broker's port."""
    example = _blocks(README, "python")[0]
    assert len([line for line in example.splitlines() if line]) == 4  # two of them imports
    code = example.replace('"localhost"', f'"{broker.host}", port={broker.port}')
    assert code != example
    message = json.dumps(_message())
    listen(broker.port, "nothing").publish("picosam/desk/mask", message, retain=True)
    words = _run(NO_SDK + code, tmp_path).split()
    assert words[:2] == ["desk", "0.91"]
    assert words[-1] == str(decode(message).paste(640, 480).sum())


def test_the_other_python_blocks_run(tmp_path: Path) -> None:
    (tmp_path / "message.json").write_text(json.dumps(_message()))
    blocks = _blocks(README, "python")[1:] + _blocks(PAYLOAD, "python")
    outputs = [_run(block, tmp_path) for block in blocks]
    assert "a broker on 127.0.0.1:" in "".join(outputs)
    assert f"0.91 {decode(json.dumps(_message())).paste().sum()}" in "".join(outputs)
    assert "unsigned" in outputs[-1]


def test_the_signed_order_is_one() -> None:
    block = next(block for block in _blocks(README, "python") if "sign(" in block)
    scope: dict[str, Any] = {}
    exec(block, scope)
    assert read_order(scope["payload"], 0).prompt is not None


def test_the_commands_and_their_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(_blocks(README, "console")).splitlines()
    commands = [line.partition("#")[0].split()[1:] for line in lines if "picosam-mqtt " in line]
    commands = [words for words in commands if words[0] == "picosam-mqtt"]
    assert len(commands) >= 4
    for _, verb, *words in commands:
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        offered = capsys.readouterr().out.split()
        assert {word for word in words if word.startswith("--")} <= set(offered)


def test_the_orders_are_read() -> None:
    orders = re.findall(r"roi/set -m '(.*)'", README.read_text("utf-8"))
    assert len(orders) == 3
    assert [read_order(order.encode(), 0).prompt is None for order in orders] == [
        False, False, True,
    ]  # fmt: skip


def test_the_configurations_are_accepted() -> None:
    publish, roi = (tomllib.loads(block) for block in _blocks(README, "toml"))
    for (table,), config in (
        (publish["publish"], MqttPublisherConfig),
        (roi["roi"], MqttRoiConfig),
    ):
        assert table.pop("kind") == "mqtt"
        assert from_mapping(table, config).host == "broker.local"


def test_the_access_list_lets_a_device_do_all_it_does(
    make_broker: Any, listen: Any, tmp_path: Path, wait_until: Any
) -> None:
    (acl,) = _blocks(README, "text")
    broker = make_broker(
        users={"desk": "secret", "other": "secret"}, acl=acl + "user other\ntopic readwrite #\n"
    )
    other = listen(broker.port, "#", username="other", password="secret")
    link = {"host": broker.host, "port": broker.port, "username": "desk", "password": "secret"}
    context = Context(device="desk", session="s")
    table = {**link, "homeassistant": {}, "spool": {"path": str(tmp_path / "spool")}}
    publisher = MqttPublisher(from_mapping(table, MqttPublisherConfig), context)
    source = MqttRoi(from_mapping(link, MqttRoiConfig), context)
    try:
        publisher.open()
        source.open()
        publisher.publish(a_result())
        for name in ("mask", "state", "availability", "roi/state"):
            other.wait(f"picosam/desk/{name}")
        topic = "homeassistant/device/picosam_desk/config"
        seen = len(other.wait(topic))
        other.publish("homeassistant/status", "online")
        other.wait(topic, seen + 1)
        other.publish("picosam/desk/roi/set", '{"point": [0.5, 0.5]}')
        wait_until(lambda: source.latest(time.monotonic_ns()))
    finally:
        source.close()
        publisher.close()


def test_the_json_of_the_payload_is_what_is_sent() -> None:
    mask, state = (json.loads(block) for block in _blocks(PAYLOAD, "json"))
    schema = json.loads((ROOT / "picosam_sdk/assets/mask.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(mask)
    sent = _message()
    assert set(mask) == set(sent)
    assert {k: mask[k] for k in ("bbox", "area_px", "roi", "prompt", "size_px", "mask")} == {
        k: sent[k] for k in ("bbox", "area_px", "roi", "prompt", "size_px", "mask")
    }
    book = StateBook()
    book.update(sent)
    made = book.message()
    assert set(state) == set(made)
    assert set(state["regions"]["view"]) == set(made["regions"]["view"])
    assert state["regions"]["view"]["area"] == made["regions"]["view"]["area"]


def test_linked_files_exist() -> None:
    for path in (README, PAYLOAD):
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
            assert "://" in link or (path.parent / link).exists(), link
