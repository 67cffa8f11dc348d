"""Nothing in the sources runs data as code, turns verification off, or makes secrets of chance.

Ruff's rules S find most of it; :mod:`tests.security.rules` the rest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from picosam_sdk import ModelError
from picosam_sdk.export.imx500_inspect import PARAMETERS, inspect_file
from tests.security.rules import findings

FOLDERS = ("picosam_sdk", "plugins/*/src", "examples", "scripts", "benchmarks")

IGNORED = {
    "S101": "an assert here tells the type checker what holds; no input is checked by one",
    "S603": "it flags every call of a program; S602, S604 and S605 find those through a shell",
}
ACCEPTED = {
    ("picosam_sdk/export/imx500_inspect.py", "S314"): "a document type, and with it every entity, "
    "is refused: test_xml_with_a_document_type_is_refused",
    ("plugins/picosam-mqtt/src/picosam_mqtt/connection.py", "S311"): "spreads reconnecting",
    ("plugins/picosam-mqtt/src/picosam_mqtt/reasons.py", "S105"): "the name of a problem",
    ("scripts/fuzz.py", "S311"): "damage that can be repeated",
}
"""What ruff finds and is meant, with the reason."""

ACCEPTED_COMPARISON = "picosam_sdk/export/imx500_inspect.py compared"
"""A checksum (MD5) in a converter's archive: against damage, nobody's secret."""


def _sources(root: Path) -> list[Path]:
    files = [file for folder in FOLDERS for place in root.glob(folder)
             for file in place.rglob("*.py")]  # fmt: skip
    assert len(files) > 200
    return files


def _ruff(*arguments: str, text: str | None = None) -> list[dict[str, object]]:
    words = ["--isolated", "--no-cache", "--target-version", "py311", "--select", "S",
             "--output-format", "json", *arguments]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *words],
        input=text, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_ruff_finds_nothing_but_what_is_accepted(root: Path) -> None:
    folders = [str(place) for folder in FOLDERS for place in root.glob(folder)]
    found = {
        (str(Path(str(one["filename"])).relative_to(root)), str(one["code"]))
        for one in _ruff("--ignore", ",".join(IGNORED), *folders)
    }
    assert found - set(ACCEPTED) == set(), "mend it, or accept it with a reason"
    assert set(ACCEPTED) - found == set(), "no longer there: take it out of the list"


def test_the_rest_is_not_there_either(root: Path) -> None:
    found = {
        f"{file.relative_to(root)} {one.rule}"
        for file in _sources(root)
        for one in findings(file.read_text(encoding="utf-8"))
    }
    assert found == {ACCEPTED_COMPARISON}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("eval(text)", "S307"),
        ("exec(text)", "S102"),
        ("import pickle\npickle.loads(data)", "S301"),
        ("import pickle\npickle.Unpickler(file)", "S301"),
        ("import dill\ndill.load(file)", "S301"),
        ("import shelve\nshelve.open(path)", "S301"),
        ("import pandas\npandas.read_pickle(path)", "S301"),
        ("import marshal\nmarshal.loads(data)", "S302"),
        ("import yaml\nyaml.load(text)", "S506"),
        ("import yaml\nyaml.load(text, Loader=yaml.Loader)", "S506"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "S602"),
        ("import os\nos.system(text)", "S605"),
        ("import os\nos.popen(text)", "S605"),
        ("import tarfile\ntarfile.open(path).extractall()", "S202"),
        ("import tempfile\ntempfile.mktemp()", "S306"),
        ("import ssl\nssl._create_unverified_context()", "S323"),
        ("import hashlib\nhashlib.md5(data)", "S324"),
        ("import hashlib\nhashlib.sha1(data)", "S324"),
        ("import hashlib\nhashlib.new('md5')", "S324"),
        ("import random\ntoken = random.random()", "S311"),
        ("from random import choices\ntoken = choices(letters, k=8)", "S311"),
        ("import requests\nrequests.get(url, verify=False, timeout=1)", "S501"),
        ("import httpx\nhttpx.get(url, verify=False)", "S501"),
        ("from xml.etree import ElementTree\nElementTree.fromstring(text)", "S314"),
        ("from xml.dom import minidom\nminidom.parseString(text)", "S318"),
        ("import os\nos.chmod(path, 0o666)", "S103"),
        ("password = 'swordfish'", "S105"),
        ("connect(host, password='swordfish')", "S106"),
        ("import urllib.request\nurllib.request.urlopen(url)", "S310"),
        ("db.execute(f'SELECT * FROM message WHERE topic = {topic}')", "S608"),
    ],
)
def test_ruff_finds_what_is_planted(line: str, code: str) -> None:
    codes = {one["code"] for one in _ruff("-", text=line + "\n")}
    assert code in codes - set(IGNORED)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("compile(text, 'x', 'exec')", "compile"),
        ("joblib.load(path)", "loader"),
        ("cloudpickle.loads(data)", "loader"),
        ("yaml.unsafe_load(text)", "loader"),
        ("torch.load(path)", "torch-load"),
        ("torch.load(path, weights_only=False)", "torch-load"),
        ("np.load(path, allow_pickle=True)", "allow-pickle"),
        ("archive.extractall(folder)", "unpacking"),
        ("shutil.unpack_archive(path, folder)", "unpacking"),
        ("context.verify_mode = ssl.CERT_NONE", "unverified"),
        ("context.verify_mode = ssl.CERT_OPTIONAL", "unverified"),
        ("context.check_hostname = False", "unverified"),
        ("client.tls_insecure_set(True)", "unverified"),
        ("client.tls_set(cert_reqs=ssl.CERT_NONE)", "unverified"),
        ("session.request('GET', url, verify=False)", "unverified"),
        ("context.minimum_version = ssl.TLSVersion.TLSv1_1", "old-tls"),
        ("context.maximum_version = ssl.TLSVersion.TLSv1", "old-tls"),
        ("ok = token == self.token", "compared"),
        ("ok = message['sig'] != wanted", "compared"),
        ("ok = given == hmac.new(key, data, 'sha256').hexdigest()", "compared"),
        ("ok = self._cookie() == cookie", "compared"),
    ],
)
def test_the_rules_find_what_is_planted(line: str, rule: str) -> None:
    assert [one.rule for one in findings(line)] == [rule]


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "archive.extractall(folder, filter='data')",
        "context.verify_mode = ssl.CERT_REQUIRED",
        "context.check_hostname = True",
        "context.minimum_version = ssl.TLSVersion.TLSv1_2",
        "ok = token != ''",
        "ok = hmac.compare_digest(given, wanted)",
        "pattern = re.compile(text)",
    ],
)
def test_the_rules_leave_what_is_right(line: str) -> None:
    assert findings(line) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("doctype", ["<!DOCTYPE x>", '<!DOCTYPE x [<!ENTITY a "b">]>',
                                     '<!DOCTYPE x SYSTEM "file:///etc/passwd">'])  # fmt: skip
def test_xml_with_a_document_type_is_refused(tmp_path: Path, doctype: str, encoding: str) -> None:
    path = tmp_path / "packerOut.zip"
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<x><network/></x>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr(PARAMETERS, text.encode(encoding))
    with pytest.raises(ModelError, match="a document type"):
        inspect_file(path)
