"""Weights of a training run to a float32 ONNX model with its card.

The graph takes the sensor's bytes: ``image`` uint8 (N, S, S, 3), RGB; it gives ``logits``
float32 (N, S, S) and ``iou`` float32 (N,). N is free, S fixed.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from picosam_sdk.errors import InputError
from picosam_sdk.export.graph import Graph
from picosam_sdk.export.rewrite import share_pooling, tidy
from picosam_sdk.export.save import save_model
from picosam_sdk.modelcard import ModelCard
from picosam_sdk.training.net import (
    MEAN,
    STD,
    EfficientChannelAttention,
    build,
    count_macs,
    count_parameters,
)
from picosam_sdk.training.train import load_weights
from picosam_sdk.types import CropRule

__all__ = ["FoldedAttention", "Signature", "export_onnx", "export_weights", "fold_attention"]

OPSET = 17
IR_VERSION = 8
"""Of ONNX 1.12, as old as the opset: every onnxruntime that the SDK allows reads it."""


class FoldedAttention(nn.Module):
    """ECA with its convolution across channels as a 1x1 convolution with a banded matrix.

    Equal to :class:`EfficientChannelAttention`; on sensors and in INT8 runtimes a 1x1
    convolution is fast and a 1-D convolution across channels is not there.

    Args:
        attention: the trained ECA.
        channels: of the features that it weighs.
    """

    def __init__(self, attention: EfficientChannelAttention, channels: int) -> None:
        super().__init__()
        taps = attention.conv.weight.detach().flatten()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        band = torch.zeros(channels, channels)
        for index, tap in enumerate(taps):
            shift = index - len(taps) // 2
            band += tap * torch.diag(torch.ones(channels - abs(shift)), shift)
        self.conv.weight = nn.Parameter(band[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        gate = torch.sigmoid(self.conv(F.adaptive_avg_pool2d(x, 1)))  # (N, C, 1, 1)
        return x * gate


def fold_attention(net: nn.Module, size_px: int = 96) -> None:
    """Replaces every ECA inside a network by its :class:`FoldedAttention`."""
    channels: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        channels[module] = inputs[0].shape[1]

    found = [m for m in net.modules() if isinstance(m, EfficientChannelAttention)]
    hooks = [module.register_forward_pre_hook(note) for module in found]
    with torch.no_grad():
        net(torch.zeros(1, 3, size_px, size_px))
    for hook in hooks:
        hook.remove()
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, EfficientChannelAttention):
                setattr(parent, name, FoldedAttention(child, channels[child]))


class Signature(nn.Module):
    """A network behind the contract's inputs and outputs: bytes, channels last, no channel axis."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image uint8 (N, S, S, 3) -> logits float32 (N, S, S), predicted IoU float32 (N,)."""
        logits, iou = self.net(image.permute(0, 3, 1, 2).float())
        return logits.squeeze(1), iou


def export_weights(
    weights: Path, out: Path, *, name: str = "", metrics: Mapping[str, Any] | None = None
) -> ModelCard:
    """Exports the weights of a training run; writes the model and its card beside it.

    Args:
        weights: what ``picosam train`` wrote as weights.pt.
        out: the .onnx file to write.
        name: of the model, for its card; the file's name unless given.
        metrics: what ``picosam evaluate`` measured, for the card.

    Raises:
        InputError: the weights are not such a file, or do not fit the network that they name.
    """
    record = load_weights(weights)
    missing = {"network", "attention", "crop", "step", "crops"} - record.keys()
    if missing:
        raise InputError(
            f"expected weights written by 'picosam train' at {weights}, "
            f"got a file without {sorted(missing)}",
            hint="Give the weights.pt of a run's folder.",
        )
    net = build(record["network"], attention=record["attention"])
    try:
        net.load_state_dict(record["state"])
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise InputError(
            f"expected weights of the network '{record['network']}' in {weights}, got: {first}",
            hint="The network's shape has changed since they were trained: train it again.",
        ) from error
    crop = CropRule(**record["crop"])
    card = ModelCard(
        name=name or out.stem,
        network=record["network"],
        crop=crop,
        mean=MEAN,
        std=STD,
        parameters=count_parameters(net),
        macs=count_macs(net, crop.size_px),
        training={"steps": record["step"], "crops": record["crops"]},
        metrics=dict(metrics or {}),
    )
    return save_model(export_onnx(net, crop.size_px), card, out)


def export_onnx(net: nn.Module, size_px: int = 96) -> onnx.ModelProto:
    """Traces a network into a float32 ONNX model, BatchNorm and ECA folded.

    The network itself is changed: its ECA are folded and it is left in evaluation mode.
    """
    net = net.cpu().float().eval()
    fold_attention(net, size_px)
    image = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    free = {key: {0: "N"} for key in ("image", "logits", "iou")}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The tracing exporter is the one whose graphs onnxruntime fuses best and the sensor's
        # converter accepts; torch would rather see its successor used.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            Signature(net), (image,), path, dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["logits", "iou"], dynamic_axes=free,
        )  # fmt: skip
        model = onnx.load(path)
    graph = Graph(model)
    tidy(graph)
    share_pooling(graph)
    model.ir_version = IR_VERSION
    model.producer_name = "picosam"
    model.producer_version = ""
    onnx.checker.check_model(model, full_check=True)
    return model
