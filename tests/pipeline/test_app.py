"""From a file to parts: what is wrong is named by its key, and nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from picosam_sdk import (
    Camera,
    ConfigError,
    Frame,
    PluginError,
    Plugins,
    Publisher,
    Result,
    Roi,
    RoiSource,
    UnknownPluginError,
    app,
    hookimpl,
)
from picosam_sdk.config import Secret, check, from_mapping
from picosam_sdk.interfaces import Context
from picosam_sdk.settings import AppConfig
from tests.fakes import RedPlugin

MINIMAL = """
[camera]
kind = "acme"
[segmenter]
backend = "red"
[[roi]]
kind = "middle"
"""


@dataclass(frozen=True)
class Tls:
    ca: Path | None = None


@dataclass(frozen=True)
class SendConfig:
    port: int = 1
    path: Path = Path("-")
    password: Secret = Secret()
    tls: Tls = Tls()
    files: tuple[Path, ...] = ()
    fault: str = ""

    def __post_init__(self) -> None:
        check(self.port > 0, "port", "a port", self.port)


class AcmeCamera(Camera):
    name: ClassVar[str] = "acme"

    def open(self) -> None:
        raise AssertionError("a part must not be opened here")

    def read(self, timeout_s: float) -> Frame | None:
        return None


class Middle(RoiSource):
    name: ClassVar[str] = "middle"

    def latest(self, now_ns: int) -> Roi:
        return Roi(0.3, 0.3, 0.4, 0.4)


class Send(Publisher):
    name: ClassVar[str] = "send"
    Config = SendConfig

    def __init__(self, config: SendConfig, context: Context) -> None:
        super().__init__(config, context)
        if config.fault == "config":
            raise ConfigError("fault: expected none, got 'config'", hint="Leave it out.")
        if config.fault == "other":
            raise ZeroDivisionError("nothing to divide")

    def publish(self, result: Result) -> int | None:
        return None


class NoDataclass(Publisher):
    name: ClassVar[str] = "plain"
    Config = dict

    def publish(self, result: Result) -> int | None:
        return None


class AcmePlugin:
    @staticmethod
    @hookimpl
    def picosam_cameras() -> list[type[Camera]]:
        return [AcmeCamera]

    @staticmethod
    @hookimpl
    def picosam_roi_sources() -> list[type[RoiSource]]:
        return [Middle]

    @staticmethod
    @hookimpl
    def picosam_publishers() -> list[type[Publisher]]:
        return [Send, NoDataclass]


@pytest.fixture
def plugins() -> Plugins:
    plugins = Plugins(discover=False)
    plugins.register(RedPlugin(), "red")
    plugins.register(AcmePlugin(), "acme")
    return plugins


def write(folder: Path, text: str) -> Path:
    path = folder / "picosam.toml"
    path.write_text(text)
    return path


def parts_of(tmp_path: Path, plugins: Plugins, more: str = "", text: str = MINIMAL) -> app.Parts:
    return app.make_parts(app.load(write(tmp_path, text + more)), plugins)


def test_parts_know_their_tables_keys_and_context(tmp_path: Path, plugins: Plugins) -> None:
    parts = parts_of(
        tmp_path, plugins,
        '[device]\nname = "desk"\n[[publish]]\nkind = "send"\nport = 5\nqueue = 3\n'
        '[[publish]]\nkind = "send"\n[[publish]]\nkind = "send"\nname = "far"\n',
    )  # fmt: skip
    assert parts.camera is not None
    assert isinstance(parts.camera.part, AcmeCamera)
    assert [placed.key for placed in parts.publishers] == [f"publish[{i}]" for i in range(3)]
    assert [placed.name for placed in parts.publishers] == ["send", "send-2", "far"]
    assert parts.publishers[0].table.queue == 3
    assert parts.publishers[0].part.config.port == 5
    assert parts.rois[0].key == "roi[0]"
    assert parts.context.device == "desk"
    assert parts.context.session
    assert {placed.part.context.session for placed in parts.publishers} == {parts.context.session}
    assert not parts.is_sensor
    assert parts_of(tmp_path, plugins).context.session != parts.context.session


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[[publish]]\nkind = "send"\nprot = 1', r"publish\[0\]\.prot: unknown key; did you mean"),
        ('[[publish]]\nkind = "send"\nport = "1"', r"publish\[0\]\.port: expected int, got str"),
        ('[[publish]]\nkind = "send"\nport = 0', r"publish\[0\]\.port: expected a port, got 0"),
        ('[[publish]]\nkind = "send"\ntls = { ca = 1 }', r"publish\[0\]\.tls\.ca: expected Path"),
        ('[[publish]]\nkind = "send"\nfault = "config"', r"publish\[0\]\.fault: expected none"),
        ('[[publish]]\nkind = "send"\nqueue = 0', r"publish\[0\]\.queue: expected"),
        ('[[roi]]\nkind = "middle"\nspeed = 1', r"roi\[1\]\.speed: unknown key"),
        ('[[publish]]\nkind = "send"\nname = "a"\n' * 2, r"publish\[1\]\.name: expected a name of"),
        ('[devise]\nname = "a"', r"devise: unknown key; did you mean 'device'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, plugins: Plugins, more: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parts_of(tmp_path, plugins, more)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (MINIMAL.replace("acme", "acne"), UnknownPluginError, r"camera\.kind: .*did you mean 'acm"),
        (MINIMAL.replace('"red"', '"rde"'), UnknownPluginError, r"segmenter\.backend: .*'red'\?"),
        (MINIMAL.replace("middle", "x"), UnknownPluginError, r"roi\[0\]\.kind: expected a ROI"),
        ('[segmenter]\nbackend = "red"', ConfigError, "camera: expected a .camera. for the back"),
        (MINIMAL.split("[[roi]]")[0], ConfigError, "roi: expected at least one"),
        (MINIMAL.replace("red", "imx500"), ConfigError, r"camera: expected no .*is one itself"),
    ],
)
def test_tables_that_do_not_fit(
    tmp_path: Path, plugins: Plugins, text: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        parts_of(tmp_path, plugins, text=text)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "send"\nfault = "other"', r"publish\[0\]: .*ZeroDivisionError"),
        ('kind = "plain"', r"publish\[0\]: expected a dataclass as NoDataclass\.Config"),
    ],
)
def test_a_part_that_cannot_be_made_is_a_plugin_error(
    tmp_path: Path, plugins: Plugins, table: str, message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        parts_of(tmp_path, plugins, f"[[publish]]\n{table}")


def test_options_of_the_backend_are_checked_against_its_constructor(
    tmp_path: Path, plugins: Plugins
) -> None:
    def with_options(options: str, backend: str = "red") -> app.Parts:
        text = MINIMAL.replace('backend = "red"', f'backend = "{backend}"\n{options}')
        if backend.startswith("imx500"):
            text = text.replace('[camera]\nkind = "acme"\n', "")
        return parts_of(tmp_path, plugins, text=text)

    assert with_options("padding = 1").backend_options == {"padding": 1.0}
    with pytest.raises(ConfigError, match=r"segmenter\.pading: unknown key; did you mean"):
        with_options("pading = 1")
    with pytest.raises(ConfigError, match=r"segmenter\.square: expected bool, got int"):
        with_options("square = 1")
    assert with_options('model = "m.onnx"', "onnx").backend_options == {
        "model": tmp_path / "m.onnx"
    }
    with pytest.raises(ConfigError, match=r"segmenter\.model: expected a value, got none"):
        with_options("", "imx500")
    parts = with_options('scene = "a.jpg"\nsize_px = [507, 380]', "imx500-emulated")
    assert parts.backend_options == {"scene": "a.jpg", "size_px": (507, 380), "frames": False}
    assert parts.is_sensor
    assert parts.camera is None


def test_relative_paths_start_at_the_file(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    write(
        tmp_path / "conf",
        MINIMAL + '[policy]\naudit_log = "audit.jsonl"\n[[publish]]\nkind = "send"\n'
        'path = "out.jsonl"\nfiles = ["a", "/b"]\npassword = { file = "pw" }\n'
        'tls = { ca = "ca.pem" }\n[[publish]]\nkind = "send"\n',
    )
    monkeypatch.chdir(tmp_path)
    config = app.load("conf/picosam.toml")
    monkeypatch.chdir("/")
    folder = tmp_path / "conf"
    assert config.policy.audit_log == folder / "audit.jsonl"
    sent, plain = (placed.part.config for placed in app.make_parts(config, plugins).publishers)
    assert sent.path == folder / "out.jsonl"
    assert sent.files == (folder / "a", Path("/b"))
    assert sent.password == Secret(file=folder / "pw")
    assert sent.tls.ca == folder / "ca.pem"
    assert plain.path == Path("-")  # standard output, not a file


def test_a_configuration_made_in_python_needs_no_file(plugins: Plugins) -> None:
    marker = object()
    raw: dict[str, Any] = {
        "camera": {"kind": "acme"},
        "segmenter": {"backend": "imx500-emulated", "device": marker},
        "roi": [{"kind": "middle"}],
    }
    del raw["camera"]
    parts = app.make_parts(from_mapping(raw, AppConfig), plugins)
    assert parts.backend_options == {"device": marker, "frames": False}


@pytest.mark.parametrize(
    ("grants", "frames"), [("", False), ('"gaze"', False), ('"cutout"', True), ('"pixels"', True)]
)
def test_a_sensor_sends_pictures_only_if_somebody_is_granted_some(
    tmp_path: Path, plugins: Plugins, grants: str, frames: bool
) -> None:
    text = '[segmenter]\nbackend = "imx500-emulated"\n[[roi]]\nkind = "middle"\n'
    more = f'[[publish]]\nkind = "send"\negress = {{ grants = [{grants}] }}\n'
    assert parts_of(tmp_path, plugins, text + more, "").backend_options["frames"] is frames
    told = text.replace('emulated"', 'emulated"\nframes = true')
    assert parts_of(tmp_path, plugins, told + more, "").backend_options["frames"] is True


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is not there") as caught:
        app.load(tmp_path / "none.toml")
    assert f"picosam config init {tmp_path}/none.toml" in caught.value.hint
