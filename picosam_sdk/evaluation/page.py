"""The report's page: HTML without scripts, its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from picosam_sdk.evaluation.metrics import percent
from picosam_sdk.evaluation.tables import (
    calibration_table,
    competitor_table,
    headline_table,
    histogram_table,
    jitter_table,
    share_above,
    side_table,
)

__all__ = ["page"]

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #22262d;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 0 0 4px; }
h3 { font-size: 16px; margin: 20px 0 8px; }
p { margin: 4px 0 12px; max-width: 78ch; }
.quiet, caption, figcaption { color: #5c6470; }
.quiet code { overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 22px 24px;
  margin-top: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 14px;
  margin-top: 20px; }
.tile { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 14px 18px; }
.tile b { display: block; font-size: 34px; line-height: 1.2; color: #1467c7; }
.tile span { display: block; font-size: 14px; color: #5c6470; }
.pair { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 28px;
  align-items: center; }
img { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid #edeff2;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: #5c6470; font-weight: 600; border-bottom: 2px solid #d7dbe0; }
tr.group td { color: #5c6470; font-weight: 600; padding-top: 14px; }
td.ours { color: #1467c7; font-weight: 600; }
td.paper { color: #b94e1c; }
.gallery { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 14px; }
.gallery figure { margin: 0; }
.gallery img { border-radius: 6px; border: 1px solid #e3e6ea; }
figcaption { font-size: 13px; line-height: 1.35; margin-top: 4px; }
figcaption b { color: #22262d; }
.key { display: inline-block; width: 11px; height: 11px; margin: 0 4px 0 12px; border-radius: 2px; }
@media (max-width: 860px) {
  .pair { grid-template-columns: minmax(0, 1fr); }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
"""


def page(values: Mapping[str, Any]) -> str:
    """The whole page from what report.json holds."""
    summary = values["summary"]
    model, protocol = summary["model"], summary["protocol"]
    title = f"{model['name']} {model['version']} on {protocol['annotations']}"
    body = "\n".join(
        (
            _head(values, title),
            _tiles(values),
            _headline(values),
            _figure_section(
                "IoU of the objects",
                f"Of {summary['n']} objects, {share_above(values, 0.5)} reach an IoU of 0.5 and "
                f"{share_above(values, 0.75)} one of 0.75.",
                "iou_histogram.png",
                "Histogram of the IoU",
                histogram_table(values),
            ),
            _figure_section(
                "Size of the object",
                "Small, medium and large are COCO's: below 32², below 96² and from 96² square "
                "pixels of the original picture. The crop is enlarged or shrunk to 96 × 96 px.",
                "iou_by_size.png",
                "IoU against the size of the object",
                side_table(values),
            ),
            _figure_section(
                "Careless boxes",
                "At level s the box's centre moves uniformly by up to s/2 of its side, and each "
                "side is multiplied by a Gaussian of mean 1 and sigma s/2. The frame moves with "
                "the box. The paper's figures are its authors', by the same definition.",
                "jitter.png",
                "mIoU against the perturbation of the box",
                jitter_table(values),
            ),
            _figure_section(
                "Competing objects",
                "How many other annotated objects have the centre of their box inside the crop.",
                "competitors.png",
                "mIoU by number of competing objects",
                competitor_table(values),
            ),
            _figure_section(
                "How far its own score can be believed",
                "The model predicts the IoU of each mask. Dots are objects; the line joins the "
                "means of each tenth of the predicted IoU, larger where there are more objects.",
                "calibration.png",
                "True IoU against the predicted one",
                calibration_table(values),
            ),
            _gallery(values["gallery"]),
            _method(values),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(values: Mapping[str, Any], title: str) -> str:
    model, protocol = values["summary"]["model"], values["summary"]["protocol"]
    return (
        f"<h1>{escape(title)}</h1>\n"
        f'<p class="quiet">{values["summary"]["n"]} of {protocol["objects"]} objects, prompted '
        f"with their boxes; {escape(model['network'])} network, {escape(model['quantization'])}; "
        f"sha256 <code>{escape(model['sha256'][:16])}</code>; "
        f"picosam-sdk {escape(values['picosam_sdk'])}</p>"
    )


def _tiles(values: Mapping[str, Any]) -> str:
    summary, paper = values["summary"], values["paper"][0]
    crowd = summary["by_competitors"]["3+"]
    careless = {row["level"]: row["miou"] for row in values["jitter"]}
    theirs = {row["level"]: row["miou"] for row in paper["jitter"]}
    correlation = values["calibration"]["correlation"]
    tiles = [
        ("mIoU, exact boxes", percent(summary["miou"]), f"paper {percent(paper['miou'])}"),
        (
            "mIoU, boxes 20 % off",
            percent(careless.get(0.2)),
            f"paper {percent(theirs[0.2])}",
        ),
        (
            "mIoU, 3 or more competitors",
            percent(crowd["miou"]),
            f"paper {percent(paper['by_competitors']['3+'])}",
        ),
        ("mIoU, one point instead of a box", percent(values["point"]["miou"]), "paper: none"),
        (
            "correlation of predicted and true IoU",
            "-" if correlation is None else f"{correlation:.2f}",
            "paper: none",
        ),
    ]
    inner = "".join(
        f'<div class="tile"><span>{name}</span><b>{value}</b><span>{beside}</span></div>'
        for name, value, beside in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _headline(values: Mapping[str, Any]) -> str:
    return (
        "<section><h2>Headline</h2>\n"
        '<p class="quiet">In percent. ± is one standard error, objects taken as independent. Box '
        "and ellipse are the mIoU of two masks that need no model: the whole prompt box and the "
        "ellipse in it. The paper's figures are for the data named, not for this file.</p>\n"
        f"{headline_table(values)}</section>"
    )


def _gallery(groups: Mapping[str, Any]) -> str:
    titles = {
        "best": "Best",
        "median": "In the middle of the ranking",
        "worst": "Worst",
    }
    parts = [
        "<section><h2>Objects</h2>\n"
        '<p class="quiet">Left the picture with the prompt box, right the answer:'
        '<i class="key" style="background:#1478ff"></i>predicted mask'
        '<i class="key" style="background:#ffd60a"></i>true outline</p>'
    ]
    for key, entries in groups.items():
        figures = "".join(
            f'<figure><img src="{escape(entry["file"])}" loading="lazy" '
            f'alt="{escape(entry["category"])}, IoU {entry["iou"]:.2f}">'
            f"<figcaption><b>{escape(entry['category'])}, IoU {entry['iou']:.2f}</b> "
            f"(predicted {entry['score']:.2f})<br>{entry['side_px']:.0f} px, "
            f"{entry['competitors']} competing; id {entry['id']}</figcaption></figure>"
            for entry in entries
        )
        parts.append(f'<h3>{titles[key]}</h3>\n<div class="gallery">{figures}</div>')
    return "\n".join(parts) + "</section>"


def _method(values: Mapping[str, Any]) -> str:
    protocol, model = values["summary"]["protocol"], values["summary"]["model"]
    frame, crop = protocol["frame"], model["crop"]
    shape = "squared" if crop["square"] else "not squared"
    frame_grown, crop_grown = (f"{100 * rule['padding']:.0f} %" for rule in (frame, crop))
    return (
        "<section><h2>How it was measured</h2>\n<p>The protocol of the PicoSAM3 paper (arXiv "
        "2603.11917). Every object is prompted with its annotated box. The frame of the "
        f"comparison is that box, grown by {frame_grown} on each side, squared about its "
        f"centre, clipped to the picture, and resized to {frame['size_px']} × {frame['size_px']} "
        "px, the true mask by nearest neighbour. mIoU is the mean over the objects; mAP the mean "
        "over the thresholds 0.50, 0.55 to 0.95 of the share of objects at or above it. "
        f"{protocol['crowds_left_out']} crowd regions and {protocol['empty_boxes_left_out']} "
        "boxes without area were left out.</p>\n<p>The model is shown the box grown by "
        f"{crop_grown}, {shape}, at {crop['size_px']} × {crop['size_px']} px; its logits "
        "are resampled into the frame, and outside of what it was shown nothing is predicted. No "
        "test-time augmentation. A point is the one inside the true mask farthest from its edge; "
        "what the mask then covers outside of the frame counts as wrong.</p></section>"
    )


def _figure_section(title: str, text: str, picture: str, alt: str, table: str) -> str:
    return (
        f'<section><h2>{title}</h2>\n<p class="quiet">{text}</p>\n<div class="pair">'
        f'<img src="{picture}" alt="{alt}"><div>{table}</div></div></section>'
    )
