"""Losses on mask logits; targets may be soft (a teacher's, or an edge pixel's)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["hard_iou", "mask_loss", "soft_jaccard"]


def soft_jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft IoU per instance: logits and target (N, 1, H, W) -> (N,).

    The intersection is min(p, t) and the union max(p, t), which for soft targets, unlike the
    product form, is lowest where p equals t (arXiv 2302.05666).
    """
    p = torch.sigmoid(logits)
    over = torch.minimum(p, target).sum((1, 2, 3))
    union = torch.maximum(p, target).sum((1, 2, 3))
    return 1 - (over + 1) / (union + 1)


def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks per instance, (N,); 1 where both are empty."""
    p, t = logits > 0, target > 0.5
    over = (p & t).sum((1, 2, 3)).float()
    union = (p | t).sum((1, 2, 3)).float()
    return torch.where(union > 0, over / union.clamp(min=1), 1.0)


def mask_loss(logits: Tensor, iou: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The parts of the loss and their sum ``total``.

    Args:
        logits: (N, 1, H, W).
        iou: the second head's prediction of the mask's IoU, (N,).
        target: 0 to 1, (N, 1, H, W).
    """
    parts = {
        "bce": F.binary_cross_entropy_with_logits(logits, target),
        "jaccard": soft_jaccard(logits, target).mean(),
        "iou": F.mse_loss(iou, hard_iou(logits.detach(), target)),
    }
    parts["total"] = parts["bce"] + parts["jaccard"] + parts["iou"]
    return parts
