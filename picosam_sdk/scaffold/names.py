"""From the name of a package to the names of what is in it."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass

from picosam_sdk.errors import InputError

__all__ = ["Names", "names_of"]

_PROJECT = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE | re.ASCII)
"""Names of packages after PEP 508."""

_KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a package and the things in it are called.

    Args:
        project: what the user installs: "picosam-opc-ua".
        module: what Python imports: "picosam_opc_ua".
        kind: what the user writes as ``kind``, or as the verb: "opc-ua".
        prefix: how its classes' names begin: "OpcUa".
    """

    project: str
    module: str
    kind: str
    prefix: str


def names_of(project: str) -> Names:
    """The names that follow from a package's name.

    Raises:
        InputError: it is no name of a package, or none that can be imported; or its module would
            hide one that is there.
    """
    if not _PROJECT.fullmatch(project):
        raise InputError(
            f"expected the name of a package (letters, digits, '-', '_' and '.', the first and "
            f"the last a letter or digit), got {project!r}",
            hint="Take a name such as picosam-acme.",
        )
    normal = re.sub(r"[-_.]+", "-", project).lower()
    module = normal.replace("-", "_")
    kind = normal.removeprefix("picosam-")
    if not module.isidentifier() or keyword.iskeyword(module) or not _KIND.fullmatch(kind):
        raise InputError(
            f"expected a name that begins with a letter and is no word of Python's own, "
            f"got {project!r}",
            hint="Take a name such as picosam-acme.",
        )
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise InputError(
            f"expected a name whose module '{module}' is not there yet, got {project!r}",
            hint=f"Take another name, such as {_another(normal)}.",
        )
    prefix = "".join(word.capitalize() for word in kind.split("-"))
    return Names(project, module, kind, prefix)


def _another(normal: str) -> str:
    return f"{normal}-2" if normal.startswith("picosam-") else f"picosam-{normal}"
