"""A tiny stand-in for SAM, in its ONNX interface: it marks what has the colour of the prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 256  # of the stand-in's input; SAM's own is 1024


def write_encoder(path: Path, side: int = SIDE) -> Path:
    """Hands the normalised picture on as its own features."""
    shape = ["batch_size", 3, side, side]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "encoder",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    return save(graph, path)


def write_decoder(path: Path, predicted: float = 0.95, steep: float = 30.0) -> Path:
    """Marks the pixels whose colour is near that at the mean of the prompt's points.

    Logits are ``steep * (0.25 - distance)``, -7.5 to 7.5. Inputs and outputs are SAM's.
    """
    constants = {
        "zero": np.array(0, np.float32),
        "flip": np.array([1, 0], np.int64),
        "last": np.array([-1], np.int64),
        "points": np.array([1], np.int64),
        "front": np.array([0, 1], np.int64),
        "near": np.array(0.25, np.float32),
        "far": np.array(-0.25, np.float32),
        "steep": np.array(steep, np.float32),
        "iou_predictions": np.array([[predicted]], np.float32),
    }
    nodes = [
        ("GreaterOrEqual", ["point_labels", "zero"], "is_point", {}),
        ("Cast", ["is_point"], "weight", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["weight", "last"], "weight3", {}),
        ("Mul", ["point_coords", "weight3"], "weighted", {}),
        ("ReduceSum", ["weighted", "points"], "sum", {"keepdims": 0}),
        ("ReduceSum", ["weight", "points"], "number", {"keepdims": 1}),
        ("Div", ["sum", "number"], "centre_xy", {}),
        ("Cast", ["centre_xy"], "whole_xy", {"to": TensorProto.INT64}),
        ("Gather", ["whole_xy", "flip"], "row_column", {"axis": 1}),
        ("Squeeze", ["image_embeddings", "batch"], "planes", {}),
        ("Transpose", ["planes"], "pixels", {"perm": [1, 2, 0]}),
        ("GatherND", ["pixels", "row_column"], "colour", {}),
        ("Sub", ["pixels", "colour"], "difference", {}),
        ("Abs", ["difference"], "absolute", {}),
        ("ReduceSum", ["absolute", "last"], "distance", {"keepdims": 0}),
        ("Sub", ["near", "distance"], "below", {}),
        ("Max", ["below", "far"], "closeness", {}),
        ("Mul", ["closeness", "steep"], "logits", {}),
        ("Unsqueeze", ["logits", "front"], "low_res_masks", {}),
        ("Identity", ["low_res_masks"], "masks", {}),
    ]
    constants["batch"] = np.array([0], np.int64)
    inputs = {
        "image_embeddings": [1, 3, SIDE, SIDE],
        "point_coords": [1, "num_points", 2],
        "point_labels": [1, "num_points"],
        "mask_input": [1, 1, 256, 256],
        "has_mask_input": [1],
        "orig_im_size": [2],
    }
    outputs = {
        "masks": [1, 1, "height", "width"],
        "iou_predictions": [1, 1],
        "low_res_masks": [1, 1, 256, 256],
    }
    graph = helper.make_graph(
        [helper.make_node(kind, ins, [out], **more) for kind, ins, out, more in nodes],
        "decoder",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return save(graph, path)


def save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
