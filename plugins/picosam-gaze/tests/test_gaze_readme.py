"""The README says what the code does: its keys, its figures and its examples."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from picosam_gaze.filters import FilterConfig
from picosam_gaze.prompting import PromptConfig
from picosam_gaze.roi import GazeRoiConfig

from picosam_sdk.cli.main import main
from picosam_sdk.config import from_mapping

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(title: str) -> dict[str, str]:
    """The defaults of a table of keys, by key."""
    part = README.split(f"`[roi.{title}]`:")[1].split("\n\n")[1]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in part.splitlines()[2:]]
    found: dict[str, str] = {}
    for keys, defaults, *_ in rows:
        names, values = re.findall(r"`(\w+)`", keys), defaults.split(", ")
        found |= dict(zip(names, values, strict=True))
    return found


@pytest.mark.parametrize(("title", "cls"), [("prompt", PromptConfig), ("filter", FilterConfig)])
def test_every_key_stands_there_with_its_default(title: str, cls: Any) -> None:
    said = table(title)
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    assert set(said) == set(fields)
    for key, default in fields.items():
        text = said[key].strip('"')
        assert text == default if isinstance(default, str) else float(text) == default, key


def test_the_configuration_is_one() -> None:
    (block,) = blocks("toml")
    raw = tomllib.loads(block)["roi"][0]
    assert raw.pop("kind") == "gaze"
    assert from_mapping(raw, GazeRoiConfig, "roi[0].").fov_deg == 103


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("python")
    exec(compile(block, "README.md", "exec"), {})
    assert "fixation 0." in capsys.readouterr().out


def test_the_figures_are_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gaze", "evaluate", "--rates", "30"]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if " 30 Hz" in line]
    assert len(printed) == 6
    for line in printed:
        assert f"\n{line}\n" in README
