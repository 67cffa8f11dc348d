"""The examples of mqtt_iot, and the peers of the MQTT plugin's tests for them."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from picosam_sdk import Plugins, app

ROOT = Path(__file__).resolve().parents[2]
IOT = ROOT / "examples" / "mqtt_iot"
_PEERS = ROOT / "plugins" / "picosam-mqtt" / "tests"


def _load(path: Path, name: str) -> ModuleType:
    """A module that is not on the path, under another name than pytest may have given it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_peers = _load(_PEERS / "conftest.py", "iot_peers")
make_broker, broker, listen = _peers.make_broker, _peers.broker, _peers.listen
wait_until = _peers.wait_until_fixture


@pytest.fixture(scope="session")
def iot() -> Path:
    """The folder of the examples."""
    return IOT


@pytest.fixture(scope="session")
def ha() -> ModuleType:
    """The module with the consumer that behaves like Home Assistant."""
    return _load(_PEERS / "test_mqtt_discovery.py", "iot_home_assistant")


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the shelf, which are imported as those of a program are."""
    monkeypatch.syspath_prepend(str(IOT / "shelf"))
    names = ("presence", "messages", "parts", "scene", "report")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        del sys.modules[name]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts an example in an empty folder, and does not wait for it."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-W", "error", str(IOT / name), *map(str, args)]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, stdout=pipe, stderr=subprocess.STDOUT, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def running(config: Any, plugins: Plugins | None = None) -> Iterator[Any]:
    """An application that runs in another thread."""
    with app.build(config, plugins) as application:
        thread = threading.Thread(target=application.run)
        thread.start()
        try:
            yield application
        finally:
            application.stop()
            thread.join(10)


@pytest.fixture(name="running")
def running_fixture() -> Any:
    return running


@pytest.fixture
def camera(iot: Path, tmp_path: Path) -> Callable[..., Any]:
    """The privacy camera's configuration, for a broker's port, with faster photographs."""

    def camera(port: int, grants: tuple[str, ...] | None = None) -> Any:
        config = app.load(iot / "privacy_camera" / "picosam.toml")
        assert config.camera is not None
        options = {**config.camera.options, "fps": 20.0}
        options["path"] = str(iot / "privacy_camera" / options["path"])
        (table,) = config.publish
        egress = table.egress
        if grants is not None:
            egress = dataclasses.replace(egress, grants=grants)
        return dataclasses.replace(
            config,
            camera=dataclasses.replace(config.camera, options=options),
            publish=(
                dataclasses.replace(table, egress=egress, options={**table.options, "port": port}),
            ),
            policy=dataclasses.replace(config.policy, audit_log=tmp_path / "audit.jsonl"),
        )

    return camera
