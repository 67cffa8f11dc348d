"""Making sources from tables, sources of other packages, and optional packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import picosam_gaze.source as source_module
import pytest
from picosam_gaze.source import (
    GazeSource,
    GazeSourceError,
    MissingGazeExtraError,
    SourceConfig,
    make_source,
    source_class,
    source_kinds,
)
from picosam_gaze.sources.inbox import COUNTS
from picosam_gaze.sources.udp import UdpSource
from picosam_gaze.testing.contract import poll

from picosam_sdk.errors import ConfigError, MissingExtraError, PluginError
from picosam_sdk.interfaces import Context, Part
from picosam_sdk.types import Gaze

TABLES: dict[str, dict[str, Any]] = {
    "lsl": {},
    "mqtt": {"topic": "gaze"},
    "pointer": {},
    "pupil-core": {},
    "pupil-labs": {"host": "192.0.2.1"},
    "replay": {"path": "recording"},
    "udp": {"port": 0},
}
EXTRAS = [
    ("lsl", "pylsl", "lsl"),
    ("mqtt", "paho.mqtt.client", "mqtt"),
    ("pupil-core", "zmq", "pupil-core"),
    ("pupil-core", "msgpack", "pupil-core"),
    ("pupil-labs", "pupil_labs.realtime_api", "pupil-labs"),
]


class Still(GazeSource):
    """A source of another package."""

    name = "still"

    def samples(self) -> list[Gaze]:
        return []

    @property
    def connected(self) -> bool:
        return False


def offer(patch: pytest.MonkeyPatch, **named: Any) -> None:
    """Stands in for the entry points of installed packages."""
    entries = [importlib.metadata.EntryPoint(name, value, source_module.GROUP)
               for name, value in named.items()]  # fmt: skip
    patch.setattr(source_module, "_entry_points", lambda: entries)


def test_every_kind_can_be_made_and_knows_its_name() -> None:
    assert source_kinds() == sorted(TABLES)
    for kind, table in TABLES.items():
        source = make_source({"kind": kind, **table}, Context())
        assert isinstance(source, Part)
        assert source.name == kind
        assert issubclass(source.Config, SourceConfig)
        assert source.samples() == []
        assert not source.connected
        assert set(COUNTS) - set(source.stats) == set()
        source.close()


def test_the_table_is_left_as_it_is() -> None:
    table = {"kind": "pointer", "timeout_s": 2}
    assert make_source(table, Context()).config.timeout_s == 2.0
    assert table == {"kind": "pointer", "timeout_s": 2}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"^roi\[0\]\.source\.kind: expected the name of a gaze source, got None"),
        ({"kind": 3}, r"^roi\[0\]\.source\.kind: expected the name of a gaze source, got 3"),
        ({"kind": "upd"}, r"^roi\[0\]\.source\.kind: .*got 'upd'; did you mean 'udp'\?"),
        ({"kind": "udp", "prot": 1}, r"^roi\[0\]\.source\.prot: unknown key; did you mean"),
    ],
)
@pytest.mark.parametrize("where", ["roi[0].source", "roi[0].source."])
def test_mistakes_name_their_key(table: dict[str, Any], message: str, where: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_source(table, Context(), where)
    assert caught.value.hint


def test_a_source_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", {**sys.modules, "acme_gaze": sys.modules[__name__]})
    offer(monkeypatch, still="acme_gaze:Still", text="acme_gaze:EXTRAS", gone="no_such_module:X")
    assert "still" in source_kinds()
    assert source_class("still") is Still
    assert isinstance(make_source({"kind": "still"}, Context()), Still)
    with pytest.raises(PluginError, match="derived from GazeSource"):
        source_class("text")
    with pytest.raises(PluginError, match="no_such_module"):
        source_class("gone")


@pytest.mark.parametrize(("kind", "module", "extra"), EXTRAS)
def test_a_missing_package_gives_its_install_line(
    kind: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    source = make_source({"kind": kind, **TABLES[kind]}, Context())
    with pytest.raises(MissingGazeExtraError, match=module.split(".")[0]) as caught:
        source.open()
    assert isinstance(caught.value, MissingExtraError)
    assert caught.value.hint == f"Install it with: pip install 'picosam-gaze[{extra}]'"
    source.close()


def test_the_extras_are_those_of_the_package() -> None:
    provided = importlib.metadata.metadata("picosam-gaze").get_all("Provides-Extra") or []
    assert {extra for _, _, extra in EXTRAS} <= set(provided)


def test_pylsl_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = importlib.import_module

    def fail(name: str) -> Any:
        if name == "pylsl":
            raise RuntimeError("liblsl library was not found")
        return load(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(GazeSourceError, match="liblsl") as caught:
        make_source({"kind": "lsl"}, Context()).open()
    assert "PYLSL_LIB" in caught.value.hint


def test_making_a_source_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from picosam_gaze.source import make_source\n"
        "from picosam_sdk.interfaces import Context\n"
        f"for kind, table in {TABLES!r}.items():\n"
        "    make_source({'kind': kind, **table}, Context())\n"
        "heavy = {'aiohttp', 'cv2', 'msgpack', 'paho', 'pupil_labs', 'pylsl', 'zmq'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_table_of_the_guide_is_right() -> None:
    guide = Path(__file__).parents[1] / "docs-sources.md"
    blocks = re.findall(r"```toml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    tables = [tomllib.loads(block) for block in blocks]
    sources = [table["source"] for table in tables if "source" in table]
    sources += [table["roi"][0]["source"] for table in tables if "roi" in table]
    for source in sources:
        make_source(source, Context()).close()
    assert {source["kind"] for source in sources} == set(TABLES) - {"pointer"}


def test_the_example_sender_of_the_guide_is_heard() -> None:
    guide = Path(__file__).parents[1] / "docs-sources.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    sender = next(block for block in blocks if "sendto" in block)
    source = make_source({"kind": "udp", "port": 0, "clock": "sender"}, Context())
    assert isinstance(source, UdpSource)
    source.open()
    try:
        values: dict[str, Any] = {}
        exec(sender.replace("5005", str(source.port)), values)
        values["out"].close()
        (gaze,) = poll(source.samples, "the sample")
        assert (gaze.x, gaze.y) == (0.5, 0.5)
    finally:
        source.close()
