"""The proof: a pattern in the frames, and every byte that leaves the whole pipeline.

By default the pattern is in none of them. Where pictures are granted it is found, and only there,
so the search would have found it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import Plugins, Publisher, app
from picosam_sdk.app import Application
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import manifest
from picosam_sdk.settings import AppConfig
from tests.egress import canary
from tests.egress.channels import CHANNELS, BlabPlugin, Channel

FRAMES = 12


def _run(folder: Path, grants: dict[str, list[str]], names: list[str] | None = None) -> Captured:
    """Runs the pipeline with these ways out, and keeps what left by each."""
    plugins = Plugins()
    for plugin in (canary.CanaryPlugin, BlabPlugin):
        plugins.register(plugin, plugin.__name__)
    if "mqtt" in (names or CHANNELS) and "mqtt" not in plugins.parts(Publisher):
        pytest.skip("needs picosam-mqtt")
    channels = {name: CHANNELS[name](folder / name) for name in names or CHANNELS}
    x, y, width, height = (getattr(canary.OBJECT, key) for key in ("x", "y", "width", "height"))
    raw: dict[str, Any] = {
        "device": {"name": "canary"},
        "camera": {"kind": "canary", "frames": FRAMES, "period_s": 0.03},
        "segmenter": {"backend": "red"},
        "roi": [{"kind": "follow"}, {"kind": "fixed", "box": [x, y, width, height]}],
        "filter": [{"kind": "hysteresis"}],
        "publish": [{"kind": "print", "format": "json"}],
        "run": {"shutdown_s": 10.0},
    }
    for name, channel in channels.items():
        for key, table in channel.tables(grants.get(name, [])).items():
            raw[key] = raw.get(key, []) + table if isinstance(table, list) else table
    config = from_mapping(raw, AppConfig)
    parts = app.make_parts(config, plugins)
    application = Application(config, parts, plugins)
    with contextlib.ExitStack() as around:
        for channel in channels.values():
            around.enter_context(channel.around())
        with application:
            thread = threading.Thread(target=application.run)
            thread.start()
            while thread.is_alive():
                for channel in channels.values():
                    channel.watch()
                thread.join(0.05)
            stats = application.stats()
    return Captured(channels, stats, manifest(config, parts)["record_id"])


class Captured:
    """What left, by the name of its way; the application's statistics; its manifest's id."""

    def __init__(self, channels: dict[str, Channel], stats: dict[str, Any], record: str) -> None:
        self.data = {name: channel.data() for name, channel in channels.items()}
        self.stats, self.record_id = stats, record
        self.data["statistics"] = json.dumps(stats, default=repr).encode()

    def found(self) -> dict[str, set[str]]:
        found = {name: canary.finds(data) for name, data in self.data.items()}
        return {name: patterns for name, patterns in found.items() if patterns}


def test_by_default_no_pixel_leaves_by_any_way(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    captured = _run(tmp_path, {})
    terminal = capfdbinary.readouterr()
    captured.data["terminal"] = terminal.out + terminal.err
    least = {"jsonl": 2000, "record": 2000, "mqtt": 4000, "web": 2000, "blab": 9000,
             "metrics": 2000, "audit": 800, "terminal": 2000}  # fmt: skip
    sizes = {name: len(captured.data[name]) for name in least}
    assert all(sizes[name] >= size for name, size in least.items()), sizes
    for word in (b"picosam/canary/mask", b"picosam/canary/silhouette", b"homeassistant/"):
        assert word in captured.data["mqtt"]
    assert captured.stats["masks"] == FRAMES
    assert captured.found() == {}
    for name, publisher in captured.stats["publisher"].items():
        assert publisher["egress"]["withheld"]["image"] == FRAMES, name
        assert publisher["egress"]["images"] == {}


@pytest.mark.parametrize("name", [name for name, channel in CHANNELS.items() if channel.pictures])
def test_where_pixels_are_granted_they_are_found_and_nowhere_else(
    tmp_path: Path, name: str
) -> None:
    captured = _run(tmp_path, {name: ["pixels"]}, sorted({name, "blab", "jsonl", "audit"}))
    assert captured.found() == {name: {"object", "beside"}}


@pytest.mark.parametrize("grant", ["cutout", "redacted"])
@pytest.mark.parametrize("name", ["mqtt", "blab"])
def test_a_cutout_shows_the_object_alone(tmp_path: Path, name: str, grant: str) -> None:
    captured = _run(tmp_path, {name: [grant]}, [name, "jsonl"])
    assert captured.found() == {name: {"object"}}


def test_the_audit_log_tells_what_left(tmp_path: Path) -> None:
    captured = _run(tmp_path, {"blab": ["cutout"]}, ["blab", "jsonl", "audit"])
    lines = [json.loads(line) for line in captured.data["audit"].splitlines()]
    grants = {line["recipient"]: line for line in lines if line["event"] == "grant"}
    assert set(grants) == {"print", "blab", "blab-2", "blab-3", "jsonl", "roi follow", "roi fixed"}
    assert grants["blab"]["grants"] == ["cutout"]
    assert grants["blab"]["destination"].startswith("tcp://127.0.0.1:")
    assert b"password" not in captured.data["audit"]
    counts = {line["recipient"]: line for line in lines if line["event"] == "counts"}
    written = sum(len(line) + 1 for line in captured.data["jsonl"].splitlines())
    assert counts["jsonl"]["bytes"] == written
    assert counts["jsonl"]["sent"] == FRAMES
    blabbed = sum(counts[name]["bytes"] for name in ("blab", "blab-2", "blab-3"))
    assert blabbed == len(captured.data["blab"])
    assert counts["blab"]["images"] == {"cutout": FRAMES}
    assert lines[-1]["event"] == "closed"
    (start,) = [line for line in lines if line["event"] == "start"]
    assert (start["device"], start["manifest"]) == ("canary", captured.record_id)
