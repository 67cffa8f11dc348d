"""Your own model, exported with 'picosam export' and quantized with 'picosam quantize'.

Usage: own_model.py MODEL.onnx PHOTO X Y, the card (MODEL.json) beside it; X, Y a point in pixels.
"""

import sys

from picosam_sdk import ModelError, Segmenter

model, photo, x, y = sys.argv[1:]
try:
    segmenter = Segmenter(model=model, threads=2)
except ModelError as error:
    sys.exit(f"{error}\n{error.hint}")
with segmenter:
    card = segmenter.card
    print(f"{card.name}: {card.network}, {card.crop.size_px} px, {card.quantization}")
    mask = segmenter.segment(photo, point=(float(x), float(y)))
print(f"score {mask.score:.2f}, {mask.area_px} pixels, box {mask.bbox()}")
