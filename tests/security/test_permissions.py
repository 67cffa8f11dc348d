"""What is written for the owner alone is so whatever the umask; open secrets are said."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from picosam_mqtt.settings import TlsConfig
from picosam_mqtt.spool import Spool

from picosam_sdk import app, config
from picosam_sdk.cli.main import main
from picosam_sdk.config import Secret
from picosam_sdk.egress.audit import Audit
from picosam_sdk.interfaces import Context
from picosam_sdk.publishers.files import append_lines, private_folder
from picosam_sdk.publishers.lines import JsonlConfig, JsonlPublisher
from picosam_sdk.publishers.record import RecordConfig, RecordPublisher
from picosam_sdk.testing.results import a_result

PASSWORD = "correct horse"


@pytest.fixture(params=[0o000, 0o022], ids=["umask 0", "umask 022"], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _forget_what_was_said() -> None:
    config.warn_if_shared.cache_clear()


def _modes(folder: Path) -> dict[str, int]:
    """Of everything below a folder, by its path."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
            for path in folder.rglob("*")}  # fmt: skip


def test_the_spool_with_its_log_and_every_new_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state" / "picosam" / "mqtt.sqlite")
    spool.put("topic", b"mask")
    modes = _modes(tmp_path)
    spool.close()
    assert modes == {
        "state": 0o700, "state/picosam": 0o700,
        "state/picosam/mqtt.sqlite": 0o600, "state/picosam/mqtt.sqlite-wal": 0o600,
    }  # fmt: skip


def test_a_spool_that_was_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "mqtt.sqlite"
    path.write_bytes(b"no database, " * 1000)
    path.chmod(0o600)
    Spool(path).close()
    modes = _modes(tmp_path)
    assert set(modes) == {"mqtt.sqlite", "mqtt.sqlite.corrupt"}
    assert set(modes.values()) == {0o600}


def test_the_audit_log_and_the_older_ones(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", 500, 3)
    for number in range(30):
        audit.record("event", number=number)
    audit.close()
    modes = _modes(tmp_path)
    assert set(modes) == {"audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"}
    assert set(modes.values()) == {0o600}


def test_messages_in_a_file_and_the_older_ones(tmp_path: Path) -> None:
    publisher = JsonlPublisher(JsonlConfig(tmp_path / "masks.jsonl", 2000, 2), Context("d", "s"))
    publisher.open()
    for index in range(12):
        publisher.publish(a_result(index))
    publisher.close()
    modes = _modes(tmp_path)
    assert set(modes) == {"masks.jsonl", "masks.jsonl.1", "masks.jsonl.2"}
    assert set(modes.values()) == {0o600}


def test_a_recording_with_pictures(tmp_path: Path) -> None:
    where = RecordConfig(tmp_path / "kept" / "desk", each_run=True, frames=True)
    publisher = RecordPublisher(where, Context("desk", "0123"))
    publisher.open()
    publisher.publish(a_result(0, grants=["pixels"]))
    publisher.close()
    modes = _modes(tmp_path)
    frames = next(path for path in modes if path.endswith("/frames"))
    pictures = [path for path in modes if path.startswith(frames + "/")]
    assert len(pictures) == 1
    folders = {path: mode for path, mode in modes.items() if (tmp_path / path).is_dir()}
    assert len(folders) == 4
    assert set(folders.values()) == {0o700}, "and so nobody else reaches the pictures"
    files = {path: mode for path, mode in modes.items() if path not in {*folders, *pictures}}
    assert len(files) == 2
    assert set(files.values()) == {0o600}


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o750)
    private_folder(shared / "own")
    assert _modes(tmp_path) == {"shared": 0o750, "shared/own": 0o700}


def test_lines_are_appended_for_the_owner_alone(tmp_path: Path) -> None:
    append_lines(tmp_path / "lines").close()
    assert _modes(tmp_path) == {"lines": 0o600}


@pytest.mark.parametrize(("mode", "said"), [(0o600, False), (0o640, False), (0o644, True),
                                            (0o602, True)])  # fmt: skip
def test_a_secret_that_everybody_can_read_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, said: bool
) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(mode)
    for _ in range(3):
        assert Secret(file=path).reveal("publish[0].password") == PASSWORD
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == int(said)
    assert all(f"chmod o= {path}" in line and PASSWORD not in line for line in lines)


@pytest.mark.parametrize("alone", [True, False])
def test_a_key_of_tls_that_everybody_can_read_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, alone: bool
) -> None:
    trustme = pytest.importorskip("trustme")
    path = tmp_path / "desk.pem"
    certificate = trustme.CA().issue_cert("desk")
    path.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    path.chmod(0o600 if alone else 0o644)
    TlsConfig(cert_file=path).context()
    assert [record.levelno for record in caplog.records] == ([] if alone else [logging.WARNING])


def test_config_check_names_what_everybody_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password, file = tmp_path / "password", tmp_path / "picosam.toml"
    password.write_text(PASSWORD)
    file.write_text(
        '[camera]\nkind = "rtsp"\nurl = "rtsp://camera.local/1"\nusername = "me"\n'
        f'password = {{ file = "{password}" }}\n[[roi]]\nkind = "grid"\n'
        '[[publish]]\nkind = "mqtt"\n'
        f'username = "me"\npassword = "{PASSWORD}"\n'
    )
    for mode, strict in ((0o644, 1), (0o600, 0)):
        for path in (password, file):
            path.chmod(mode)
        assert main(["config", "check", str(file), "--strict"]) == strict
        shown = capsys.readouterr().out
        assert PASSWORD not in shown
        expected = [f"camera.password: every user of this machine can read {password}",
                    f"publish[0].password: every user of this machine can read {file}"]  # fmt: skip
        assert re.findall(r"note: (.*)", shown) == (expected if strict else [])


def test_shown_and_printed_a_secret_stays_hidden(tmp_path: Path) -> None:
    file = tmp_path / "picosam.toml"
    file.write_text('[[roi]]\nkind = "grid"\n[[publish]]\nkind = "mqtt"\nusername = "me"\n'
                    f'password = "{PASSWORD}"\n[camera]\nkind = "synthetic"\n')  # fmt: skip
    parts = app.make_parts(app.load(file))
    told = repr(parts.publishers[0].part.config) + str(parts.publishers[0].part.config)
    assert "me" in told
    assert PASSWORD not in told
    assert PASSWORD not in parts.publishers[0].part.destination


def test_it_listens_on_no_unix_socket(root: Path) -> None:
    """Whose permissions would matter; the one place that names them sends to systemd."""
    folders = [root / "picosam_sdk", *root.glob("plugins/*/src")]
    using = {
        str(file.relative_to(root))
        for folder in folders for file in folder.rglob("*.py")
        if re.search(r"AF_UNIX|unix_server|unix_connection", file.read_text(encoding="utf-8"))
    }  # fmt: skip
    assert using == {"picosam_sdk/systemd.py"}
