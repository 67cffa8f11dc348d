"""How large is a thing, measured by another of known size in the same plane.

Usage: measure.py PHOTO REFERENCE_BOX REFERENCE_MM OBJECT_BOX, boxes as X,Y,WIDTH,HEIGHT in pixels,
REFERENCE_MM the length of the reference's longer side.
"""

import sys

import cv2
import numpy as np

from picosam_sdk import Mask, Roi, Segmenter, load_image


def sides_px(mask: Mask) -> tuple[float, float]:
    """Longer and shorter side of the smallest rotated rectangle around the mask."""
    corners = np.concatenate(mask.polygons()).astype(np.float32)
    first, second = cv2.minAreaRect(corners)[1]
    return max(first, second), min(first, second)


photo, reference_box, reference_mm, object_box = sys.argv[1:]
image = load_image(photo)
boxes = (reference_box, object_box)
rois = [Roi.from_pixels(*map(float, box.split(",")), image) for box in boxes]
with Segmenter() as segmenter:
    reference, thing = segmenter.segment_many(image, rois)
if not (reference.area_px and thing.area_px):
    sys.exit("Nothing was found in one of the boxes; draw it a little larger.")
mm_per_px = float(reference_mm) / sides_px(reference)[0]
longer_mm, shorter_mm = (side * mm_per_px for side in sides_px(thing))
area_cm2 = thing.area_px * mm_per_px**2 / 100
print(f"{longer_mm:.0f} x {shorter_mm:.0f} mm, {area_cm2:.1f} cm2, score {thing.score:.2f}")
