"""The documentation says what there is."""

from __future__ import annotations

import argparse
import dataclasses
import re
import tomllib
from pathlib import Path

import picosam_web.command
import pytest
from picosam_web.settings import WebConfig

from picosam_sdk import app
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import check_needs
from picosam_sdk.settings import AppConfig

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "web.md").read_text()
README = (ROOT / "plugins" / "picosam-web" / "README.md").read_text()


def test_every_key_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", GUIDE, re.MULTILINE))
    fields = {field.name: field.default for field in dataclasses.fields(WebConfig)}
    documented = {key: default for key, default in rows.items() if key in fields}
    assert documented.keys() == fields.keys()
    for key, text in documented.items():
        shown = None if text == "none" else tomllib.loads(f"it = {text.strip('`')}")["it"]
        default = fields[key]
        assert shown == (list(default) if isinstance(default, tuple) else default), key


def test_every_option_is_documented() -> None:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    picosam_web.command.add_parser(verbs)
    options = set(re.findall(r"--[a-z-]+", verbs.choices["preview"].format_help())) - {
        "--help", "--no-picture",
    }  # fmt: skip
    assert options <= set(re.findall(r"--[a-z-]+", GUIDE))


@pytest.mark.parametrize("text", [GUIDE, README], ids=["guide", "readme"])
def test_its_configurations_can_be_used(text: str) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    raw = {"camera": {"kind": "synthetic"}, **tomllib.loads(toml)}
    parts = app.make_parts(from_mapping(raw, AppConfig))
    for placed in parts.publishers:
        check_needs(placed.part, placed.table.egress, placed.key)


@pytest.mark.parametrize("name", ["docs/web.md", "plugins/picosam-web/README.md"])
def test_its_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_picture_of_it_is_small_enough() -> None:
    assert (ROOT / "docs" / "images" / "web.png").stat().st_size < 300_000
