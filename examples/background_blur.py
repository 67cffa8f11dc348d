"""Blurs everything but one object. Usage: background_blur.py PHOTO X Y WIDTH HEIGHT"""

import sys

from picosam_sdk import Roi, Segmenter, load_image
from picosam_sdk.annotators import BlurOutside
from picosam_sdk.images import save_image

photo, *box = sys.argv[1:]
image = load_image(photo)
with Segmenter() as segmenter:
    mask = segmenter.segment(image, Roi.from_pixels(*map(float, box), image))
if mask.score < 0.5:
    sys.exit(f"No object that the network is sure of (score {mask.score:.2f}); draw another box.")
save_image(BlurOutside().annotate(image, mask), "background_blur.png")
print(f"wrote background_blur.png, {mask.area_px} pixels left as they were")
