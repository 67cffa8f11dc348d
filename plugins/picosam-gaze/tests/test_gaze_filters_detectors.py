"""I-VT and I-DT on movements whose answer can be worked out by hand."""

from __future__ import annotations

import pytest
from picosam_gaze.filters import Detector, DispersionDetector, VelocityDetector
from picosam_gaze.filters.detector import Still

MS = 1_000_000


def feed(
    detector: Detector, places: list[tuple[float, float]], step_ms: float
) -> list[Still | None]:
    return [detector.push(round(index * step_ms * MS), x, y) for index, (x, y) in enumerate(places)]


def ramp(speed_deg_s: float, count: int = 50, step_ms: float = 5.0) -> list[tuple[float, float]]:
    return [(speed_deg_s * index * step_ms / 1000, 0.0) for index in range(count)]


@pytest.mark.parametrize("window_ms", [20, 60])
@pytest.mark.parametrize("step_ms", [5, 8.333, 15.15, 33.3])
def test_ivt_tells_velocities_apart_at_its_threshold(window_ms: float, step_ms: float) -> None:
    slow = feed(VelocityDetector(30, window_ms), ramp(29, step_ms=step_ms), step_ms)
    fast = feed(VelocityDetector(30, window_ms), ramp(31, step_ms=step_ms), step_ms)
    assert all(slow[1:])
    assert not any(fast)


def test_ivt_adds_both_axes() -> None:
    diagonal = [(x, x) for x, _ in ramp(25)]  # 35 degrees a second
    assert not any(feed(VelocityDetector(30, 20), diagonal, 5))


def test_ivt_says_nothing_after_one_sample() -> None:
    detector = VelocityDetector()
    assert detector.push(0, 1, 1) is None
    assert detector.push(5 * MS, 1, 1) is not None
    detector.reset()
    assert detector.push(10 * MS, 1, 1) is None


def test_ivt_dates_a_step_to_the_middle_of_its_window() -> None:
    places = [(0.0, 0.0)] * 40 + [(10.0, 0.0)] * 40  # a jump between 195 and 200 ms
    detector = VelocityDetector(30, 60)
    answers, judged = [], []
    for index, (x, y) in enumerate(places):
        answers.append(detector.push(index * 5 * MS, x, y))
        judged.append(detector.judged_ns / MS)
    fast = [index for index, answer in enumerate(answers) if answer is None and index > 0]
    assert fast == list(range(40, 52)), "the jump lies in the window for 60 ms"
    assert judged[40] == pytest.approx(170)
    after = answers[52]
    assert after is not None
    assert after.since_ns / MS == pytest.approx(230)
    assert after.x_deg == pytest.approx(10)
    # Seen from both sides, the jump lies in the middle.
    assert (judged[40] + judged[52]) / 2 == pytest.approx(200, abs=2.5)


def test_idt_finds_what_lies_within_its_dispersion() -> None:
    within = [(0.5 * (index % 2), 0.49 * (index % 3) / 2) for index in range(50)]
    answers = feed(DispersionDetector(1.0, 100), within, 5)
    assert answers[0] is None
    assert all(answers[1:])
    assert {answer.since_ns for answer in answers[1:] if answer} == {0}


def test_idt_counts_both_ranges_together() -> None:
    beyond = [(0.6 * (index % 2), 0.5 * (index // 2 % 2)) for index in range(50)]
    answers = feed(DispersionDetector(1.0, 100), beyond, 5)
    starts = [answer.since_ns for answer in answers if answer]
    assert len(set(starts)) > 10, "the window never lasts"


def test_idt_ends_a_fixation_as_a_whole() -> None:
    places = [(0.0, 0.0)] * 30 + [(5.0, 0.0)] * 30
    answers = feed(DispersionDetector(1.0, 100), places, 5)
    assert answers[29] == Still(0, 0.0, 0.0)
    assert answers[30] is None
    assert answers[31] == Still(30 * 5 * MS, 5.0, 0.0)


def test_idt_drops_the_oldest_while_there_is_no_fixation() -> None:
    places = [(0.0, 0.0)] * 5 + [(0.9, 0.0)] + [(1.5, 0.0)] * 5
    answers = feed(DispersionDetector(1.0, 100), places, 5)
    assert answers[5] == Still(0, pytest.approx(0.15), 0.0)
    last = answers[-1]
    assert last is not None
    assert last.since_ns == 5 * 5 * MS, "0.9 and 1.5 lie close together"
    assert last.x_deg == pytest.approx((0.9 + 5 * 1.5) / 6)


def test_idt_averages_against_noise_if_told_to() -> None:
    shaking = [(0.55 * (-1) ** index, 0.0) for index in range(100)]  # 1.1 degrees apart
    raw = feed(DispersionDetector(1.0, 100), shaking, 5)
    calm = feed(DispersionDetector(1.0, 100, average_ms=40), shaking, 5)
    assert len({answer.since_ns for answer in raw if answer}) != 1
    assert {answer.since_ns for answer in calm[20:] if answer} == {calm[20].since_ns}  # type: ignore[union-attr]


def test_idt_forgets_when_told_to() -> None:
    detector = DispersionDetector(average_ms=40)
    feed(detector, [(0.0, 0.0)] * 30, 5)
    detector.reset()
    assert detector.push(200 * MS, 0.0, 0.0) is None
