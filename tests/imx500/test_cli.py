"""picosam parity and picosam doctor, on the emulated camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from picosam_sdk import InputError, Segmenter, UnavailableError
from picosam_sdk.backends.imx500 import probe
from picosam_sdk.cli import doctor, imx500_settle, parity
from picosam_sdk.cli.main import main
from picosam_sdk.testing.imx500 import EmulatedImx500

Plug = Callable[..., tuple[EmulatedImx500, Path]]


def run(verb: Any, capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    args = parser.parse_args([verb.__name__.rsplit(".", 1)[-1], *map(str, words)])
    code = args.run(args)
    return code, capsys.readouterr().out


def test_sensor_and_host_give_the_same_masks_of_the_sample_photographs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out = run(parity, capsys, "--json", "--min-iou", "0.9")
    report = json.loads(out)
    assert code == 0, out
    assert report["mean_iou"] > 0.95
    assert report["min_iou"] > 0.85
    assert len(report["masks"]) >= 3
    assert {"photo", "roi", "scores", "iou"} <= set(report["masks"][0])


def test_a_photo_of_ones_own_and_a_bound(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    words = (photos / "coffee.jpg", "--roi", "171,16,240,293")
    code, out = run(parity, capsys, *words)
    assert code == 0
    assert "onnx against imx500-emulated" in out
    assert "mean IoU 0.9" in out
    code, _ = run(parity, capsys, *words, "--min-iou", "1.01")
    assert code == 1


def test_live_parity(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    words = ("--live", photos / "coffee.jpg", "--frames", "3", "--json")
    code, out = run(parity, capsys, *words)
    report = json.loads(out)
    assert code == 0
    assert report["min_iou"] > 0.95
    assert len(report["masks"]) == 3
    assert report["masks"][0]["transposed_iou"] < report["masks"][0]["iou"]


def test_doctor_shows_the_sensors_surroundings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(doctor, capsys, "--json")
    sensor = json.loads(out)["sensor"]
    assert code == 0
    assert sensor["cameras"] == []
    assert sensor["picamera2"]
    assert json.loads(out)["backends"]["imx500-emulated"] == "available"
    _, out = run(doctor, capsys)
    assert "\nsensor\n" in out


def test_doctor_opens_the_sensor(
    capsys: pytest.CaptureFixture[str], plugged: Plug, tmp_path: Path
) -> None:
    device, network = plugged()
    code, out = run(doctor, capsys, "--json", "--sensor", network)
    sensor = json.loads(out)["sensor"]
    assert code == 0
    assert sensor["description_bytes"] == 712
    assert sensor["stats"]["state"] == "streaming"
    assert sensor["first_mask"]["dnn"] == 8.0
    _, out = run(doctor, capsys, "--json", "--sensor", tmp_path / "no.rpk")
    assert "no.rpk" in json.loads(out)["sensor"]["problem"]
    assert device.driver.starts == 1


def test_why_a_sensor_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "emulated", lambda: False)
    assert "no Raspberry Pi AI Camera" in probe.problem()
    device = tmp_path / "v4l-subdev2" / "device"
    (device / "driver").mkdir(parents=True)
    (device / "driver" / "module").symlink_to("../../module/imx500")
    (device / "of_node").symlink_to("../../firmware/devicetree/base/axi/i2c@88000/imx500@1a")
    monkeypatch.setattr(probe, "_VIDEO", tmp_path)
    assert probe.cameras() == ["/base/axi/i2c@88000/imx500@1a"]
    assert probe.problem() == ""


def test_backend_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picosam_sdk.backends.imx500.backend.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="picamera2 is not installed"):
        Segmenter("imx500", model="network.rpk")


def test_the_network_must_be_given(plugged: Plug) -> None:
    plugged()
    with pytest.raises(InputError, match="expected the option model"):
        Segmenter("imx500")


def test_parity_is_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["parity", "--help"])
    assert stop.value.code == 0
    assert "--live" in capsys.readouterr().out


def test_calibrate_settle(capsys: pytest.CaptureFixture[str], plugged: Plug) -> None:
    import argparse

    _, network = plugged(roi_delay=3)
    parser = argparse.ArgumentParser()
    imx500_settle.add_action(parser.add_subparsers())
    words = ["calibrate-settle", str(network), "--changes", "2", "--frames", "10"]
    assert imx500_settle.calibrate(parser.parse_args([*words, "--json"])) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["delays"] == [3, 3]
    assert report["settle_frames"] == 4
    assert imx500_settle.calibrate(parser.parse_args([*words, "--masks"])) == 0
    assert "settle_frames=4" in capsys.readouterr().out
