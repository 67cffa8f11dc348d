"""The benchmarks run and say what they promise; what they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.goals import check_goals
from benchmarks.growth import judge
from benchmarks.pipelines import mosquitto
from benchmarks.roofline import node_macs
from benchmarks.tables import tables, write_into
from benchmarks.timing import race

ROOT = Path(__file__).parents[1]


def run(*arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stderr
    return done


def report_of(tmp_path: Path, *parts: str) -> dict[str, Any]:
    path = tmp_path / "report.json"
    run("benchmarks/run.py", "--quick", "--only", *parts, "--json", str(path),
        "--plot", str(tmp_path / "plot.png"))  # fmt: skip
    return dict(json.loads(path.read_text()))


@pytest.mark.parametrize("script", ["run", "growth", "measured_run", "int8_vs_float"])
def test_help(script: str) -> None:
    assert "usage" in run(f"benchmarks/{script}.py", "--help").stdout


@pytest.mark.parametrize(
    "words",
    [("run", "--from", "nope.json"), ("run", "--quick", "--only", "peers", "--data", "nope"),
     ("int8_vs_float", "--models", "nope.onnx", "nope.onnx")],
)  # fmt: skip
def test_a_file_that_is_not_there_is_one_line(words: tuple[str, ...]) -> None:
    script, *rest = words
    done = run(f"benchmarks/{script}.py", *rest, expected=2)
    assert "expected" in done.stderr
    assert "nope" in done.stderr
    assert "Traceback" not in done.stderr


def test_path_roofline_and_peers(tmp_path: Path) -> None:
    report = report_of(tmp_path, "path", "roofline", "peers")

    assert {"cpu", "features", "cores", "ram_gb", "python", "versions"} <= report["machine"].keys()
    rows = report["path"]["rows"]
    assert {row["network"] for row in rows} == {"int8", "float32"}
    assert {row["batch"] for row in rows} == {1, 4, 16}
    for row in rows:
        stages = sum(row[f"{name}_ms"] for name in ("crop", "network", "mask", "encode", "paste"))
        assert stages > row["network_ms"] > 0
    for network in report["roofline"]["networks"].values():
        # what runs is at least the network itself, but for the rounding of its own count
        assert network["macs_run"] > 0.95 * network["macs"]
        assert sum(row["time_share"] for row in network["operators"]) == pytest.approx(1)
        assert network["share"] > 0
    names = [row["name"] for row in report["peers"]["rows"]]
    assert names[0] == "PicoSAM3, int8"
    assert any("GrabCut" in name for name in names)
    assert any(text.startswith("a SAM") for text in report["peers"]["left_out"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert {"must", "aim"} == {row["kind"] for row in report["goals"]}


def test_startup(tmp_path: Path) -> None:
    found = report_of(tmp_path, "startup")["startup"]

    assert found["ms"]["first mask"] > found["ms"]["python alone"]
    assert 20 < found["segment_rss_mb"] < 1000
    assert found["installed_mb"].keys() >= {"picosam-sdk", "numpy", "onnxruntime"}
    assert found["installed_sum_mb"] > found["installed_mb"]["numpy"] > 1


@pytest.mark.skipif(mosquitto() is None, reason="needs mosquitto")
def test_pipelines_tell_rates_and_latency(tmp_path: Path) -> None:
    found = report_of(tmp_path, "pipelines")["pipelines"]

    assert not found["left_out"]
    for row in found["unpaced"][1:]:
        assert row["fps"] > 1
        assert row["cpu"] > 0
    for row in found["paced"]:
        assert row["received"] > 5
        assert 0 < row["latency_p50_ms"] <= row["latency_p99_ms"]


def test_growth_runs_and_judges_what_it_saw() -> None:
    found = json.loads(run("benchmarks/growth.py", "--frames", "150", "--json").stdout)
    assert found["frames"] == 150
    assert found["rss_mb"]["100 %"] > 20


def test_growth_is_seen() -> None:
    def lines(kb_per_frame: float) -> list[dict[str, Any]]:
        return [
            {"frames": n, "rss_kb": 100_000 + kb_per_frame * n, "t_s": n / 100, "threads": 5}
            for n in range(0, 10_001, 100)
        ]

    assert judge(lines(0.0))["ok"]
    leaking = judge(lines(1.0))
    assert not leaking["ok"]
    assert leaking["growth_mb"] == pytest.approx(8.0, abs=0.1)
    assert leaking["slope_kb_per_1000"] == pytest.approx(1000)


@pytest.mark.parametrize(
    ("kind", "output", "constants", "macs", "label"),
    [
        ("Conv", [1, 8, 5, 5], [None, (8, 4, 3, 3), (8,)], 8 * 25 * 36, "Conv, dense"),
        ("QLinearConv", [1, 5, 5, 8], [None, (), (8, 1, 3, 3)], 8 * 25 * 9,
         "QLinearConv, depthwise"),
        ("FusedConv", [2, 8, 5, 5], [None, (8, 4, 1, 1)], 2 * 8 * 25 * 4, "FusedConv, 1 x 1"),
        ("FusedGemm", [3, 7], [None, (11, 7), (7,)], 3 * 7 * 11, "FusedGemm"),
        ("Relu", [1, 8, 5, 5], [None], 0, "Relu"),
    ],
)  # fmt: skip
def test_macs_of_a_node(
    kind: str, output: list[int], constants: Any, macs: int, label: str
) -> None:
    assert node_macs(kind, output, constants) == (macs, label)


def test_race_takes_turns() -> None:
    order: list[str] = []
    times = race({name: lambda n=name: order.append(n) for name in "ab"}, 3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert [len(values) for values in times.values()] == [3, 3]
    assert np.all(np.array(list(times.values())) >= 0)


def test_goals_are_judged_by_the_figures() -> None:
    def met(whole: float, segment: float) -> list[bool]:
        row = {"network": "int8", "threads": 1, "batch": 1, "side_px": 300, "bare_best_ms": 1.0,
               "whole_ratio": whole, "segment_ratio": segment}  # fmt: skip
        rows = [{**row, "side_px": 100, "whole_ratio": 1.0, "segment_ratio": 1.0}, row]
        return [row["met"] for row in check_goals({"path": {"rows": rows}})]

    assert met(1.2, 1.1) == [True, False, True]
    assert met(1.3, 1.2) == [False, False, True]
    assert met(1.3, 1.26) == [False, False, False]
    assert check_goals({}) == []


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    growth = {"frames": 10, "publishers": ["jsonl"], "rss_mb": {"10 %": 1.0}, "growth_mb": 0.5,
              "slope_kb_per_1000": 2.0, "threads": 3}  # fmt: skip
    parts = tables({"growth": growth})
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:growth -->\nold\n<!-- /bench -->\nafter\n")
    for _ in range(2):
        assert write_into(page, {**parts, "path": "| nothing |"}) == ["growth"]
    text = page.read_text()
    assert "old" not in text
    assert text.count("10 frames into jsonl") == 1
    assert text.startswith("before")
    assert text.endswith("after\n")

    page.write_text("<!-- bench:growth -->\n")
    with pytest.raises(ValueError, match="to have its"):
        write_into(page, parts)
