"""Writes a new plugin package, with tests that pass: what ``picosam plugins new`` does."""

from picosam_sdk.scaffold.names import Names, names_of
from picosam_sdk.scaffold.package import write_package
from picosam_sdk.scaffold.roles import ROLES

__all__ = ["ROLES", "Names", "names_of", "write_package"]
