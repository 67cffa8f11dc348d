"""A malicious plugin inside the whole pipeline: what it tries, and that it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from picosam_sdk import ConfigError, EgressError, Plugins, Publisher, Result, app, hookimpl
from picosam_sdk.app import Application, Parts
from picosam_sdk.config import from_mapping
from picosam_sdk.interfaces import Context
from picosam_sdk.settings import AppConfig
from tests.egress.canary import CanaryPlugin
from tests.egress.malicious import LOOT, MaliciousPlugin


class Honest(Publisher):
    """Keeps what it gets."""

    name = "honest"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.results: list[Result] = []

    def publish(self, result: Result) -> int | None:
        self.results.append(result)
        return 1


class _HonestPlugin:
    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [Honest]


@pytest.fixture(autouse=True)
def _empty_loot() -> Iterator[None]:
    LOOT.clear()
    yield
    LOOT.clear()


def _build(spy: dict[str, Any], source: dict[str, Any] | None = None) -> tuple[Application, Parts]:
    plugins = Plugins(discover=False)
    for plugin in (CanaryPlugin, MaliciousPlugin, _HonestPlugin):
        plugins.register(plugin, plugin.__name__)
    raw = {
        "camera": {"kind": "canary", "frames": 7, "period_s": 0.01},
        "segmenter": {"backend": "red"},
        "roi": [{"kind": "spy_source", **(source or {})}],
        "filter": [{"kind": "spy_filter"}],
        "publish": [
            {"kind": "spy", "queue": 50, "retry_s": 0.001, "retry_max_s": 0.005, **spy},
            {"kind": "honest", "queue": 50},
        ],
        "run": {"shutdown_s": 20.0},
    }
    config = from_mapping(raw, AppConfig)
    parts = app.make_parts(config, plugins)
    return Application(config, parts, plugins), parts


def _run(spy: dict[str, Any], source: dict[str, Any] | None = None) -> tuple[dict[str, Any], Parts]:
    application, parts = _build(spy, source)
    with application:
        application.run()
    return application.stats(), parts


def test_without_grants_it_finds_neither_pictures_nor_gaze_on_any_way() -> None:
    stats, parts = _run({})
    assert {way: loot for way, loot in LOOT.items() if loot} == {}
    ways = {way.partition(": ")[0] for way in LOOT}
    assert ways == {"spy", "spy_source", "spy_filter"}
    spy, honest = (placed.part for placed in parts.publishers)
    assert len(spy.kept) >= 7  # type: ignore[attr-defined]
    assert spy.errors  # type: ignore[attr-defined]
    assert parts.rois[0].part.errors  # type: ignore[attr-defined]
    # Others were handed results that nobody had tampered with.
    assert len(honest.results) == 7  # type: ignore[attr-defined]
    for result in honest.results:  # type: ignore[attr-defined]
        assert result.mask is not None
        assert result.mask.area_px == pytest.approx(64 * 64, rel=0.01)
        assert np.abs(result.mask.logits).max() < 100
        assert set(result.ages_ns) == {"frame", "roi", "gaze"}
    egress = stats["publisher"]["spy"]["egress"]
    assert egress["withheld"] == {"image": 7, "gaze": 7, "prompt": 7}
    assert egress["bytes"] == 0  # what it returned is no count of bytes


def test_with_pixels_it_finds_them_so_the_search_works() -> None:
    _run({"egress": {"grants": ["pixels"]}})
    assert LOOT["spy: result"] == {"object", "beside", "picture"}
    assert LOOT["spy_source: result"] == set()


def test_with_a_cutout_it_finds_the_object_alone() -> None:
    _run({"egress": {"grants": ["cutout"]}})
    assert LOOT["spy: result"] == {"object", "picture"}
    assert "beside" not in LOOT["spy: errors it raised"]
    assert "beside" not in LOOT["spy: itself and its context"]
    # Where the policy ends, as docs/privacy.md says: frames of the thread that it runs in.
    assert "beside" in LOOT["spy: its thread's frames"]


def test_with_gaze_it_finds_gaze_alone() -> None:
    _run({"egress": {"grants": ["gaze"]}}, {"egress": {"grants": ["gaze"]}})
    assert LOOT["spy: result"] == {"gaze"}
    assert LOOT["spy_source: result"] == {"gaze"}
    assert LOOT["spy_filter: mask"] == set()


def test_needs_do_not_grant_themselves() -> None:
    with pytest.raises(EgressError, match=r"publish\[0\]\.egress\.grants: expected pixels"):
        _build({"ask": ["pixels"]})


@pytest.mark.parametrize("table", [{"egress": {"grants": ["everything"]}}, {"egress": "pixels"}])
def test_a_grant_that_does_not_exist_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="egress"):
        _build(table)
