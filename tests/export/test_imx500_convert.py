"""The whole way to the sensor: with stand-ins for Sony's tools, and with the tools themselves."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picosam_sdk.backends.onnx import OnnxBackend
from picosam_sdk.cli import imx500
from picosam_sdk.errors import InputError, ModelError, UnavailableError
from picosam_sdk.export.calibration import Crops
from picosam_sdk.export.imx500 import Conversion, convert
from picosam_sdk.export.imx500_inspect import inspect_file
from picosam_sdk.export.imx500_package import package
from picosam_sdk.export.imx500_tools import VENV_VARIABLE, Tools, find_tools
from picosam_sdk.modelcard import DEFAULT_MODEL, ModelCard
from picosam_sdk.testing.imx500.rpk import build_rpk
from tests.export import fake_mct
from tests.export.conftest import Trio
from tests.export.test_imx500_inspect import pack
from tests.export.test_imx500_tools import IN_BYTES, UNKNOWN_OPERATOR, program

REAL_TOOLS = os.environ.get(VENV_VARIABLE)
MakeTrio = Callable[[str], Trio]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Stand-ins: our script's work is imitated, the converter copies prepared files."""
    folder = tmp_path / "tools"
    path = f"{os.environ['PATH']}{os.pathsep}{folder / 'path'}"
    monkeypatch.setenv("PATH", path)
    program(folder / "path" / "java", "echo 'openjdk version \"17.0.15\"' >&2")
    script = Path(fake_mct.__file__)
    python = program(folder / "bin" / "python", f'exec "{sys.executable}" "{script}" "$@"')
    pack(folder / "packerOut.zip")
    (folder / "report.json").write_text(IN_BYTES)
    converter = program(
        folder / "bin" / "imxconv-pt",
        f"""while [ $# -gt 0 ]; do case "$1" in
-i) name=$(basename "$2" .onnx) ;; -o) out=$2 ;; --memory-report) only=1 ;; esac; shift; done
mkdir -p "$out"; cp "{folder}/report.json" "$out/${{name}}_MemoryReport.json"
[ -n "$only" ] || cp "{folder}/packerOut.zip" "$out"
""",
    )
    return Tools(python, converter)


@pytest.fixture
def packager(tools: Tools, tmp_path: Path) -> Path:
    """A stand-in for imx500-package on PATH."""
    build_rpk(DEFAULT_MODEL, tmp_path / "made.rpk")
    where = tools.python.parent.parent / "path" / "imx500-package"
    return program(where, f'cp "{tmp_path}/made.rpk" "$4/network.rpk"; test -f "$2"')


def run_cli(*words: str | Path) -> int:
    """``picosam imx500 ...`` without the other commands."""
    parser = argparse.ArgumentParser()
    imx500.add_parser(parser.add_subparsers())
    args = parser.parse_args(["imx500", *map(str, words)])
    return int(args.run(args))


def converted(trio: Trio, photos: Path, tools: Tools, out: Path, **options: Any) -> Conversion:
    options = {"name": "lite", "samples": 8, "say": lambda _: None, **options}
    model = options.pop("model", trio.float32)
    return convert(model, out, [photos], tools, **options)


def test_weights_become_a_packed_network_and_its_twin(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path, crops: tuple[Crops, Crops]
) -> None:
    lite = trio("lite")
    done = converted(lite, photos, tools, tmp_path / "out", model=lite.weights)
    assert done.memory.fits
    assert done.network is None
    assert done.packed is not None
    assert inspect_file(done.packed).name == "lite"
    card = ModelCard.read(done.twin)  # checks the hash
    assert (card.quantization, card.network, card.crop.square) == ("int8", "lite", False)
    assert card.metrics["imx500_memory"]["used"] == 1_766_848
    assert card.metrics["against_float"]["mask_iou"] == done.agreement.mask_iou > 0.5
    backend = OnnxBackend(done.twin)
    logits, iou = backend.infer(crops[1].images)
    assert logits.shape == crops[1].images.shape[:3]
    assert np.isfinite(iou).all()
    backend.close()
    assert ModelCard.read(done.float_model).quantization == "float32"


def test_the_report_alone_packs_nothing(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path
) -> None:
    done = converted(trio("lite"), photos, tools, tmp_path / "out", report_only=True)
    assert done.packed is None
    assert not (tmp_path / "out" / "packerOut.zip").exists()


def test_a_network_that_does_not_fit_is_an_error(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path
) -> None:
    report = tools.python.parent.parent / "report.json"
    report.write_text(IN_BYTES.replace("1766848B", "9000000B").replace("true", "false", 1))
    with pytest.raises(ModelError, match=r"fits into 8\.00 MB .* needs 8\.58 MB"):
        converted(trio("lite"), photos, tools, tmp_path / "out")


def test_the_converters_error_is_passed_on(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path
) -> None:
    program(tools.converter, f"printf '%s' '{UNKNOWN_OPERATOR}'; exit 2")
    with pytest.raises(ModelError, match=r"imxconv-pt .* \[USOP\] .*DepthToSpace") as caught:
        converted(trio("lite"), photos, tools, tmp_path / "out")
    log = tmp_path / "out" / "work" / "imxconv.log"
    assert str(log) in caught.value.hint
    assert "DepthToSpace" in log.read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'expected a network that the sensor can run, got x'; exit 3", "got x"),
        ("echo Traceback; echo 'RuntimeError: no'; exit 1", "status 1: RuntimeError: no"),
        ("exit 0", "status 0: nothing"),
    ],
)
def test_a_failed_quantization_is_an_error(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path, script: str, said: str
) -> None:
    program(tools.python, script)
    with pytest.raises(ModelError, match=said):
        converted(trio("lite"), photos, tools, tmp_path / "out")


def test_a_twin_that_differs_is_an_error(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path
) -> None:
    real = tools.python.read_text().splitlines()[1]
    program(
        tools.python, f'case "$*" in *compare*) echo \'{{"logits": 0.25}}\' ;; *) {real} ;; esac'
    )
    with pytest.raises(ModelError, match="bit for bit, got differences"):
        converted(trio("lite"), photos, tools, tmp_path / "out")


def test_another_kind_of_file_is_refused(photos: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected weights \(\.pt\) or a model \(\.onnx\)"):
        convert(tmp_path / "x.txt", tmp_path / "out", [photos], tools)


def test_on_a_raspberry_pi_it_goes_on_to_the_network_file(
    trio: MakeTrio, photos: Path, tools: Tools, packager: Path, tmp_path: Path
) -> None:
    done = converted(trio("lite"), photos, tools, tmp_path / "out")
    assert done.network == tmp_path / "out" / "network.rpk"
    card = ModelCard.read(done.network)
    assert (card.name, card.quantization) == ("lite-imx500", "int8")
    assert inspect_file(done.network).card.startswith("lite-imx500")


def test_packaging_elsewhere_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="imx500-package") as caught:
        package(tmp_path)
    assert "apt install imx500-tools" in caught.value.hint


def test_packaging_another_folder_is_an_error(packager: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"packerOut\.zip and one \*-imx500\.onnx"):
        package(tmp_path)


def test_a_failed_packager_is_an_error(
    trio: MakeTrio, photos: Path, tools: Tools, packager: Path, tmp_path: Path
) -> None:
    program(packager, "echo no space left; exit 1")
    with pytest.raises(ModelError, match=r"imx500-package .* status 1: no space left"):
        converted(trio("lite"), photos, tools, tmp_path / "out")


def test_the_command_prints_memory_and_agreement(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv, out = tools.python.parent.parent, tmp_path / "out"
    words = ["convert", trio("lite").float32, "--calibration", photos, "-o", out, "--samples", "8"]
    assert run_cli(*words, "--tools", venv, "--name", "lite") == 0
    text = capsys.readouterr().out
    assert "1.68 MB of 8.00 MB (21%): fits" in text
    assert "INT8 masks against float32 masks on 8 crops" in text
    assert "picosam imx500 package out" in text

    assert run_cli(*words, "--tools", venv, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["memory"]["fits"] is True
    assert report["miou"] is None
    assert Path(report["twin"]).is_file()


def test_the_command_measures_miou_of_both(
    trio: MakeTrio, photos: Path, tools: Tools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", trio("lite").float32, "--calibration", photos, "-o", tmp_path / "out",
             "--samples", "8", "--tools", tools.python.parent.parent]  # fmt: skip
    with pytest.raises(InputError, match="got only --images"):
        run_cli(*words, "--images", photos)
    annotations = photos / "instances.json"
    assert run_cli(*words, "--images", photos, "--annotations", annotations, "--json") == 0
    miou = json.loads(capsys.readouterr().out)["miou"]
    assert set(miou) == {"float32", "int8"}
    assert all(0 <= value <= 1 for value in miou.values())


def test_the_command_inspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack(tmp_path / "packerOut.zip")
    assert run_cli("inspect", path) == 0
    assert "packed network lite, converter 3.19.1" in capsys.readouterr().out
    assert run_cli("inspect", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["inputs"][0]["shape"] == [3, 96, 96]


if REAL_TOOLS:

    def test_sonys_tools_take_the_network(trio: MakeTrio, photos: Path, tmp_path: Path) -> None:
        """The real chain: quantized, equal to its twin bit for bit, packed, and it fits."""
        lite, tools = trio("lite"), find_tools(Path(REAL_TOOLS))
        done = converted(lite, photos, tools, tmp_path / "out", model=lite.weights)
        assert done.memory.fits
        assert done.memory.used < 2 * 1024**2
        assert done.agreement.mask_iou > 0.8
        assert done.packed is not None
        found = inspect_file(done.packed)
        assert found.inputs[0].shape == (3, 96, 96)
        assert (found.inputs[0].scale, found.inputs[0].signed) == (1.0, False)  # bytes as they are
        assert [tensor.shape for tensor in found.outputs] == [(1, 96, 96), (1, 1, 1)]
        shutil.rmtree(tmp_path / "out")  # nothing of Sony's stays behind
