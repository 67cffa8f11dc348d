"""What ``picosam preview SOURCE`` looks at, as a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picosam_sdk import InputError, app
from picosam_sdk.config import from_mapping
from picosam_sdk.settings import AppConfig, EgressRule, PublishTable, RoiTable
from picosam_web.state import picture_grant

__all__ = ["Look", "configuration", "parse_place"]

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
_PHOTO_FPS, _PHOTO_S = 10.0, 5
_FORMS = (
    "a webcam's number, a video, a photo or a folder of them, 'photos' (those of the SDK), "
    "'synthetic', 'emulated' (the AI Camera without one), a network.rpk (the AI Camera), "
    "rtsp://..., or a picosam.toml"
)


@dataclass(frozen=True, slots=True)
class Look:
    """What the command line says.

    Args:
        source: see :func:`configuration`.
        web: keys of the page's own table.
        picture: whether the page is granted the picture; None leaves that to a picosam.toml.
        follow: whether what was prompted is followed; None decides by the source.
        roi, point: what to look at from the start.
    """

    source: str
    web: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    picture: bool | None = None
    follow: bool | None = None
    roi: tuple[float, ...] | None = None
    point: tuple[float, ...] | None = None


def configuration(look: Look) -> AppConfig:
    """A configuration with the page as its only publisher.

    Raises:
        InputError: nothing is known of that name.
        ConfigError: a picosam.toml cannot be used.
    """
    if look.source.endswith(".toml"):
        return _of_file(look)
    camera, backend, moves = _camera(look.source)
    raw: dict[str, Any] = {
        "device": {"name": "preview"},
        "segmenter": backend,
        "roi": _chain(look, moves),
        "publish": [_page(look, {}, EgressRule())],
        "run": {"status_s": 0},
    }
    return from_mapping(raw if camera is None else {**raw, "camera": camera}, AppConfig)


def parse_place(text: str, count: int) -> tuple[float, ...]:
    """Numbers with commas, as shares of the view, or in percent with a trailing ``%``.

    Raises:
        ValueError: there are not so many, or they lie outside the view.
    """
    percent = text.rstrip().endswith("%")
    numbers = [float(part) / (100 if percent else 1) for part in text.replace("%", "").split(",")]
    if len(numbers) != count or not all(0 <= number <= 1 for number in numbers):
        raise ValueError("outside")
    return tuple(numbers)


def _camera(source: str) -> tuple[dict[str, Any] | None, dict[str, Any], bool]:
    """Tables [camera] and [segmenter], and whether things move there."""
    onnx = {"backend": "onnx"}
    path = Path(source).expanduser()
    if source.isdecimal() or source.startswith("/dev/"):
        device: Any = int(source) if source.isdecimal() else source
        return {"kind": "webcam", "device": device}, onnx, True
    if source.startswith(("rtsp://", "rtsps://")):
        return {"kind": "rtsp", "url": source}, onnx, True
    if source == "synthetic":
        return {"kind": "synthetic"}, onnx, True
    if source in ("emulated", "imx500-emulated"):
        return None, {"backend": "imx500-emulated"}, True
    if source.endswith(".rpk"):
        return None, {"backend": "imx500", "model": str(path.absolute())}, True
    if source == "photos" or path.is_dir() or path.suffix.lower() in _PHOTOS:
        where = {} if source == "photos" else {"path": str(path.absolute())}
        photos = {"kind": "photos", "fps": _PHOTO_FPS, "repeat": round(_PHOTO_FPS * _PHOTO_S),
                  "loop": True}  # fmt: skip
        return photos | where, onnx, False
    if path.is_file():
        return {"kind": "video", "path": str(path.absolute()), "loop": True}, onnx, True
    raise InputError(
        f"expected {_FORMS}, got '{source}'",
        hint="Check the path, or try: picosam preview synthetic --picture",
    )


def _chain(look: Look, moves: bool) -> list[dict[str, Any]]:
    """Where to look: what the page says; what is followed; what the command line says."""
    follow = moves if look.follow is None else look.follow
    # Long enough for a sensor to find the object, which is then followed.
    chain = [{"kind": "manual", "max_age_s": 1.0 if follow else 0.0}]
    if follow:
        chain.append({"kind": "follow"})
    if look.roi is not None:
        chain.append({"kind": "fixed", "box": list(look.roi)})
    if look.point is not None:
        chain.append({"kind": "point", "point": list(look.point)})
    return chain


def _page(look: Look, options: Mapping[str, Any], rule: EgressRule) -> dict[str, Any]:
    """The page's table: what a file says, and over it what the command line says."""
    picture = bool(options.get("picture")) if look.picture is None else look.picture
    table = {**options, **look.web, "kind": "web", "queue": 2, "picture": picture}
    if "token" in options:
        table["token"] = options["token"]
    egress = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    grants = [grant for grant in rule.grants if picture or grant == "gaze"]
    if picture and not picture_grant(rule):
        grants.append("pixels")  # whoever typed --picture has granted it
    egress |= {"grants": grants, "purpose": rule.purpose or "looking at it in a browser",
               "kept": rule.kept or "not at all", "windows": list(rule.windows),
               "privacy_masks": [list(zone) for zone in rule.privacy_masks]}  # fmt: skip
    return {**table, "egress": egress}


def _of_file(look: Look) -> AppConfig:
    """A picosam.toml, as it is, but with the page alone to publish to."""
    config = app.load(look.source)
    pages = [table for table in config.publish if table.kind == "web"]
    options, rule = (pages[0].options, pages[0].egress) if pages else ({}, EgressRule())
    page = from_mapping(_page(look, options, rule), PublishTable, "publish[0].")
    chain = config.roi
    if not any(table.kind == "manual" for table in chain):
        chain = (RoiTable(kind="manual", options={"max_age_s": 0.0}), *chain)
    if look.roi is not None or look.point is not None:
        extra = _chain(dataclasses.replace(look, follow=False), moves=False)[1:]
        chain = (chain[0], *(from_mapping(table, RoiTable, "roi.") for table in extra))
    return dataclasses.replace(config, publish=(page,), roi=chain)
