"""'picosam plugins' and 'picosam doctor': every plugin, its state, what it offers, why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from picosam_sdk.cli.main import main
from tests.plugins_cli.test_verbs import command

Add = Callable[..., None]

RED = "from tests.fakes import RedPlugin\npicosam_backends = RedPlugin.picosam_backends\n"


def listed(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], list[str]]:
    """The plugins by package, and the conflicts."""
    assert main(["plugins", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    return {plugin["package"]: plugin for plugin in report["plugins"]}, report["conflicts"]


def test_the_sdks_own_plugin_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    plugins, conflicts = listed(capsys)
    own = plugins["picosam-sdk"]
    assert (own["name"], own["state"], own["problem"]) == ("builtin", "loaded", "")
    assert own["version"]
    assert {"role": "backend", "name": "onnx"} in own["offers"]
    assert {"role": "publisher", "name": "print"} in own["offers"]
    assert conflicts == []


def test_each_state_is_listed_with_its_reason(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme-red", RED)
    packages("acme-gone", "import no_such_module")
    packages("acme-typo", RED.replace("picosam_backends =", "picosam_backend ="))
    packages("acme-verb", command("segment"))
    packages("acme-fake", RED, "acme-red = acme_fake")
    plugins, conflicts = listed(capsys)
    assert conflicts == []
    assert plugins["acme-red"] == {
        "name": "acme-red", "version": "2.5", "package": "acme-red", "state": "loaded",
        "problem": "", "offers": [{"role": "backend", "name": "red"}],
    }  # fmt: skip
    expected = {
        "acme-gone": ("broken", "ModuleNotFoundError"),
        "acme-typo": ("left out", "did you mean 'picosam_backends'?"),
        "acme-verb": ("loaded", "the command 'segment' is left out"),
        "acme-fake": ("left out", "acme-red has a plugin named 'acme-red'"),
    }
    for package, (state, why) in expected.items():
        assert plugins[package]["state"] == state
        assert why in plugins[package]["problem"]
    assert plugins["acme-gone"]["offers"] == plugins["acme-fake"]["offers"] == []
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("acme-red 2.5 (acme-red): loaded")
    assert lines[at + 1].split() == ["backend", "red"]
    at = lines.index("acme-gone 2.5 (acme-gone): broken")
    assert "no_such_module" in lines[at + 1]


def test_a_conflict_is_told_and_breaks_neither_list(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme-red", RED)
    packages("other-red", RED)
    plugins, conflicts = listed(capsys)
    assert plugins["acme-red"]["offers"] == plugins["other-red"]["offers"]
    (conflict,) = conflicts
    assert "'acme-red'" in conflict
    assert "'other-red'" in conflict
    assert main(["plugins"]) == 0
    assert f"conflict: {conflict}" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["backends"] == {"problem": conflict}


def test_doctor_shows_plugins_and_survives_them(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme-red", RED)
    packages("acme-gone", "import no_such_module")
    packages(
        "acme-moody",
        "from picosam_sdk import hookimpl\nfrom tests.fakes import RedBackend\n"
        "class Moody(RedBackend):\n    name = 'moody'\n"
        "    @classmethod\n    def unavailable(cls):\n        raise OSError('no bus')\n"
        "@hookimpl\ndef picosam_backends():\n    return [Moody]\n",
    )
    assert main(["doctor", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["plugins"]["acme-red"] == "2.5 from acme-red"
    assert report["plugins"]["acme-gone"].startswith("broken: ModuleNotFoundError")
    assert report["backends"]["red"] == "available"
    assert report["backends"]["moody"] == "OSError: no bus"
    assert captured.err == ""
