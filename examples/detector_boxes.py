"""A detector's boxes become masks, and go on as supervision.Detections.

Usage: detector_boxes.py PHOTO BOXES.npy, the boxes being (N, 4) of x0, y0, x1, y1 in pixels, as
every detector of the `supervision` world gives them.
"""

import sys

import numpy as np

from picosam_sdk import Segmenter, load_image
from picosam_sdk.adapters import rois_from_xyxy, to_detections

photo, boxes = sys.argv[1:]
image = load_image(photo)
with Segmenter() as segmenter:
    masks = segmenter.segment_many(image, rois_from_xyxy(np.load(boxes), image))
detections = to_detections(masks)
for (x0, y0, x1, y1), area, score in zip(
    detections.xyxy, detections.mask.sum((1, 2)), detections.confidence, strict=True
):
    print(f"box {x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f}: {area} pixels, score {score:.2f}")
