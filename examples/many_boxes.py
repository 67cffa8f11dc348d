"""Many boxes of one photograph in one batch, as COCO annotations.

Usage: many_boxes.py PHOTO X,Y,WIDTH,HEIGHT...
"""

import json
import sys

from picosam_sdk import Roi, Segmenter, load_image
from picosam_sdk.adapters import to_coco

photo, *boxes = sys.argv[1:]
image = load_image(photo)
rois = [Roi.from_pixels(*map(float, box.split(",")), image) for box in boxes]
with Segmenter() as segmenter:
    masks = segmenter.segment_many(image, rois)
    print(f"{len(masks)} masks in {segmenter.timings_ms['network']:.1f} ms", file=sys.stderr)
print(json.dumps(to_coco(masks, image_id=1)))
