"""Where the network's time goes, by onnxruntime's profiler, and what share of the limit that is."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.limits import measure_limits
from benchmarks.timing import summary
from picosam_sdk.backends.onnx import OnnxBackend

__all__ = ["measure_roofline", "node_macs"]

_DENSE = {"MatMul", "Gemm", "FusedGemm", "FusedMatMul", "QGemm", "MatMulInteger", "QLinearMatMul",
          "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}  # fmt: skip


def measure_roofline(models: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Profiles each network on one thread, one ROI at a time, beside the machine's limit.

    Returns:
        ``limits``: of :func:`benchmarks.limits.measure_limits`. ``networks``, by name: ``macs``
        (of the network as trained), ``macs_run`` (of the graph that runs), ``weight_bytes``,
        ``activation_bytes``, ``best_ms``, ``compute_floor_ms`` (the macs at the measured peak),
        ``memory_floor_ms`` (weights from memory once, activations through the cache), ``share``
        (the larger floor over the time), and ``operators``: rows with ``ms``, ``nodes``,
        ``macs``, ``gmacs`` and ``time_share``.
    """
    backends = {name: OnnxBackend(path) for name, path in models.items()}
    crops = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
    calls = {name: lambda b=backend: b.infer(crops) for name, backend in backends.items()}
    limits, times = measure_limits(rounds, calls)
    found = {}
    for name, backend in backends.items():
        operators, totals = _profile(models[name], crops, 10 * max(3, rounds // 3))
        best_ms = summary(times[name])["best_ms"]
        kind = "int8" if name == "int8" else "float32"
        compute_ms = backend.card.macs / limits[f"{kind}_gmacs"] / 1e6
        memory = limits["gb_s"]
        memory_ms = totals["weight_bytes"] / memory["memory, copy"] / 1e6
        memory_ms += totals["activation_bytes"] / memory["memory in the cache, copy"] / 1e6
        found[name] = {
            **summary(times[name]),
            "macs": backend.card.macs,
            "macs_run": totals["macs"],
            "weight_bytes": totals["weight_bytes"],
            "activation_bytes": totals["activation_bytes"],
            "compute_floor_ms": compute_ms,
            "memory_floor_ms": memory_ms,
            "share": max(compute_ms, memory_ms) / best_ms,
            "operators": operators,
        }
    return {"limits": limits, "networks": found}


def _profile(path: Path, crops: Any, runs: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Time, macs and bytes by kind of operator, of the graph as onnxruntime has optimised it."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, {"image": crops})
        events = json.loads(Path(session.end_profiling()).read_text())
        model = onnx.load(optimised)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    weight_bytes = sum(
        math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
    )
    nodes = {node.name: node for node in model.graph.node}
    times: dict[str, list[float]] = defaultdict(list)
    facts: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"].removesuffix("_kernel_time")
        times[name].append(event["dur"] / 1000)
        facts[name] = event["args"]
    rows: dict[str, dict[str, Any]] = {}
    totals = {"macs": 0.0, "weight_bytes": float(weight_bytes), "activation_bytes": 0.0}
    for name, values in times.items():
        args = facts[name]
        kind = args["op_name"]
        output = next(iter(args["output_type_shape"][0].values()), [])
        node = nodes.get(name)
        shapes = [] if node is None else [weights.get(item) for item in node.input]
        macs, label = node_macs(kind, output, shapes)
        row = rows.setdefault(label, {"operator": label, "ms": 0.0, "nodes": 0, "macs": 0.0})
        row["ms"] += statistics.median(values)
        row["nodes"] += 1
        row["macs"] += macs
        totals["macs"] += macs
        totals["activation_bytes"] += float(args["activation_size"]) + float(args["output_size"])
    whole_ms = sum(row["ms"] for row in rows.values())
    for row in rows.values():
        row["time_share"] = row["ms"] / whole_ms
        row["gmacs"] = row["macs"] / row["ms"] / 1e6 if row["ms"] else 0.0
    return sorted(rows.values(), key=lambda row: -row["ms"]), totals


def node_macs(
    kind: str, output: list[int], constants: list[tuple[int, ...] | None]
) -> tuple[float, str]:
    """Multiply-adds of one node, and its name in the table: depthwise ones are told apart.

    Args:
        kind: the operator.
        output: shape of its first output.
        constants: shapes of its inputs, None for those that are computed.
    """
    if kind in _DENSE:
        shape = next((s for s in constants if s is not None and len(s) == 2), None)
        if shape is None:
            return 0.0, kind
        inner = math.prod(shape) / output[-1]
        return math.prod(output) * inner, kind
    if not kind.endswith("Conv") and kind != "FusedConv":
        return 0.0, kind
    shape = next((s for s in constants if s is not None and len(s) >= 3), None)
    if shape is None:
        return 0.0, kind
    inner = math.prod(shape[1:])  # input channels of a group, rows, columns
    if shape[1] == 1:
        label = f"{kind}, depthwise"
    elif math.prod(shape[2:]) == 1:
        label = f"{kind}, 1 x 1"
    else:
        label = f"{kind}, dense"
    return math.prod(output) * inner, label
