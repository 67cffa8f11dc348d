"""The manifest: every recipient is in it, with what it gets, and nothing secret is."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import Plugins, Publisher, Result, app, hookimpl
from picosam_sdk.cli.main import main
from picosam_sdk.config import from_mapping
from picosam_sdk.egress import format_manifest, manifest
from picosam_sdk.settings import AppConfig, EgressRule

TABLES = """
[device]
name = "desk"

[camera]
kind = "synthetic"

[[roi]]
kind = "follow"

[[roi]]
kind = "fixed"
box = [0.2, 0.2, 0.3, 0.4]
egress = { grants = ["pixels"] }

[[filter]]
kind = "hysteresis"

[[publish]]
kind = "print"
egress = { coarsen = 16, max_rate_hz = 2, purpose = "a sign", kept = "not at all" }

[[publish]]
kind = "jsonl"
name = "night"
path = "night.jsonl"
[publish.egress]
grants = ["redacted", "gaze"]
redaction = "blank"
windows = ["22:00-06:00"]
min_area = 0.01
privacy_masks = [[0.0, 0.0, 0.3, 1.0]]
kept = "30 days"

[metrics]
port = 9100
host = "::1"

[policy]
audit_log = "audit.jsonl"
controller = "Example Ltd"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "picosam.toml"
    path.write_text(TABLES)
    return path


def _manifest(path: Path) -> dict[str, Any]:
    config = app.load(path)
    return manifest(config, app.make_parts(config, Plugins(discover=False)))


def test_every_recipient_is_in_it(path: Path) -> None:
    record = _manifest(path)
    roles = {block["recipient"]: (block["role"], block["key"]) for block in record["processing"]}
    assert roles == {
        "print": ("publisher", "publish[0]"),
        "night": ("publisher", "publish[1]"),
        "follow": ("roi_source", "roi[0]"),
        "fixed": ("roi_source", "roi[1]"),
        "hysteresis": ("mask_filter", "filter[0]"),
        "metrics": ("endpoint", "metrics"),
        "audit log": ("file", "policy.audit_log"),
        "status line": ("terminal", "run.status_s"),
    }


def test_fields_of_a_recipient(path: Path) -> None:
    blocks = {block["recipient"]: block for block in _manifest(path)["processing"]}
    night, lamp = blocks["night"], blocks["print"]
    assert night["storage_locations"] == [f"file {path.parent / 'night.jsonl'}"]
    assert (night["retention_period"], night["windows"]) == ("30 days", ["22:00-06:00"])
    assert night["pictures"] == "redacted"
    kinds = [item["pii_type"] for item in night["pii_information"]]
    assert kinds == ["object_mask", "measurements", "picture", "gaze"]
    assert [item["sensitive_pii_category"] for item in night["pii_information"]][2:] == [True, True]
    assert night["processing_method"] == [
        "segmented on the device", "outside the mask blanked",
        "masks under 0.01 of the view withheld", "parts of the view always hidden: 1",
    ]  # fmt: skip
    assert (lamp["max_rate_hz"], lamp["purpose"], lamp["pictures"]) == (2.0, "a sign", "")
    assert "16 x 16 cells" in lamp["pii_information"][0]["description"]
    assert lamp["collection_method"] == "camera 'synthetic', segmented by 'onnx'"
    assert blocks["metrics"]["storage_locations"] == ["http://[::1]:9100/metrics"]
    assert blocks["audit log"]["retention_period"] == "5 files of 1000000 bytes at most"
    assert blocks["fixed"]["pictures"] == "pixels"
    assert blocks["follow"]["storage_locations"] == ["this process"]


def test_the_record_is_named_after_its_content(path: Path) -> None:
    first = _manifest(path)
    assert first == _manifest(path)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", first["record_id"])
    path.write_text(TABLES.replace("30 days", "a year"))
    assert _manifest(path)["record_id"] != first["record_id"]


def test_what_is_not_stated_is_listed(path: Path) -> None:
    assert _manifest(path)["not_stated"] == ["policy.contact", "publish[1].egress.purpose"]


def test_text_says_the_same(path: Path) -> None:
    record = _manifest(path)
    text = " ".join(format_manifest(record).split())
    assert "controller Example Ltd" in text
    assert "Pictures may go to: night, fixed." in text
    for block in record["processing"]:
        for value in (*block["storage_locations"], *block["processing_method"], block["key"],
                      *(item["description"] for item in block["pii_information"])):  # fmt: skip
            assert value in text
    assert max(map(len, format_manifest(record).splitlines())) < 160
    path.write_text(re.sub(r'\["(redacted|pixels)".*', "[] }", TABLES).split("[publish.egress]")[0])
    assert "Pictures may go to: nobody." in format_manifest(_manifest(path))


class _Odd(Publisher):
    """Says where its data go in a way that it should not."""

    name = "odd"

    @property
    def destination(self) -> str:
        if self.context.device == "broken":
            raise RuntimeError("not yet connected")
        return "mqtts://me:hunter2@broker:8883/a"

    def publish(self, result: Result) -> int | None:
        return None


class _OddPlugin:
    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [_Odd]


@pytest.mark.parametrize(
    ("device", "goes_to"),
    [("desk", "mqtts://broker:8883/a"), ("broken", "unknown: it raised RuntimeError")],
)
def test_a_destination_is_shown_without_credentials(device: str, goes_to: str) -> None:
    plugins = Plugins(discover=False)
    plugins.register(_OddPlugin(), "odd")
    raw = {
        "device": {"name": device}, "camera": {"kind": "synthetic"},
        "roi": [{"kind": "follow"}], "publish": [{"kind": "odd"}],
    }  # fmt: skip
    config = from_mapping(raw, AppConfig)
    record = manifest(config, app.make_parts(config, plugins))
    assert record["processing"][0]["storage_locations"] == [goes_to]
    assert "hunter2" not in json.dumps(record)


def test_command(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["privacy", str(path)]) == 0
    assert capsys.readouterr().out == format_manifest(_manifest(path))
    assert main(["privacy", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == _manifest(path)
    assert not (path.parent / "audit.jsonl").exists()
    assert not (path.parent / "night.jsonl").exists()


def test_command_refuses_what_would_not_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(TABLES + '\n[[publish]]\nkind = "record"\npath = "film"\nframes = true\n')
    assert main(["privacy", str(path)]) == 1
    captured = capsys.readouterr()
    assert "record (publisher, publish[2])" in captured.out
    message, hint = captured.err.splitlines()
    assert message.startswith("picosam: publish[2].egress.grants: expected pixels")
    assert 'egress = { grants = ["pixels"] }' in hint
    assert main(["privacy", str(path.parent / "nothing.toml")]) == 1


def test_the_example_of_the_docs(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("picosam_mqtt")
    text = (root / "docs" / "privacy.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "picosam.toml"
    path.write_text('[camera]\nkind = "synthetic"\n[[roi]]\nkind = "follow"\n' + example)
    assert main(["privacy", str(path)]) == 0
    config = app.load(path)
    record = manifest(config, app.make_parts(config))
    assert record["not_stated"] == []
    assert [block["pictures"] for block in record["processing"][:2]] == ["", "cutout"]


def test_reasons_and_keys_are_in_the_docs(root: Path) -> None:
    """What the gate counts, and what a rule may hold, is described."""
    text = (root / "docs" / "privacy.md").read_text()
    gate = (root / "picosam_sdk" / "egress" / "gate.py").read_text()
    reasons = set(re.findall(r'_withhold\("(\w+)"', gate))
    reasons |= {"gaze", "gaze_no_audit", "result_rate", "result_window", "result_clock"}
    keys = {field.name for field in dataclasses.fields(EgressRule)}
    assert len(reasons) > 8
    assert {word for word in reasons | keys if word not in text} == set()
