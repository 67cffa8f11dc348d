"""What every command of a plugin must do; a test class to inherit.

::

    from picosam_sdk.testing.contract import CommandContract

    import acme_picosam.command

    class TestAcme(CommandContract):
        command = acme_picosam.command
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

__all__ = ["CommandContract"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_HEAVY = {"cv2", "matplotlib", "onnx", "onnxruntime", "pandas", "PIL", "scipy", "torch"}


class CommandContract:
    """Tests of a verb.

    Attributes:
        command: the object or module that the hook ``picosam_commands`` returns.
    """

    command: Any

    @pytest.fixture
    def parser(self) -> argparse.ArgumentParser:
        """A parser like the SDK's, with this verb alone."""
        parser = argparse.ArgumentParser(prog="picosam")
        self.command.add_parser(parser.add_subparsers(required=True))
        return parser

    def test_has_a_name_that_a_user_types(self) -> None:
        assert _NAME.fullmatch(self.command.name)

    def test_adds_its_verb_and_no_other(self, parser: argparse.ArgumentParser) -> None:
        verbs = list(_below(parser))
        assert self.command.name in verbs
        assert all(_NAME.fullmatch(verb) for verb in verbs)
        assert len({id(verb) for verb in _below(parser).values()}) == 1, "aliases, no second verb"

    def test_can_be_added_more_than_once(self, parser: argparse.ArgumentParser) -> None:
        """The SDK tries a verb out before it adds it."""
        again = argparse.ArgumentParser(prog="picosam")
        self.command.add_parser(again.add_subparsers(required=True))
        assert again.format_help() == parser.format_help()

    def test_explains_itself(self, parser: argparse.ArgumentParser) -> None:
        lines = [line.split() for line in parser.format_help().splitlines()]
        (row,) = (line for line in lines if line and line[0] == self.command.name)
        assert len(row) > 1, "'picosam --help' says nothing about it"
        for words, chain in _leaves(parser):
            assert chain[-1].description, f"'picosam {words} --help' describes nothing"
            assert words in chain[-1].format_help()

    def test_says_what_to_run(self, parser: argparse.ArgumentParser) -> None:
        for words, chain in _leaves(parser):
            assert any(callable(verb.get_default("run")) for verb in chain), words

    def test_wrong_usage_is_exit_code_2(
        self, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([self.command.name, "--no-such-option"])
        assert caught.value.code == 2
        assert "usage:" in capsys.readouterr().err

    def test_importing_it_loads_nothing_heavy(self) -> None:
        """'picosam --help' imports it."""
        command = self.command
        module = command.__name__ if isinstance(command, ModuleType) else type(command).__module__
        code = f"import sys, {module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not _HEAVY & set(done.stdout.split())


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's verbs, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def _leaves(
    parser: argparse.ArgumentParser, words: str = "", chain: tuple[Any, ...] = ()
) -> Iterator[tuple[str, tuple[argparse.ArgumentParser, ...]]]:
    """What a user types to get to each parser that has none below, and the parsers on the way."""
    below = _below(parser)
    if not below:
        yield words.strip(), chain
    for name, verb in below.items():
        yield from _leaves(verb, f"{words} {name}", (*chain, verb))
