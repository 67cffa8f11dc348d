"""Verbs of plugins in the command line: there when asked for, harmless when broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from picosam_sdk.cli.main import VERBS, build_parser, main

Add = Callable[..., None]

COMMAND = """
import sys
from picosam_sdk import InputError, hookimpl

name = "{name}"

def add_parser(verbs):
    parser = verbs.add_parser(name, help="{help}", aliases={aliases})
    parser.add_argument("--end", default="well")
    parser.set_defaults(run=run)

def run(args):
    if args.end == "badly":
        raise RuntimeError("it did\\nnot work")
    if args.end == "refused":
        raise InputError("expected better", hint="Do better.")
    print("ended", args.end)

@hookimpl
def picosam_commands():
    return [sys.modules[__name__]]
"""


def command(
    name: str, help: str = "do what a plugin does", aliases: list[str] | None = None
) -> str:
    return COMMAND.format(name=name, help=help, aliases=aliases or [])


def test_the_verb_of_a_plugin_is_in_the_help_and_runs(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme", command("acme"))
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "do what a plugin does" in out
    assert all(verb in out for verb in VERBS)
    assert main(["acme"]) == 0
    assert main(["--debug", "acme", "--end", "so"]) == 0
    assert capsys.readouterr().out == "ended well\nended so\n"


def test_an_error_of_a_plugins_verb_is_two_lines(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme", command("acme"))
    assert main(["acme", "--end", "refused"]) == 1
    assert capsys.readouterr().err == "picosam: expected better\nDo better.\n"
    assert main(["acme", "--end", "badly"]) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert "'acme' of plugin 'acme' failed: RuntimeError: it did not work" in message
    assert "picosam --debug acme" in hint
    with pytest.raises(RuntimeError, match="it did"):
        main(["--debug", "acme", "--end", "badly"])
    with pytest.raises(SystemExit) as caught:
        main(["acme", "--no-such-option"])
    assert caught.value.code == 2


def test_a_verb_of_the_sdk_loads_no_plugin(
    packages: Add, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme", "raise SystemExit('the plugin was imported')")
    with pytest.raises(SystemExit) as caught:
        main(["segment", "--help"])
    assert caught.value.code == 0
    assert "was imported" not in capsys.readouterr().err
    parser = build_parser(["segment", str(photos), "--point", "1,2"])
    assert parser.parse_args(["segment", "x.jpg", "--point", "1,2"]).point == "1,2"
    with pytest.raises(SystemExit):
        parser.parse_args(["demo"])  # not even its own other verbs


@pytest.mark.parametrize("words", [["--version"], ["segment", "--help"]])
def test_what_needs_no_plugin_imports_none(words: list[str], root: Path) -> None:
    code = (
        "import sys\nfrom picosam_sdk.cli.main import main\n"
        f"try: main({words})\n"
        "except SystemExit: print('picosam_sdk.builtin' in sys.modules, 'cv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        (command("segment"), "there is a command 'segment' already"),
        (command("acme", aliases=("demo",)), "there is a command 'demo' already"),
        (command("acme", help="100%"), "ValueError"),
        (command("acme").replace("parser.set_defaults(run=run)", "1 / 0"), "ZeroDivisionError"),
        (command("acme").replace("add_parser(name,", "add_parser('other',"), "adds other"),
        (command("acme").replace("parser = verbs.add_parser", "return; print"), "adds nothing"),
        (command("acme").replace("parser.set_defaults(run=run)", "sys.exit(0)"), "SystemExit"),
        (command("acme").replace("def add_parser", "def add_parsers"), "without add_parser"),
        (command("acme").replace('name = "acme"', "name = None"), "has no 'name'"),
    ],
)
def test_a_broken_verb_is_a_line_and_the_others_go_on(
    packages: Add, capsys: pytest.CaptureFixture[str], code: str, why: str
) -> None:
    packages("broken", code)
    packages("good", command("good", help="still here"))
    with pytest.warns(UserWarning, match=f"'broken'.*{why}"), pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "still here" in out
    assert "acme" not in out
    with pytest.warns(UserWarning, match="'broken'"):
        assert main(["good"]) == 0


def test_two_plugins_with_one_verb_bring_neither(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("first", command("acme", help="do it one way"))
    packages("second", command("acme", help="do it another way"))
    with pytest.warns(UserWarning, match="first, second all have it") as caught:
        parser = build_parser([])
    assert len(caught) == 2
    assert "do it" not in parser.format_help()


def test_a_warning_is_one_line_for_who_runs_a_command(packages: Add, tmp_path: Path) -> None:
    packages("acme", "raise ImportError('no acme_npu here')")
    done = subprocess.run(
        [sys.executable, "-m", "picosam_sdk.cli.main", "--help"],
        env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert "segment" in done.stdout
    lines = [line for line in done.stderr.splitlines() if "acme" in line]
    assert lines == [
        "picosam: picosam_sdk plugin 'acme' (acme) is left out: ImportError: no acme_npu here"
    ]
    assert "plugins.py" not in done.stderr


def test_a_verb_with_verbs_below_it_asks_for_one(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command("acme").replace(
        "parser.set_defaults(run=run)",
        "parser.add_subparsers().add_parser('go').set_defaults(run=run)",
    )
    packages("acme", code)
    assert main(["acme", "go"]) == 0
    with pytest.raises(SystemExit) as caught:
        main(["acme"])
    assert caught.value.code == 2
    assert "expected one of its commands" in capsys.readouterr().err


def test_an_interrupt_while_plugins_load_is_an_interrupt(
    packages: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    packages("acme", "raise KeyboardInterrupt")
    assert main(["acme"]) == 130
    assert "interrupted" in capsys.readouterr().err
