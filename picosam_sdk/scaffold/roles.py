"""What a new package can be asked to bring, and the lines that this takes in its files."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROLES", "Role"]


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the templates need it.

    Args:
        name: "publisher"; its hook is ``picosam_<name>s``, its template ``<name>.py.tmpl``.
        base: the SDK's class.
        suffix: how the name of the new class ends.
        table: its lines in an example of a configuration.
        usual: the lines that stand there in a package without the role.
        use: how a user asks for it, for the README.
    """

    name: str
    base: str
    suffix: str
    table: str
    usual: str
    use: str


_ALL = (
    Role(
        "camera", "Camera", "Camera",
        table='[camera]\nkind = "$kind"\nframes = 100\n',
        usual='[camera]\nkind = "synthetic"\nframes = 100\n',
        use='the camera `[camera] kind = "$kind"`',
    ),
    Role(
        "backend", "Backend", "Backend",
        table='[segmenter]\nbackend = "$kind"\n',
        usual="",
        use='the backend `Segmenter("$kind")`',
    ),
    Role(
        "roi_source", "RoiSource", "Source",
        table='[[roi]]\nkind = "$kind"\nport = 5055\n',
        usual='[[roi]]\nkind = "fixed"\nbox = [0.25, 0.25, 0.5, 0.5]\n',
        use='the ROI source `[[roi]] kind = "$kind"`',
    ),
    Role(
        "mask_filter", "MaskFilter", "Filter",
        table='[[filter]]\nkind = "$kind"\nmin_area = 0.001\n',
        usual="",
        use='the mask filter `[[filter]] kind = "$kind"`',
    ),
    Role(
        "publisher", "Publisher", "Publisher",
        table='[[publish]]\nkind = "$kind"\npath = "$kind.csv"\n',
        usual='[[publish]]\nkind = "print"\n',
        use='the publisher `[[publish]] kind = "$kind"`',
    ),
    Role(
        "command", "Command", "",
        table="",
        usual="",
        use="the command `picosam $kind`",
    ),
)  # fmt: skip

ROLES: dict[str, Role] = {role.name: role for role in _ALL}
"""By name, in the order in which their tables stand in a configuration."""
