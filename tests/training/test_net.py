"""The networks: sizes, attention, losses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from picosam_sdk import ConfigError, ModelError
from picosam_sdk.training import losses, net


@pytest.mark.parametrize(
    ("name", "parameters", "macs"), [("paper", 1.394e6, 330.2e6), ("lite", 1.083e6, 82.2e6)]
)
def test_sizes_are_as_documented(name: str, parameters: float, macs: float) -> None:
    model = net.build(name)
    assert net.count_parameters(model) == pytest.approx(parameters, rel=0.002)
    assert net.count_macs(model) == pytest.approx(macs, rel=0.002)


@pytest.mark.parametrize("name", sorted(net.NETWORKS))
def test_logits_and_a_predicted_iou_come_out(name: str) -> None:
    model = net.build(name).eval()
    with torch.no_grad():
        logits, iou = model(torch.rand(2, 3, 96, 96) * 255)
    assert logits.shape == (2, 1, 96, 96)
    assert iou.shape == (2,)
    assert ((iou > 0) & (iou < 1)).all()


def test_eca_is_one_k3_convolution_across_channels() -> None:
    attention = net.EfficientChannelAttention()
    assert sum(p.numel() for p in attention.parameters()) == 3
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        attention.conv.weight[:] = torch.tensor([[[0.5, -1.0, 2.0]]])
        y = attention(x)
    mean = torch.nn.functional.pad(x.mean((2, 3)), (1, 1))
    for channel in range(8):
        value = 0.5 * mean[:, channel] - mean[:, channel + 1] + 2 * mean[:, channel + 2]
        expected = x[:, channel] * torch.sigmoid(value)[:, None, None]
        assert torch.allclose(y[:, channel], expected, atol=1e-6)


def test_the_iou_head_does_not_bend_the_mask() -> None:
    model = net.build("lite")
    _, iou = model(torch.rand(2, 3, 96, 96) * 255)
    iou.sum().backward()
    with_grad = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_grad == {"iou"}


def test_unknown_network_and_foreign_encoder_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"network.name: expected one of \['lite', 'paper'\]"):
        net.build("sam")
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="EfficientNet-Lite0"):
        net.LiteNet().load_encoder(tmp_path / "other.pth")


def test_losses_are_lowest_at_the_truth_soft_or_hard() -> None:
    target = torch.rand(3, 1, 16, 16, generator=torch.manual_seed(0))
    at_truth = torch.logit(target.clamp(1e-6, 1 - 1e-6))
    best = losses.soft_jaccard(at_truth, target)
    assert (best < 1e-3).all()
    for shift in (-1.0, 1.0):
        assert (losses.soft_jaccard(at_truth + shift, target) > best + 0.05).all()


def test_hard_iou_by_hand() -> None:
    logits = torch.full((2, 1, 4, 4), -1.0)
    target = torch.zeros(2, 1, 4, 4)
    logits[0, 0, :2] = 1  # 8 px
    target[0, 0, 1:3] = 1  # 8 px, 4 shared
    assert losses.hard_iou(logits, target).tolist() == pytest.approx([4 / 12, 1.0])
