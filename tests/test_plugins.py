"""Plugins: broken ones are warnings that name themselves, duplicates are errors."""

from __future__ import annotations

import importlib.metadata
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import (
    MissingExtraError,
    PluginError,
    Plugins,
    Publisher,
    Result,
    UnknownPluginError,
    hookimpl,
)
from picosam_sdk.hookspecs import hookspec, picosam_publishers
from picosam_sdk.plugins import ROLES, PluginRecord, PluginWarning
from tests.fakes import RedBackend, RedPlugin
from tests.plugins_cli.fake_package import fake_packages

BUILT_IN = ["imx500", "imx500-emulated", "onnx", "replay"]


class Quiet(Publisher):
    name = "quiet"

    def publish(self, result: Result) -> int | None:
        return None


def offering(
    function: Callable[[], Any], hook: str = "picosam_backends", **marks: Any
) -> types.SimpleNamespace:
    """A plugin whose only hook is this function."""
    return types.SimpleNamespace(**{hook: hookimpl(**marks)(function)})


def fails(error: BaseException) -> Callable[[], Any]:
    def hook() -> Any:
        raise error

    return hook


def gives(value: Any) -> Callable[[], Any]:
    return lambda: value


def record_of(plugins: Plugins, name: str) -> PluginRecord:
    (record,) = (record for record in plugins.records if record.name == name)
    return record


class _Nameless(Publisher):
    def publish(self, result: Result) -> int | None:
        return None


class _Unfinished(Publisher):
    name = "unfinished"


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_the_built_in_backends_are_registered_through_the_hook() -> None:
    plugins = Plugins(discover=False)
    assert list(plugins.backends()) == BUILT_IN
    (builtin,) = plugins.records
    assert builtin == PluginRecord(
        "builtin", "picosam-sdk", version=importlib.metadata.version("picosam-sdk")
    )


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        (fails(RuntimeError("no such sensor")), "RuntimeError: no such sensor"),
        (fails(SystemExit(3)), "SystemExit: 3 "),
        (fails(GeneratorExit()), "GeneratorExit"),
        (fails(_UnspeakableError()), "_UnspeakableError: its message cannot be shown"),
        (fails(MissingExtraError("pylsl", "lsl")), r"MissingExtraError: .*\(Install it with: pip"),
        (gives([int]), "no Backend class"),
        (gives([RedBackend(), RedBackend]), "no Backend class"),
        (gives([Quiet]), "no Backend class"),
        (gives(None), "returned None, not a list"),
        (gives(RedBackend), "RedBackend'>, not a list"),
    ],
)
def test_a_hook_that_fails_is_a_warning_that_names_its_plugin(
    hook: Callable[[], Any], why: str
) -> None:
    plugins = Plugins(discover=False)
    plugins.register(offering(hook), "acme")
    assert record_of(plugins, "acme").state == "loaded"
    with pytest.warns(PluginWarning, match=f"'acme'.*picosam_backends: .*{why}"):
        assert list(plugins.backends()) == BUILT_IN
    assert record_of(plugins, "acme").state == "broken"
    assert plugins.backends()  # the hook is not asked again, and there is no second warning


@pytest.mark.parametrize(
    ("cls", "why"), [(_Nameless, "_Nameless has no 'name'"), (_Unfinished, "lacks publish")]
)
def test_a_class_that_cannot_be_used_is_refused(cls: type[Publisher], why: str) -> None:
    plugins = Plugins(discover=False)
    plugins.register(offering(gives([cls]), "picosam_publishers"), "acme")
    with pytest.warns(PluginWarning, match=why):
        assert cls not in plugins.parts(Publisher).values()  # type: ignore[type-abstract]


def test_what_else_a_broken_plugin_offers_stays() -> None:
    plugins = Plugins(discover=False)
    plugin = types.SimpleNamespace(
        picosam_backends=hookimpl(fails(RuntimeError("first"))),
        picosam_cameras=hookimpl(fails(RuntimeError("second"))),
        picosam_publishers=hookimpl(gives([Quiet])),
    )
    plugins.register(plugin, "acme", "picosam-acme", "1.2")
    with pytest.warns(PluginWarning, match="first"):
        assert plugins.offers()["acme"] == ["publisher quiet"]
    record = record_of(plugins, "acme")
    assert (record.origin, record.version, record.state) == ("picosam-acme", "1.2", "broken")
    assert "picosam_backends: RuntimeError: first" in record.problem
    assert "picosam_cameras: RuntimeError: second" in record.problem


def test_the_keyboard_is_not_guarded_against() -> None:
    plugins = Plugins(discover=False)
    plugins.register(offering(fails(KeyboardInterrupt())), "acme")
    with pytest.raises(KeyboardInterrupt):
        plugins.backends()


def test_a_misspelt_hook_is_reported_and_others_go_on() -> None:
    plugins = Plugins(discover=False)
    misspelt = offering(gives([RedBackend]), "picosam_backend")
    with pytest.warns(
        PluginWarning, match=r"'typo'.*'picosam_backend'; did you mean 'picosam_backends'\?"
    ):
        plugins.register(misspelt, "typo")
    plugins.register(RedPlugin(), "red")
    assert list(plugins.backends()) == sorted([*BUILT_IN, "red"])
    assert record_of(plugins, "typo").state == "left out"


def test_a_hook_of_a_later_version_may_be_marked_optional() -> None:
    plugins = Plugins(discover=False)
    plugins.register(offering(gives([]), "picosam_trackers", optionalhook=True), "new")
    assert record_of(plugins, "new").state == "loaded"


def test_a_hook_with_arguments_that_do_not_exist_is_reported() -> None:
    plugins = Plugins(discover=False)

    def hook(settings: Any) -> Any:
        return [RedBackend]

    with pytest.warns(PluginWarning, match="settings"):
        plugins.register(offering(hook), "acme")
    assert list(plugins.backends()) == BUILT_IN
    assert record_of(plugins, "acme").state == "left out"


def test_a_forgotten_marker_is_reported() -> None:
    plugins = Plugins(discover=False)
    plain = types.SimpleNamespace(picosam_backends=gives([RedBackend]))
    with pytest.warns(PluginWarning, match="picosam_backends is not marked with @hookimpl"):
        plugins.register(plain, "plain")
    harmless = types.SimpleNamespace(picosam_publishers=picosam_publishers, hookspec=hookspec)
    plugins.register(harmless, "harmless")
    assert list(plugins.backends()) == BUILT_IN


def test_looking_into_a_plugin_may_fail() -> None:
    class Trap:
        def __dir__(self) -> list[str]:
            raise SystemExit("looked at")

    plugins = Plugins(discover=False)
    with pytest.warns(PluginWarning, match="looked at"):
        plugins.register(Trap(), "trap")
    assert record_of(plugins, "trap").state == "broken"
    plugins.register(RedPlugin(), "red")
    assert "red" in plugins.backends()


def test_two_things_of_one_name_are_an_error_that_names_both_plugins() -> None:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin(), "first", "picosam-first")
    plugins.register(RedPlugin(), "second", "picosam-second")
    with pytest.raises(PluginError, match=r"two: from plugin '(first|second)' and") as caught:
        plugins.backends()
    assert "pip uninstall picosam-first or picosam-second" in caught.value.hint
    assert len(plugins.conflicts()) == 1
    assert plugins.offers()["first"] == plugins.offers()["second"] == ["backend red"]
    for role in ROLES:
        plugins.parts(role)  # another role is not concerned


def test_two_plugins_of_one_name_the_second_is_left_out() -> None:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin(), "red", "picosam-red")
    with pytest.warns(PluginWarning, match=r"'red' \(picosam-fake\).*picosam-red has"):
        plugins.register(offering(gives([]), "picosam_cameras"), "red", "picosam-fake")
    with pytest.warns(PluginWarning, match="'builtin'"):
        plugins.register(RedPlugin(), "builtin", "picosam-fake")
    assert list(plugins.backends()) == sorted([*BUILT_IN, "red"])
    assert [record.state for record in plugins.records] == [
        "loaded", "loaded", "left out", "left out",
    ]  # fmt: skip


def test_one_plugin_under_two_names_is_taken_once() -> None:
    plugins = Plugins(discover=False)
    plugin = RedPlugin()
    plugins.register(plugin, "red")
    with pytest.warns(PluginWarning, match="same as the plugin 'red'"):
        plugins.register(plugin, "crimson")
    assert "red" in plugins.backends()


def test_an_unknown_name_helps_along() -> None:
    plugins = Plugins(discover=False)
    with pytest.raises(UnknownPluginError, match=r"backend out of .*onnx.*got 'onx'") as caught:
        plugins.backend("onx")
    assert "Did you mean 'onnx'?" in caught.value.hint
    with pytest.raises(UnknownPluginError) as caught:
        plugins.part(Publisher, "mqtt")  # type: ignore[type-abstract]
    assert "pip install picosam-mqtt" in caught.value.hint
    with pytest.warns(PluginWarning):
        plugins.register(None, "acme")
    with pytest.raises(UnknownPluginError) as caught:
        plugins.part(Publisher, "opc-ua")  # type: ignore[type-abstract]
    assert "acme; 'picosam plugins' says why" in caught.value.hint


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts packages with an entry point where Python finds them, as pip would."""
    with fake_packages(tmp_path, monkeypatch) as add:
        yield add


GOOD = "from tests.fakes import RedPlugin\npicosam_backends = RedPlugin.picosam_backends\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: .*no_such_module_here"),
        ("import sys; sys.exit(7)", "SystemExit: 7"),
        ("raise BaseException('all of it')", "BaseException: all of it"),
        ("def", "SyntaxError"),
    ],
    ids=["missing module", "exit", "base exception", "syntax"],
)
def test_packages_are_discovered_and_guarded(
    packages: Callable[..., None], code: str, why: str
) -> None:
    packages("acme-red", GOOD)
    packages("acme-broken", code)
    with pytest.warns(PluginWarning, match=rf"'acme-broken' \(acme-broken\) is left out: {why}"):
        plugins = Plugins()
    assert list(plugins.backends()) == sorted([*BUILT_IN, "red"])
    assert record_of(plugins, "acme-red") == PluginRecord("acme-red", "acme-red", version="2.5")
    broken = record_of(plugins, "acme-broken")
    assert (broken.version, broken.state) == ("2.5", "broken")


def test_a_package_may_offer_nothing(packages: Callable[..., None]) -> None:
    packages("acme-empty", "")
    plugins = Plugins()
    assert "acme-empty" not in plugins.offers()
    assert record_of(plugins, "acme-empty").state == "loaded"


def test_a_keyboard_interrupt_while_a_package_is_imported_goes_through(
    packages: Callable[..., None],
) -> None:
    packages("acme-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Plugins()


def test_an_entry_point_that_names_nothing(packages: Callable[..., None]) -> None:
    packages("acme-wrong", GOOD, "one = acme_wrong:missing\ntwo = acme_wrong:RedPlugin.__doc__.x")
    with pytest.warns(PluginWarning, match="AttributeError") as caught:
        Plugins()
    assert len(caught) == 2


def test_a_damaged_list_of_entry_points_leaves_the_built_ins(
    packages: Callable[..., None],
) -> None:
    packages("acme-damaged", GOOD, "no equals sign here")
    with pytest.warns(PluginWarning, match="entry points cannot be read"):
        plugins = Plugins()
    assert list(plugins.backends()) == BUILT_IN
