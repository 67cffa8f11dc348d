"""What the paper says of its own network, to print beside ours: PicoSAM3, arXiv 2603.11917.

The headline is the paper's; the tables by jitter level and by competitors are those of the authors'
repository, by the same definitions as ours. Data: COCO val2017 and LVIS v1 val.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPER", "PaperFigures"]


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """mIoU on one data set, 0 to 1: over all objects, by jitter level, and by competitors."""

    data: str
    miou: float
    jitter: dict[float, float]
    by_competitors: dict[str, float]


PAPER = (
    PaperFigures(
        data="COCO val2017",
        miou=0.6545,
        jitter={0.0: 0.653, 0.05: 0.644, 0.1: 0.625, 0.2: 0.581, 0.3: 0.537},
        by_competitors={"0": 0.706, "1-2": 0.637, "3+": 0.565},
    ),
    PaperFigures(
        data="LVIS v1 val",
        miou=0.6401,
        jitter={0.0: 0.637, 0.05: 0.629, 0.1: 0.611, 0.2: 0.569, 0.3: 0.524},
        by_competitors={"0": 0.682, "1-2": 0.638, "3+": 0.521},
    ),
)
