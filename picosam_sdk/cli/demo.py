"""``picosam demo``: the bundled photographs, segmented; pictures to look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_COLORS = ((255, 64, 32), (40, 160, 255), (60, 200, 80), (240, 180, 20))
_TILE_PX = 280


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "demo",
        help="segment the bundled photographs",
        description="Segments the bundled photographs by boxes and by points, prints a table, and "
        "writes one overlay a photograph and a contact sheet.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out/demo"), metavar="DIR",
        help="where the pictures go (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import time

    from picosam_sdk.errors import InputError
    from picosam_sdk.images import load_image, save_image
    from picosam_sdk.samples import sample_photos
    from picosam_sdk.segmenter import Segmenter

    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"expected a folder to write to at {args.output}, got: {error.strerror}",
            hint="Name another one with -o DIR.",
        ) from error
    print(f"{'photo':<16}{'prompt':<24}{'score':>7}{'area':>8}{'ms':>8}")
    pairs = []
    with Segmenter() as segmenter:
        for photo in sample_photos():
            image = load_image(photo.path)
            overlay = image
            for number, prompt in enumerate(photo.prompts):
                began = time.perf_counter()
                mask = prompt.segment(segmenter, image)
                ms = (time.perf_counter() - began) * 1000
                share = mask.area_px / (image.shape[0] * image.shape[1])
                label = f"{prompt.name} ({'box' if prompt.box else 'point'})"
                print(f"{photo.path.stem:<16}{label:<24}{mask.score:>7.2f}{share:>8.1%}{ms:>8.1f}")
                overlay = mask.overlay(overlay, color=_COLORS[number % len(_COLORS)])
            overlay = _draw_prompts(overlay, photo.prompts)
            save_image(overlay, args.output / f"{photo.path.stem}.jpg")
            pairs.append((image, overlay))
    sheet = args.output / "contact_sheet.jpg"
    save_image(_contact_sheet(pairs), sheet)
    print(f"\nNo picture left this machine. Look at {sheet}")
    return 0


def _draw_prompts(image: Any, prompts: Any) -> Any:
    """Boxes and points in their masks' colours, with their names."""
    import cv2

    image = image.copy()
    for number, prompt in enumerate(prompts):
        color = _COLORS[number % len(_COLORS)]
        if prompt.box is not None:
            x, y, width, height = (round(value) for value in prompt.box)
            cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), color, 2)
        else:
            x, y = (round(value) for value in prompt.point)
            cv2.circle(image, (x, y), 6, (255, 255, 255), -1)
            cv2.circle(image, (x, y), 4, color, -1)
        at = (max(x, 2) + 6, max(y, 0) + 18)
        for line, ink in ((4, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(
                image, prompt.name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, line, cv2.LINE_AA
            )
    return image


def _contact_sheet(pairs: Any) -> Any:
    """Two rows of one height: the photographs above, their overlays below."""
    import cv2
    import numpy as np

    def tile(image: Any) -> Any:
        width = round(image.shape[1] * _TILE_PX / image.shape[0])
        return cv2.resize(image, (width, _TILE_PX), interpolation=cv2.INTER_AREA)

    return np.vstack([np.hstack([tile(pair[row]) for pair in pairs]) for row in (0, 1)])
