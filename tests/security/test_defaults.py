"""What is so unless somebody says otherwise: no open port, no connection, no right too many."""

from __future__ import annotations

import configparser
import dataclasses
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from picosam_gaze.sources.mqtt import MqttConfig
from picosam_gaze.sources.udp import UdpConfig
from picosam_mqtt.settings import ConnectionConfig
from picosam_web.settings import WebConfig

from picosam_sdk import app
from picosam_sdk.cli.main import main
from picosam_sdk.hosts import is_loopback
from picosam_sdk.settings import AppConfig, MetricsConfig, RunConfig

CALLS = ("bind", "listen", "connect", "connect_ex", "sendto")


def test_by_default_nothing_listens_and_nothing_is_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``picosam config init`` writes, run with the plugins that are installed here."""
    used: list[str] = []

    class Watched(socket.socket):
        def __getattribute__(self, name: str) -> Any:
            if name in CALLS:
                used.append(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(socket, "socket", Watched)
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init"]) == 0
    config = app.load("picosam.toml")
    application = app.build(dataclasses.replace(config, run=RunConfig(max_frames=4, status_s=0)))
    with application:
        application.run()
        assert application.stats()["frames"] == 4
    assert used == []
    with Watched(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", 9))
    assert used == ["connect"], "the watch works"


@pytest.mark.parametrize(
    "host",
    [WebConfig().host, MetricsConfig().host, UdpConfig(port=0).host, ConnectionConfig().host,
     MqttConfig(topic="gaze").host],
)  # fmt: skip
def test_what_is_switched_on_stays_on_this_machine(host: str) -> None:
    assert is_loopback(host)


def test_metrics_and_log_are_off() -> None:
    assert AppConfig().metrics.port == 0
    assert AppConfig().policy.audit_log is None
    assert AppConfig().publish == ()


def test_the_unit_takes_rights_away(root: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((root / "packaging" / "picosam.service").read_text(encoding="utf-8"))
    service = dict(unit["Service"])
    wanted = {
        "DynamicUser": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "",
        "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "UMask": "0077",
        "ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes",
        "ProtectControlGroups": "yes", "RestrictNamespaces": "yes", "RestrictRealtime": "yes",
        "RestrictSUIDSGID": "yes", "LockPersonality": "yes", "SystemCallArchitectures": "native",
    }  # fmt: skip
    assert {key: service.get(key) for key in wanted} == wanted
    assert "User" not in service


def test_importing_it_opens_nothing() -> None:
    code = (
        "import sys; used = []\n"
        "sys.addaudithook(lambda event, args: used.append(event) if event in "
        "('socket.connect', 'socket.bind', 'socket.sendto', 'subprocess.Popen', 'os.system') "
        "else None)\n"
        "import picosam_sdk, picosam_sdk.app, picosam_mqtt.plugin, picosam_web.plugin\n"
        "import picosam_gaze.plugin\n"
        "assert not used, used"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
