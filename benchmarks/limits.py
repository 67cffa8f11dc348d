"""What the machine can do at most: multiply-adds and bytes a second, on one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.timing import race

__all__ = ["measure_limits", "session"]

_SIDE = 1024
_BIG_MB, _SMALL_KB = 128, 192


def measure_limits(
    rounds: int, others: Mapping[str, Callable[[], Any]]
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The best of several runs of large, dense work, in turns with what is to be compared.

    Args:
        others: what takes part in the turns, by name.

    Returns:
        First ``gmacs``: by kind of multiplication, thousand millions of multiply-adds a second;
        ``float32_gmacs`` and ``int8_gmacs``, the best of each; ``gb_s`` by kind of traffic:
        bytes read plus bytes written. Second the milliseconds of each run of the others.
    """
    work = {**_products(), **_traffic()}
    calls = {name: call for name, (call, _) in work.items()}
    times = race({**calls, **others}, rounds, turn_ms=10)
    rates = {name: work[name][1] / min(times[name]) / 1e6 for name in work}
    gmacs = {name: rate for name, rate in rates.items() if not name.startswith("memory")}
    best = {
        kind: max(rate for name, rate in gmacs.items() if name.startswith(kind))
        for kind in ("float32", "int8")
    }
    limits = {
        "gmacs": gmacs,
        "gb_s": {name: rate for name, rate in rates.items() if name.startswith("memory")},
        "float32_gmacs": best["float32"],
        "int8_gmacs": best["int8"],
    }
    return limits, {name: times[name] for name in others}


def _products() -> dict[str, tuple[Callable[[], Any], float]]:
    """Matrix products and one dense convolution, each with its number of multiply-adds."""
    from onnx import TensorProto as Type

    rng = np.random.default_rng(0)
    floats = rng.standard_normal((2, _SIDE, _SIDE)).astype(np.float32)
    small = rng.integers(-64, 64, (_SIDE, _SIDE)).astype(np.int8)
    small_u = rng.integers(0, 127, (_SIDE, _SIDE)).astype(np.uint8)
    out = np.empty((_SIDE, _SIDE), np.float32)
    macs = float(_SIDE**3)
    product = session("MatMul", Type.FLOAT, (_SIDE, _SIDE), {"b": floats[1]}, Type.FLOAT)
    integer = session("MatMulInteger", Type.UINT8, (_SIDE, _SIDE), {"b": small}, Type.INT32)
    view = rng.standard_normal((1, 128, 48, 48)).astype(np.float32)
    kernel = rng.standard_normal((128, 128, 3, 3)).astype(np.float32)
    conv = session("Conv", Type.FLOAT, view.shape, {"w": kernel}, Type.FLOAT, pads=[1, 1, 1, 1])
    conv_macs = 48.0 * 48 * 128 * 128 * 9
    quantized = {
        "x_scale": np.float32(0.02), "x_zero": np.uint8(0),
        "w": rng.integers(-64, 64, kernel.shape).astype(np.int8),
        "w_scale": np.full(128, 0.01, np.float32), "w_zero": np.zeros(128, np.int8),
        "y_scale": np.float32(0.3), "y_zero": np.uint8(0),
    }  # fmt: skip
    view_u = rng.integers(0, 255, view.shape).astype(np.uint8)
    conv_u = session("QLinearConv", Type.UINT8, view.shape, quantized, Type.UINT8,
                     pads=[1, 1, 1, 1])  # fmt: skip
    return {
        "float32 product, numpy": (lambda: np.matmul(*floats, out=out), macs),
        "float32 product, onnxruntime": (lambda: product.run(None, {"x": floats[0]}), macs),
        "float32 convolution 3 x 3, onnxruntime": (lambda: conv.run(None, {"x": view}), conv_macs),
        "int8 product, onnxruntime": (lambda: integer.run(None, {"x": small_u}), macs),
        "int8 convolution 3 x 3, onnxruntime": (
            lambda: conv_u.run(None, {"x": view_u}), conv_macs
        ),
    }  # fmt: skip


def _traffic() -> dict[str, tuple[Callable[[], Any], float]]:
    """Copies and a triad through memory, and a copy that stays in the cache, with their bytes."""
    count = (_BIG_MB << 20) // 8
    a, b, c = np.ones((3, count))
    near, far = np.ones((2, (_SMALL_KB << 10) // 8))

    def triad() -> None:
        np.multiply(c, 3.0, out=a)
        np.add(a, b, out=a)

    def copy_small() -> None:
        for _ in range(64):
            np.copyto(near, far)

    return {
        "memory, copy": (lambda: np.copyto(a, b), 2.0 * a.nbytes),
        "memory, triad": (triad, 5.0 * a.nbytes),  # two passes: 1 read 1 write, 2 read 1 write
        "memory in the cache, copy": (copy_small, 64 * 2.0 * near.nbytes),
    }


def session(
    kind: str, input_type: int, shape: Any, constants: dict[str, Any], output_type: int,
    **attributes: Any,
) -> Any:  # fmt: skip
    """A graph of one operator on one thread: input "x" first, then the constants."""
    import onnxruntime as ort
    from onnx import helper, numpy_helper

    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    values = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", input_type, shape)],
        [helper.make_tensor_value_info("y", output_type, None)], values,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
