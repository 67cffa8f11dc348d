"""Plugins: broken ones are warnings that name themselves, duplicates are errors."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from picosam_sdk import PluginError, Plugins, hookimpl
from tests.fakes import RedBackend, RedPlugin

BUILT_IN = ["imx500", "imx500-emulated", "onnx"]


class Broken:
    @staticmethod
    @hookimpl
    def picosam_backends() -> Any:
        raise RuntimeError("no such sensor")


class NotABackend:
    @staticmethod
    @hookimpl
    def picosam_backends() -> Any:
        return [int]


class Misspelt:
    @staticmethod
    @hookimpl
    def picosam_backend() -> Any:
        return [RedBackend]


def test_the_built_in_backend_is_registered_through_the_hook() -> None:
    assert list(Plugins(discover=False).backends()) == BUILT_IN


@pytest.mark.parametrize(
    ("plugin", "why"), [(Broken, "no such sensor"), (NotABackend, "no Backend class")]
)
def test_a_broken_plugin_is_a_warning_that_names_it(plugin: Any, why: str) -> None:
    plugins = Plugins(discover=False)
    plugins.register(plugin(), "acme")
    with pytest.warns(UserWarning, match=f"'acme'.*{why}"):
        assert list(plugins.backends()) == BUILT_IN
    assert [r.problem != "" for r in plugins.records if r.name == "acme"] == [True]


def test_a_misspelt_hook_is_reported_and_others_go_on() -> None:
    plugins = Plugins(discover=False)
    with pytest.warns(UserWarning, match=r"'typo'.*picosam_backend\b"):
        plugins.register(Misspelt(), "typo")
    plugins.register(RedPlugin(), "red")
    assert list(plugins.backends()) == [*BUILT_IN, "red"]


def test_two_plugins_with_one_name_are_an_error() -> None:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin(), "first")
    plugins.register(RedPlugin(), "second")
    with pytest.raises(PluginError, match=r"two: from plugin '(first|second)' and"):
        plugins.backends()


def test_entry_points_are_discovered_and_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("red", "tests.fakes:RedPlugin", "picosam_sdk"),
        importlib.metadata.EntryPoint("gone", "no_such_module_here", "picosam_sdk"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="'gone'.*no_such_module_here"):
        plugins = Plugins()
    assert list(plugins.backends()) == [*BUILT_IN, "red"]
    assert {record.name: bool(record.problem) for record in plugins.records} == {
        "builtin": False,
        "red": False,
        "gone": True,
    }
