"""What is in this box of this photograph? Usage: one_photo.py PHOTO X Y WIDTH HEIGHT"""

import sys

from picosam_sdk import Roi, Segmenter, load_image
from picosam_sdk.images import save_image

photo, *box = sys.argv[1:]
image = load_image(photo)
with Segmenter() as segmenter:
    mask = segmenter.segment(image, Roi.from_pixels(*map(float, box), image))
print(f"score {mask.score:.2f}, {mask.area_px} pixels, box {mask.bbox()}")
save_image(mask.overlay(image), "one_photo.png")
