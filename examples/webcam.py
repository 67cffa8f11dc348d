"""Follows what is in the middle of a webcam's picture, or a video file's. Ctrl-C ends it.

Usage: webcam.py [DEVICE or FILE], such as webcam.py 0 or webcam.py street.mp4
"""

import sys

from picosam_sdk import app
from picosam_sdk.config import from_mapping
from picosam_sdk.settings import AppConfig

source = sys.argv[1] if len(sys.argv) > 1 else "0"
camera = (
    {"kind": "webcam", "device": source} if source.isdigit() else {"kind": "video", "path": source}
)
CONFIG = {
    "camera": camera,
    "roi": [{"kind": "follow"}, {"kind": "point", "point": [0.5, 0.5]}],
    "filter": [{"kind": "hysteresis"}],
    "publish": [{"kind": "print"}],
}
with app.build(from_mapping(CONFIG, AppConfig)) as application:
    try:
        application.run()
    except KeyboardInterrupt:
        application.stop()
    stats = application.stats()
print(f"{stats['frames']} frames, {stats['masks']} with a mask", file=sys.stderr)
