"""Your own publisher: tells a local program over UDP where the object is.

Usage: own_publisher.py PORT [FRAMES]
"""

import json
import socket
import sys

from picosam_sdk import Plugins, Publisher, Result, app, hookimpl
from picosam_sdk.config import from_mapping
from picosam_sdk.settings import AppConfig


class Udp(Publisher):
    name = "udp"

    def publish(self, result: Result) -> int | None:
        if result.mask is None:
            return None
        message = json.dumps({"frame": result.frame.index, "bbox": result.mask.bbox()}).encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            return client.sendto(message, ("127.0.0.1", int(sys.argv[1])))


@hookimpl
def picosam_publishers() -> list[type[Publisher]]:
    return [Udp]


CONFIG = {
    "camera": {"kind": "photos", "repeat": 5},
    "roi": [{"kind": "point", "point": [0.5, 0.4]}],
    "publish": [{"kind": "udp", "queue": 100}],
    "run": {"max_frames": int(sys.argv[2]) if len(sys.argv) > 2 else 20},
}
plugins = Plugins()
plugins.register(sys.modules[__name__], "udp")
with app.build(from_mapping(CONFIG, AppConfig), plugins) as application:
    application.run()
