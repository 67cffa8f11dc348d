"""What every part of a pipeline must do; the contracts of the four roles build on it.

A test class says which class it tests, and with which options, as they would stand in the
configuration::

    from picosam_sdk.testing.contract import PublisherContract

    class TestAcme(PublisherContract):
        part = AcmePublisher

        @pytest.fixture
        def options(self, tmp_path):
            return {"path": str(tmp_path / "acme.log")}
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picosam_sdk.config import Secret, from_mapping
from picosam_sdk.errors import ConfigError
from picosam_sdk.interfaces import Context, Part

__all__ = ["PartContract", "eventually"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


class PartContract:
    """Tests of what all parts have in common; inherit the contract of a role instead.

    Attributes:
        part: the class under test.
        wait_s: how long anything that takes its time may take.
    """

    part: ClassVar[type[Part]]
    wait_s: ClassVar[float] = 10.0

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """The part's own keys; override this fixture if it needs some."""
        return {}

    @pytest.fixture
    def context(self) -> Context:
        """What the application shares with the part."""
        return Context(device="contract", session="0123456789abcdef")

    @pytest.fixture
    def make(self, options: Mapping[str, Any], context: Context) -> Iterator[Callable[[], Any]]:
        """A function that constructs a part; all that it made are closed in the end."""
        made: list[Part] = []

        def construct() -> Part:
            settings: Any = from_mapping(options, self.part.Config, "part.")
            made.append(self.part(settings, context))
            return made[-1]

        yield construct
        for part in made:
            part.close()

    @pytest.fixture
    def opened(self, make: Callable[[], Any]) -> Any:
        """A part that is open."""
        part = make()
        part.open()
        return part

    def test_has_a_name_and_a_frozen_configuration(self) -> None:
        assert _NAME.fullmatch(self.part.name), "a name is a word that a user types"
        assert dataclasses.is_dataclass(self.part.Config)
        assert self.part.Config.__dataclass_params__.frozen  # type: ignore[attr-defined]

    def test_an_unknown_key_is_refused(self, options: Mapping[str, Any]) -> None:
        with pytest.raises(ConfigError, match="no_such_key"):
            from_mapping({**options, "no_such_key": 1}, self.part.Config, "part.")

    def test_constructing_opens_nothing(self, make: Callable[[], Any]) -> None:
        # Those of tests before may end meanwhile.
        threads, files = set(threading.enumerate()), _open_files()
        part = make()
        assert set(threading.enumerate()) <= threads
        assert _open_files() <= files
        json.dumps(dict(part.stats))

    def test_may_be_closed_unopened_and_more_than_once(self, make: Callable[[], Any]) -> None:
        part = make()
        part.close()
        part.open()
        part.close()
        part.close()

    def test_leaves_neither_thread_nor_file_behind(self, make: Callable[[], Any]) -> None:
        part = make()
        part.open()  # what its packages start once and for all is no fault of the part
        part.close()
        threads, files = set(threading.enumerate()), _open_files()
        for _ in range(2):
            part.open()
            part.close()
        assert eventually(lambda: set(threading.enumerate()) <= threads, self.wait_s)
        assert eventually(lambda: _open_files() <= files, self.wait_s)

    def test_its_numbers_fit_into_json(self, opened: Any) -> None:
        json.dumps(dict(opened.stats), allow_nan=False)

    def test_no_secret_shows(self, opened: Any) -> None:
        shown = f"{opened.config!r} {opened.config} {dict(opened.stats)}"
        shown += str(getattr(opened, "destination", ""))
        for secret in _secrets(opened.config):
            assert secret not in shown


def eventually(true: Callable[[], bool], wait_s: float) -> bool:
    """Asks again and again until it holds; False if it did not within the time."""
    deadline = time.monotonic() + wait_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _open_files() -> int:
    """How many files and sockets the process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _secrets(config: Any) -> list[str]:
    """What the Secrets of a configuration reveal, in tables below it, too."""
    found: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Secret):
            found += [value.reveal()] if value != Secret() else []
        elif dataclasses.is_dataclass(value):
            found += _secrets(value)
    return [secret for secret in found if secret]
