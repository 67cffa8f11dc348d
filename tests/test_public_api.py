"""The public names: sorted, importable, documented; the errors drawn in their docstring."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version

import pytest

import picosam_sdk
from picosam_sdk import errors

NAMES = picosam_sdk.__all__


def test_names_are_sorted_and_unique() -> None:
    assert sorted(set(NAMES)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_name_is_importable_and_documented(name: str) -> None:
    value = getattr(picosam_sdk, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"{name} has no docstring"
        assert value.__module__.startswith("picosam_sdk.")


def test_nothing_public_is_left_out_of_all() -> None:
    public = {
        name
        for name, value in vars(picosam_sdk).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(NAMES)


def test_version_is_that_of_the_package() -> None:
    assert picosam_sdk.__version__ == version("picosam-sdk")


def test_every_error_is_public_and_can_hint() -> None:
    assert set(errors.__all__) <= set(NAMES)
    for name in errors.__all__:
        cls = getattr(errors, name)
        assert issubclass(cls, errors.PicoSamError)
    assert errors.PicoSamError("message", hint="Do it.").hint == "Do it."
    assert "picosam-sdk[train]" in errors.MissingExtraError("torch", "train").hint


def test_docstring_draws_the_tree_of_errors() -> None:
    drawn: list[tuple[int, str]] = re.findall(  # (column of the name, name)
        r"^( *(?:[│├└─ ]*))(\w+Error)", errors.__doc__ or "", flags=re.MULTILINE
    )
    assert sorted(name for _, name in drawn) == sorted(errors.__all__)
    path: list[tuple[int, str]] = []
    for indent, name in drawn:
        while path and path[-1][0] >= len(indent):
            path.pop()
        parent = path[-1][1] if path else "Exception"
        bases = [base.__name__ for base in getattr(errors, name).__bases__]
        assert parent in bases, f"{name} is drawn below {parent}, its bases are {bases}"
        path.append((len(indent), name))
