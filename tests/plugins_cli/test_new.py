"""'picosam plugins new': what it writes is installed, found by the SDK, and passes its tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from picosam_sdk import InputError
from picosam_sdk.cli.main import main
from picosam_sdk.plugins import EVERY_ROLE
from picosam_sdk.scaffold import ROLES, Names, names_of, write_package
from tests.plugins_cli.conftest import Installed


def test_new_packages_pass_their_own_tests(installed: Installed) -> None:
    tests = [installed.folder / name / "tests" for name in installed.packages]
    done = installed.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error",
        "--import-mode=importlib", *tests,
    )  # fmt: skip
    assert " passed" in done.stdout


def test_the_sdk_lists_them_with_what_they_offer(installed: Installed) -> None:
    report = json.loads(installed.run("picosam", "plugins", "--json").stdout)
    plugins = {plugin["package"]: plugin for plugin in report["plugins"]}
    assert set(plugins) == {"picosam-sdk", *installed.packages}
    assert report["conflicts"] == []
    for role, name in zip(ROLES, installed.packages, strict=True):
        assert plugins[name] == {
            "name": name.removeprefix("picosam-").replace("_", "-"),
            "version": "0.1.0",
            "package": name,
            "state": "loaded",
            "problem": "",
            "offers": [{"role": role, "name": f"new-{role}".replace("_", "-")}],
        }


def test_nothing_of_the_checkout_is_in_that_environment(installed: Installed, root: Path) -> None:
    code = "import picosam_sdk, picosam_new_publisher as p; print(picosam_sdk.__file__, p.__file__)"
    for path in installed.run("python", "-c", code).stdout.split("\n")[0].split(" /"):
        assert str(root) not in path
        assert "site-packages" in path


def test_a_new_command_is_in_the_help_and_runs(installed: Installed) -> None:
    assert "new-command" in installed.run("picosam", "--help").stdout
    photo = "import picosam_sdk.samples as s; print(s.sample_photos()[0].path)"
    path = installed.run("python", "-c", photo).stdout.strip()
    assert " px, score 0." in installed.run("picosam", "new-command", path).stdout


def test_a_new_package_is_run_as_its_readme_says(installed: Installed) -> None:
    folder = installed.folder / "picosam-new-publisher"
    assert "python -m pytest" in (folder / "README.md").read_text()
    assert " passed" in installed.run("python", "-m", "pytest", "-q", cwd=folder).stdout
    assert sorted(path.name for path in folder.iterdir() if path.name[0] not in "._") == [
        "README.md", "example.toml", "pyproject.toml", "src", "tests",
    ]  # fmt: skip


def test_there_is_a_template_for_all_that_a_plugin_may_bring() -> None:
    assert set(ROLES) == set(EVERY_ROLE)


def test_every_role_can_be_in_one_package_and_is_well_written(tmp_path: Path) -> None:
    write_package(Names("picosam-all", "picosam_all", "all", "All"), ROLES, tmp_path)
    write_package(Names("picosam-one", "picosam_one", "one", "One"), ["command"], tmp_path)
    ruff = Path(sys.executable).with_name("ruff")
    for words in (["check", "--select", "E,F,W,I,N,B,UP,SIM,RUF"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *words, "--no-cache", "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "picosam-one" / "example.toml").exists()
    plugin = (tmp_path / "picosam-all/src/picosam_all/plugin.py").read_text()
    assert all(f"def picosam_{role}s()" in plugin for role in ROLES)


def test_more_than_one_role_may_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plugins", "new", "picosam-two", "--role", "camera", "--role", "camera"]
    assert main([*words, "--role", "command", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "src/picosam_two/camera.py" in out
    assert "src/picosam_two/command.py" in out
    assert "publisher.py" not in out
    assert f"cd {tmp_path / 'picosam-two'}" in out


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("picosam-acme", Names("picosam-acme", "picosam_acme", "acme", "Acme")),
        ("Picosam_OPC.UA", Names("Picosam_OPC.UA", "picosam_opc_ua", "opc-ua", "OpcUa")),
        ("acme--x1", Names("acme--x1", "acme_x1", "acme-x1", "AcmeX1")),
        ("a", Names("a", "a", "a", "A")),
    ],
)
def test_names_follow_from_the_package(project: str, expected: Names) -> None:
    assert names_of(project) == expected


@pytest.mark.parametrize(
    ("project", "why"),
    [
        ("", "name of a package"),
        ("two words", "name of a package"),
        ("../escape", "name of a package"),
        ("-dash", "name of a package"),
        ("dash-", "name of a package"),
        ("käse", "name of a package"),
        ("new\n", "name of a package"),
        ("3d", "begins with a letter"),
        ("picosam-3d", "begins with a letter"),
        ("class", "word of Python"),
        ("json", "'json' is not there yet"),
        ("NumPy", "'numpy' is not there yet"),
        ("picosam.sdk", "'picosam_sdk' is not there yet"),
    ],
)
def test_names_that_do_not_do_are_refused(project: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        names_of(project)
    assert "such as picosam-" in caught.value.hint


def test_a_kind_or_verb_that_is_taken_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, role in (("picosam-print", "publisher"), ("picosam-demo", "command")):
        assert main(["plugins", "new", name, "--role", role, "-o", str(tmp_path)]) == 1
        message, hint = capsys.readouterr().err.splitlines()
        assert f"'{role} {name.removeprefix('picosam-')}'" in message
        assert "picosam plugins" in hint
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plugins", "new", "picosam-acme", "-o", str(tmp_path / "new" / "folder")]
    assert main(words) == 0
    readme = tmp_path / "new/folder/picosam-acme/README.md"
    readme.write_text("mine")
    capsys.readouterr()
    assert main(words) == 1
    assert "one that is there" in capsys.readouterr().err
    assert readme.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["plugins", "new", "picosam-acme", "-o", str(tmp_path / "file")]) == 1
    assert "-o DIR" in capsys.readouterr().err.splitlines()[1]


def test_interrupted_it_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []

    def write_text(path: Path, text: str, **options: str) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(text.encode())

    monkeypatch.setattr(Path, "write_text", write_text)
    assert main(["plugins", "new", "picosam-acme", "-o", str(tmp_path)]) == 130
    assert len(written) == 3
    assert not list(tmp_path.iterdir())


def test_an_unknown_role_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plugins", "new", "picosam-acme", "--role", "tracker", "-o", str(tmp_path)])
    assert caught.value.code == 2
    assert "roi_source" in capsys.readouterr().err
