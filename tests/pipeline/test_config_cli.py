"""``picosam config``: check, show, init."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picosam_sdk import Plugins, app
from picosam_sdk.cli.main import main
from picosam_sdk.config import from_mapping
from picosam_sdk.effective import effective, notes
from picosam_sdk.settings import AppConfig
from picosam_sdk.tomltext import to_toml

SECRETIVE = """
[device]
name = "desk"
[camera]
kind = "rtsp"
url = "rtsp://admin:hunter2@10.0.0.5/live"
username = "x"
password = { env = "PICOSAM_TEST_PASSWORD" }
[segmenter]
backend = "onnx"
[[roi]]
kind = "fixed"
box = [0.1, 0.1, 0.5, 0.5]
[[publish]]
kind = "jsonl"
path = "masks.jsonl"
egress = { grants = ["cutout"], max_rate_hz = 2 }
"""


def write(folder: Path, text: str = SECRETIVE) -> str:
    path = folder / "picosam.toml"
    path.write_text(text)
    path.chmod(0o600)  # a secret stands in it
    return str(path)


def test_check_says_what_each_part_would_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICOSAM_TEST_PASSWORD", "x")
    path = write(tmp_path)
    assert main(["config", "check", path]) == 0
    out = capsys.readouterr().out
    assert "camera       rtsp" in out
    assert f"jsonl            to file {tmp_path}/masks.jsonl, may have cutout" in out
    assert out.endswith("is in order\n")
    assert main(["config", "check", path, "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["ok"]
    assert [part["key"] for part in checked["parts"]] == [
        "camera", "segmenter", "roi[0]", "publish[0]"
    ]  # fmt: skip
    assert checked["parts"][-1]["grants"] == ["cutout"]


def test_a_secret_that_is_not_there_is_a_note_and_with_strict_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PICOSAM_TEST_PASSWORD", raising=False)
    path = write(tmp_path)
    assert main(["config", "check", path]) == 0
    note = "note: camera.password: expected the environment variable PICOSAM_TEST_PASSWORD"
    assert note in capsys.readouterr().out
    assert main(["config", "check", path, "--strict"]) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("box =", "bxo =", "roi[0].bxo: unknown key; did you mean 'roi[0].box'?"),
        ('"fixed"', '"fixt"', "did you mean 'fixed'?"),
        ("max_rate_hz", "max_rate", "publish[0].egress.max_rate: unknown key"),
        ("[0.1, 0.1, 0.5, 0.5]", "[0.1, 0.1, 0.5]", "roi[0].box: expected 4 values"),
        ("[device]", "[device", "expected TOML in"),
    ],
)
def test_check_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    assert main(["config", "check", write(tmp_path, SECRETIVE.replace(old, new))]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 2


def test_what_keeps_a_model_from_being_opened_is_a_note(tmp_path: Path) -> None:
    text = SECRETIVE.replace('"onnx"', '"onnx"\nmodel = "none.onnx"')
    found = notes(app.make_parts(app.load(write(tmp_path, text))))
    assert any("segmenter.model" in note for note in found)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_show_hides_secrets(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
) -> None:
    monkeypatch.setenv("PICOSAM_TEST_PASSWORD", "opensesame")
    assert main(["config", "show", write(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "admin" not in out
    assert "opensesame" not in out
    shown = json.loads(out) if options else tomllib.loads(out)
    assert shown["camera"]["password"] == {"env": "PICOSAM_TEST_PASSWORD"}
    assert shown["camera"]["url"] == "<secret>"
    assert shown["publish"][0]["path"] == str(tmp_path / "masks.jsonl")
    assert shown["publish"][0]["queue"] == 8
    assert shown["segmenter"] == {"backend": "onnx", "threads": 1}


def test_what_show_prints_is_the_same_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, SECRETIVE.replace("rtsp://admin:hunter2@10.0.0.5/live", "rtsp://a/b"))
    text = Path(path).read_text().replace('url = "rtsp://a/b"', 'url = { file = "url" }')
    (tmp_path / "picosam.toml").write_text(text)
    assert main(["config", "show", path]) == 0
    again = tmp_path / "elsewhere" / "picosam.toml"
    again.parent.mkdir()
    again.write_text(capsys.readouterr().out)
    first, second = (effective(c, app.make_parts(c)) for c in (app.load(path), app.load(again)))
    assert first == second


def test_what_looks_like_a_secret_is_hidden_even_if_a_plugin_did_not_say_so(tmp_path: Path) -> None:
    from picosam_sdk.effective import _plain

    assert _plain({"password": "a", "api_key": "b", "user": "c", "broker_token": "d"}, "") == {
        "password": "<secret>", "api_key": "<secret>", "user": "c", "broker_token": "<secret>"
    }  # fmt: skip
    assert _plain("mqtt://u:p@host:1883/x", "url") == "mqtt://<secret>@host:1883/x"


def test_init_writes_what_passes_check_and_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "new.toml")
    assert main(["config", "init", path]) == 0
    assert main(["config", "check", path, "--strict"]) == 0
    capsys.readouterr()
    assert main(["run", path, "--max-frames", "2", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert "middle: " in out
    assert "score" in out


def template(tmp_path: Path) -> str:
    path = tmp_path / "new.toml"
    assert main(["config", "init", str(path)]) == 0
    return path.read_text()


def test_the_alternatives_in_inits_comments_are_right(tmp_path: Path) -> None:
    """A reader takes them for examples: each must be accepted as it stands there."""
    base: dict[str, Any] = {
        "camera": {"kind": "photos"}, "roi": [{"kind": "grid"}], "segmenter": {"backend": "onnx"}
    }  # fmt: skip
    section, tried = "", []
    for line in template(tmp_path).splitlines():
        if line.startswith(("[", "# [")):
            section = line.strip("[]# ")
        first, _, second = line.removeprefix("# ").partition("#")
        if not line.startswith(("# kind", "# backend")) or section not in base:
            continue
        more = second.rpartition(":")[2] if " = " in second else ""
        table = tomllib.loads(f"t = {{ {first.strip()}{', ' if more else ''}{more} }}")["t"]
        if table.get("kind") == "gaze":  # of a plugin that may be missing here
            continue
        raw = base | {section: [table] if section == "roi" else table}
        if str(table.get("backend", "")).startswith("imx500"):
            del raw["camera"]
        app.make_parts(from_mapping(raw, AppConfig), Plugins(discover=False))
        tried.append(table.get("kind", table.get("backend")))
    assert {"webcam", "rtsp", "video", "synthetic", "imx500", "point", "grid"} <= set(tried)


def test_the_tables_in_inits_comments_are_right(tmp_path: Path) -> None:
    text = template(tmp_path)
    mqtt = text.index('# [[publish]]\n# kind = "mqtt"')  # of a plugin that may be missing here
    text = text[:mqtt] + text[text.index("# Who answers") :]
    start = text.index("# [[filter]]")
    lines = [
        line[2:] if re.match(r"# (\[|\w+ = )", line) else line for line in text[start:].splitlines()
    ]
    path = tmp_path / "all.toml"
    path.write_text(text[:start] + "\n".join(lines))
    config = app.load(path)
    parts = app.make_parts(config, Plugins(discover=False))
    assert config.metrics.port == 9469
    assert config.policy.audit_log == tmp_path / "audit.jsonl"
    assert [placed.part.name for placed in parts.publishers] == ["print", "jsonl"]
    assert [placed.part.name for placed in parts.filters] == ["hysteresis"]


def test_init_overwrites_only_if_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "picosam.toml"
    path.write_text("mine")
    assert main(["config", "init", str(path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["config", "init", str(path), "--force"]) == 0
    assert path.read_text() != "mine"
    assert main(["config", "init", str(tmp_path / "no" / "such.toml")]) == 1


scalars = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False),
    st.dates(), st.times(),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(st.text(), values, max_size=4)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), values | tables | st.lists(tables, max_size=3), max_size=4))
def test_toml_comes_back_as_it_went(data: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(data)) == data


def test_toml_has_no_word_for_none_and_refuses_what_it_does_not_know() -> None:
    assert to_toml({"a": {"b": None, "c": {"d": None}}}) == "[a]\nc = {}\n"
    with pytest.raises(TypeError, match="object"):
        to_toml({"a": {"b": object()}})
