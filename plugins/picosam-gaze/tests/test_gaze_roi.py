"""The ROI source "gaze": what it is made of works together."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from picosam_gaze.calibration import CalibrationError, Pairs, fit, save_calibration
from picosam_gaze.roi import GazeRoi, GazeRoiConfig
from picosam_gaze.source import GazeSource, SourceConfig
from picosam_gaze.traces import TraceConfig, make_trace

from picosam_sdk import Plugins
from picosam_sdk.config import from_mapping
from picosam_sdk.errors import ConfigError, InputError
from picosam_sdk.interfaces import Context, RoiSource
from picosam_sdk.testing.contract import RoiSourceContract
from picosam_sdk.testing.results import a_mask, a_result
from picosam_sdk.types import Gaze, Prompt, Roi

MS = 1_000_000
UDP: Mapping[str, Any] = {"kind": "udp", "port": 0}


class ListedSource(GazeSource):
    """Gives what a test put into its list."""

    name: ClassVar[str] = "listed"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.waiting: list[Gaze] = []
        self.clock: int | None = None
        self.told: Mapping[str, Any] = {}
        self.size_px: tuple[int, int] | None = None

    def samples(self) -> list[Gaze]:
        waiting, self.waiting = self.waiting, []
        return waiting

    @property
    def connected(self) -> bool:
        return True

    @property
    def view_px(self) -> tuple[int, int] | None:
        return self.size_px

    @property
    def clock_ns(self) -> int | None:
        return self.clock

    @property
    def stats(self) -> Mapping[str, Any]:
        return self.told

    def rest(self, now_ns: int, x: float = 0.5, y: float = 0.5, ms: int = 900) -> None:
        """A rest of so long that ends now, at 200 Hz."""
        for age_ms in range(ms, -1, -5):
            self.waiting.append(Gaze(x, y, now_ns - age_ms * MS))


def make(**options: Any) -> tuple[GazeRoi, ListedSource]:
    settings = {"source": dict(UDP), "mapping": "identity", **options}
    config = from_mapping(settings, GazeRoiConfig, "roi[0].")
    source = ListedSource(SourceConfig(), Context())
    roi = GazeRoi(config, Context(), source)
    roi.open()
    return roi, source


def prompt_of(roi: RoiSource, now_ns: int) -> Prompt | None:
    prompt = roi.latest(now_ns)
    assert prompt is None or isinstance(prompt, Prompt)
    return prompt


class ListedGazeRoi(GazeRoi):
    """The real part, with a listed source in place of its own."""

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context, ListedSource(SourceConfig(), context))


class TestGazeRoi(RoiSourceContract):
    part = ListedGazeRoi
    stale_s = 0.5

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"source": dict(UDP), "mapping": "identity"}

    def feed(self, source: Any, now_ns: int) -> None:
        source.source.rest(now_ns)

    def feed_outside(self, source: Any, now_ns: int) -> None:
        source.source.rest(now_ns, x=1.2, ms=20)


class TestGazeRoiOverUdp(RoiSourceContract):
    """The same with a real source: datagrams on loopback."""

    part = GazeRoi
    stale_s = 0.5

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        # Prompts with every fixation, so that the test need not send for so long.
        return {"source": dict(UDP), "mapping": "identity", "prompt": {"dwell_ms": 0}}

    def feed(self, source: Any, now_ns: int) -> None:
        self.send(source, 0.5)

    def feed_outside(self, source: Any, now_ns: int) -> None:
        self.send(source, 1.2, count=10)

    def send(self, source: Any, x: float, count: int = 50) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for _ in range(count):
                message = f'{{"x": {x}, "y": 0.5}}'.encode()
                peer.sendto(message, ("127.0.0.1", source.source.port))
                time.sleep(0.005)


def test_it_is_offered_as_a_roi_source() -> None:
    assert Plugins().part(RoiSource, "gaze") is GazeRoi  # type: ignore[type-abstract]


def test_from_the_first_fixation_to_the_objects_box() -> None:
    roi, source = make(region="what I look at")
    now_ns = 50_000 * MS
    source.rest(now_ns, ms=500)
    assert prompt_of(roi, now_ns) is None
    assert roi.stats["eye"] == "fixation"
    source.rest(now_ns + 200 * MS, ms=195)
    point = prompt_of(roi, now_ns + 205 * MS)
    assert point is not None
    assert point.point == pytest.approx((0.5, 0.5))
    assert point.region == "what I look at"
    assert point.timestamp_ns == now_ns + 200 * MS
    roi.observe(a_result(mask=a_mask(), roi=None, ages_ns={"gaze": 5 * MS}))
    source.rest(now_ns + 300 * MS, ms=95)
    box = prompt_of(roi, now_ns + 300 * MS)
    assert box is not None
    assert box.roi is not None
    assert box.roi.iou(Roi(0.4, 0.4, 0.2, 0.2).grow(0.1)) > 0.9
    stats = roi.stats
    assert (stats["target"], stats["objects"], stats["points"]) == ("object", 1, 1)
    assert stats["samples"] == 101 + 40 + 20


def test_the_prompt_carries_the_gaze_in_the_view_that_is_segmented(tmp_path: Path) -> None:
    scene = np.array([[x, y] for x in (0.1, 0.5, 0.9) for y in (0.2, 0.5, 0.8)])
    save_calibration(fit(Pairs(scene, scene * 0.5 + 0.25)), tmp_path / "c.json")
    roi, source = make(mapping="", calibration=str(tmp_path / "c.json"))
    source.rest(50_000 * MS, 0.2, 0.6)
    prompt = prompt_of(roi, 50_000 * MS)
    assert prompt is not None
    assert prompt.gaze is not None
    assert (prompt.gaze.x, prompt.gaze.y) == pytest.approx((0.35, 0.55), abs=1e-3)
    assert prompt.point == pytest.approx((0.35, 0.55), abs=1e-3)


def test_what_the_mapping_takes_out_of_the_view_gives_no_prompt(tmp_path: Path) -> None:
    scene = np.array([[x, y] for x in (0.1, 0.5, 0.9) for y in (0.2, 0.5, 0.8)])
    save_calibration(fit(Pairs(scene, scene * 1.4 - 0.2)), tmp_path / "c.json")
    roi, source = make(mapping="", calibration=str(tmp_path / "c.json"))
    source.rest(50_000 * MS, 0.05, 0.5)  # at -0.13 of the sensor's view
    assert prompt_of(roi, 50_000 * MS) is None
    assert roi.stats["eye"] == "fixation"


def test_stale_gaze_gives_none_and_says_so() -> None:
    roi, source = make(prompt={"max_age_ms": 200})
    source.rest(50_000 * MS)
    assert prompt_of(roi, 50_200 * MS) is not None
    assert prompt_of(roi, 50_201 * MS) is None


def test_a_sample_of_the_future_is_not_believed() -> None:
    roi, source = make()
    source.rest(50_900 * MS)
    assert prompt_of(roi, 50_000 * MS) is None
    assert roi.stats["future"] == 181 - 11, "those within 50 ms may be the clocks' difference"


def test_a_replay_with_a_clock_of_its_own_is_neither_late_nor_early() -> None:
    roi, source = make()
    source.rest(999_000_000 * MS)
    source.clock = 999_000_080 * MS
    prompt = prompt_of(roi, 50_000 * MS)
    assert prompt is not None
    assert prompt.timestamp_ns == 49_920 * MS
    assert prompt.gaze is not None
    assert prompt.gaze.timestamp_ns == 49_920 * MS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mapping": ""}, r"roi\[0\]: calibration: expected to be told.*'udp'"),
        ({"calibration": "c.json"}, r"either calibration or mapping"),
        ({"source": {"kind": "pointer"}, "mapping": "", "calibration": "c.json"}, "none for"),
    ],
)
def test_the_mapping_must_be_known(options: dict[str, Any], words: str) -> None:
    settings = {"source": dict(UDP), "mapping": "identity", **options}
    config = from_mapping(settings, GazeRoiConfig, "roi[0].")
    with pytest.raises(ConfigError, match=words.removeprefix(r"roi\[0\]: ")) as caught:
        GazeRoi(config, Context())
    assert caught.value.hint


def test_a_pointer_on_the_picture_needs_no_mapping() -> None:
    config = from_mapping({"source": {"kind": "pointer"}}, GazeRoiConfig, "")
    context = Context()
    roi = GazeRoi(config, context)
    roi.open()
    now_ns = time.monotonic_ns()
    for age_ms in range(900, -1, -50):  # 20 Hz, as a web page may send it
        context.pointer.put(Gaze(0.3, 0.6, now_ns - age_ms * MS))
        prompt = prompt_of(roi, now_ns - age_ms * MS)
    assert prompt is not None
    assert prompt.point == pytest.approx((0.3, 0.6))
    roi.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"roi\[0\]\.source: expected a value"),
        ({"source": "udp"}, r"roi\[0\]\.source: expected a table"),
        ({"source": {}}, r"roi\[0\]\.source\.kind: expected the name"),
        ({"source": {"kind": "updp"}}, r"roi\[0\]\.source\.kind: .*did you mean 'udp'"),
        ({"source": {"kind": "udp", "prot": 1}}, r"roi\[0\]\.source\.prot: unknown key.*port"),
        ({"source": dict(UDP), "fov_deg": 200}, r"roi\[0\]\.fov_deg: expected 1 to 175"),
        ({"source": dict(UDP), "filter": {"kind": "x"}}, r"roi\[0\]\.filter\.kind: expected"),
        ({"source": dict(UDP), "prompt": {"dwel_ms": 1}}, r"roi\[0\]\.prompt\.dwel_ms: unknown"),
    ],
)
def test_a_wrong_key_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(options, GazeRoiConfig, "roi[0].")


def test_a_calibration_that_is_not_there_is_told_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        make(mapping="", calibration=str(tmp_path / "none.json"))


def test_a_calibration_of_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    scene = np.array([[x, y] for x in (0.1, 0.5, 0.9) for y in (0.2, 0.5, 0.8)])
    save_calibration(fit(Pairs(scene, scene, (1600, 1200), (640, 480))), tmp_path / "c.json")
    roi, source = make(mapping="", calibration=str(tmp_path / "c.json"))
    roi.latest(0)
    source.size_px = (800, 600)
    roi.latest(0)
    source.size_px = (1280, 720)
    with pytest.raises(CalibrationError, match="1280 x 720 px, got one for 1600 x 1200"):
        roi.latest(0)
    with pytest.raises(CalibrationError):
        roi.open()


@pytest.mark.parametrize(
    ("size_px", "state"), [((1000, 4000), "saccade"), ((1600, 1200), "fixation")]
)
def test_the_size_that_a_source_learns_late_counts(size_px: tuple[int, int], state: str) -> None:
    """Degrees up and down depend on it: 0.9 of them are a saccade, 0.2 are not."""
    roi, source = make(fov_deg=90.0, filter={"window_ms": 20})
    source.size_px = size_px
    now_ns = 50_000 * MS
    source.rest(now_ns, ms=500)
    roi.latest(now_ns)
    source.rest(now_ns + 100 * MS, y=0.502, ms=95)
    roi.latest(now_ns + 100 * MS)
    assert roi.stats["eye"] == state


def test_stats_of_a_strange_source_still_fit_into_json() -> None:
    roi, source = make()
    source.told = {"fine": 1, "odd": math.nan, "object": object()}
    assert roi.stats["source"] == {"fine": 1}


def test_paths_in_the_sources_table_start_at_the_files_folder(tmp_path: Path) -> None:
    from picosam_sdk import app

    (tmp_path / "picosam.toml").write_text(
        "[camera]\nkind = 'synthetic'\n"
        "[[roi]]\nkind = 'gaze'\ncalibration = 'c.json'\n"
        "source = { kind = 'replay', path = 'neon' }\n"
        "[roi.filter]\nkind = 'idt'\n[roi.prompt]\ndwell_ms = 300\n"
    )
    parts = app.make_parts(app.load(tmp_path / "picosam.toml"))
    roi = parts.rois[0].part
    assert isinstance(roi, GazeRoi)
    assert roi.source.config.path == tmp_path / "neon"
    assert roi.config.calibration == tmp_path / "c.json"
    assert (roi.config.filter.kind, roi.config.prompt.dwell_ms) == ("idt", 300)


def test_an_eye_that_looks_about_prompts_only_where_it_rests() -> None:
    """A whole minute: each prompt's gaze was within 2 degrees of where the eye rested."""
    roi, source = make(prompt={"dwell_ms": 250, "leave_ms": 100})
    trace = make_trace(TraceConfig(seconds=60, rate_hz=120, noise_deg=0.3, seed=11))
    gazes = trace.gazes()
    points, rests = 0, trace.labels == 0
    for index, gaze in enumerate(gazes):
        source.waiting.append(gaze)
        prompt = prompt_of(roi, gaze.timestamp_ns)
        if prompt is not None and prompt.point is not None:
            points += 1
            assert rests[max(0, index - 40) : index + 1].any()
    assert points > 500
    assert 20 < roi.stats["points"] < 120


def test_a_thousand_frames_leave_the_box_where_it_is() -> None:
    """Noise of half a degree on an object: one point, one box, no other aim."""
    roi, source = make()
    rng, now_ns = np.random.default_rng(3), 50_000 * MS
    aims = set()
    for _ in range(1000):
        now_ns += 33 * MS
        for age_ms in range(30, -1, -5):
            x, y = 0.5 + rng.normal(0, 0.004, 2)
            source.waiting.append(Gaze(x, y, now_ns - age_ms * MS))
        prompt = prompt_of(roi, now_ns)
        if prompt is None:
            continue
        aims.add((prompt.point, prompt.roi))
        jitter = rng.normal(0, 0.003, 2)
        mask = a_mask(x=0.5 + jitter[0], y=0.5 + jitter[1])
        roi.observe(replace(a_result(mask=mask), roi=None, ages_ns={"gaze": 5 * MS}))
    assert len(aims) == 2
    assert roi.stats["reaims"] == 0
