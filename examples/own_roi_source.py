"""Your own ROI source: looks at the left half, then at the right half, and so on.

Usage: own_roi_source.py [FRAMES]
"""

import sys

from picosam_sdk import Plugins, Prompt, Roi, RoiSource, app, hookimpl
from picosam_sdk.config import from_mapping
from picosam_sdk.settings import AppConfig


class Halves(RoiSource):
    name = "halves"
    turn = 0

    def latest(self, now_ns: int) -> Prompt:
        self.turn += 1
        side = self.turn % 2
        return Prompt(Roi(side / 2, 0, 0.5, 1), timestamp_ns=now_ns, region=["left", "right"][side])


@hookimpl
def picosam_roi_sources() -> list[type[RoiSource]]:
    return [Halves]


CONFIG = {
    "camera": {"kind": "synthetic"},
    "roi": [{"kind": "halves"}],
    "publish": [{"kind": "print", "queue": 1000}],
    "run": {"max_frames": int(sys.argv[1]) if len(sys.argv) > 1 else 100},
}

plugins = Plugins()
plugins.register(sys.modules[__name__], "halves")  # an installed package has an entry point instead
with app.build(from_mapping(CONFIG, AppConfig), plugins) as application:
    application.run()
