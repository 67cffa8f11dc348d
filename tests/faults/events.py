"""The kinds of events, and a run through a seeded schedule of them."""

from __future__ import annotations

import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.parts import RESTARTS, SENSOR_FAULTS
from tests.faults.runs import bad_video, broken_command, broken_in_the_middle
from tests.faults.world import World

__all__ = ["KINDS", "Kind", "Report", "run", "schedule"]

LONGEST_GAP_S = 1.0
"""How long a fault outside camera and backend may hold up the loop; a busy machine, too."""

LONGEST_MENDING_S = 3.0
"""The same for a fault of the camera or backend, which is opened again after a pause."""

MOST_GROWTH_MB, MOST_LATE_GROWTH_MB, MOST_THREADS = 30.0, 8.0, 40
"""Of a process: within its life, from its life's second quarter to its last, at any time."""


@dataclass(frozen=True)
class Kind:
    """One kind of event.

    Args:
        name: in the table.
        weight: how often it comes.
        act: does it; the fault is over when it returns. False: it did not happen.
        device: the pipeline that must recover.
        mends: whether the loop may stop for it.
    """

    name: str
    weight: float
    act: Callable[[World, random.Random], bool | None]
    device: str = "host"
    mends: bool = False


def _order(name: str, weight: float, device: str = "host", mends: bool = False) -> Kind:
    what = name.replace(" ", ".", 1)
    return Kind(name, weight, lambda w, r: w.pipelines[device].order(what), device, mends)


def _in_turn(name: str, weight: float, device: str, *whats: str) -> Kind:
    """The last begins it; the others lie ready for what comes of it."""

    def act(world: World, rng: random.Random) -> bool:
        pipeline = world.pipelines[device]
        for what in whats[:-1]:
            (pipeline.orders / what).touch()
        return pipeline.order(whats[-1]) and all(map(pipeline.taken, whats[:-1]))

    return Kind(name, weight, act, device, mends=True)


def _sensor(how: str) -> Kind:
    def act(world: World, rng: random.Random) -> bool:
        pipeline = world.pipelines["sensor"]
        done = pipeline.order(f"sensor.{how}")
        if how in RESTARTS:
            return done and pipeline.order("sensor.mended")
        time.sleep(rng.uniform(0.0, 0.3))
        return pipeline.order("sensor.heal") and done

    return Kind(f"sensor {how}", 0.15, act, "sensor")


def _at_the_end(role: str, step: str) -> Kind:
    def act(world: World, rng: random.Random) -> bool:
        order = world.pipelines["host"].orders / f"{role}.{step}"
        order.touch()
        return world.restart("host", lambda: not order.exists())

    return Kind(f"{role} {step} raises at SIGTERM", 0.1, act)


def _freeze(world: World, rng: random.Random) -> None:
    world.broker.freeze()
    time.sleep(rng.choice((0.1, 0.3, 2.5)))
    world.broker.thaw()


def _cut(world: World, rng: random.Random) -> None:
    world.proxy.cut()


def _away(world: World, rng: random.Random) -> None:
    world.proxy.refuse = True
    world.proxy.cut()
    time.sleep(rng.uniform(0.05, 0.6))
    world.proxy.refuse = False


def _slow(world: World, rng: random.Random) -> None:
    world.proxy.delay_s = rng.uniform(0.02, 0.1)
    time.sleep(0.3)
    world.proxy.delay_s = 0.0


def _narrow(world: World, rng: random.Random) -> None:
    world.proxy.bytes_per_s = 8000.0
    time.sleep(0.4)
    world.proxy.bytes_per_s = 0.0


def _silent(world: World, rng: random.Random) -> None:
    world.proxy.silent = True
    time.sleep(rng.choice((0.1, 0.4, 2.2)))
    world.proxy.silent = False


def _disk(world: World, rng: random.Random) -> None:
    world.fill_disk()
    time.sleep(rng.uniform(0.1, 0.5))
    world.free_disk()


def _disk_and_cut(world: World, rng: random.Random) -> None:
    world.proxy.refuse = True
    world.proxy.cut()
    _disk(world, rng)
    world.proxy.refuse = False


KINDS = (
    *(_order(f"roi {how}", 2) for how in ("raise", "nan", "outside", "none", "wrong-type")),
    *(_order(f"filter {how}", 2) for how in ("raise", "none", "wrong-type")),
    *(_order(f"publisher {how}", 2) for how in ("raise", "stall")),
    *(_order(f"{role} stall", 0.5) for role in ("roi", "filter")),
    *(_order(f"clock {how}", 2) for how in ("forward", "back")),
    *(_order(f"camera {how}", 0.4, mends=True) for how in ("raise", "empty", "shape")),
    _order("camera small", 2, mends=True),
    _order("camera stall", 0.5, mends=True),
    *(_order(f"backend {how}", 0.4, mends=True) for how in ("raise", "stall", "nan", "shape")),
    Kind("broker killed", 0.3, lambda w, r: w.kill_broker(r.uniform(0.0, 0.5))),
    Kind("broker frozen", 0.3, _freeze),
    Kind("network cut", 2, _cut),
    Kind("network away", 0.5, _away),
    Kind("network slow", 0.5, _slow),
    Kind("network narrow", 0.3, _narrow),
    Kind("network silent", 0.3, _silent),
    Kind("disk full", 0.8, _disk),
    Kind("disk full, network away", 0.4, _disk_and_cut),
    Kind("SIGKILL", 0.25, lambda w, r: w.kill("host")),
    Kind("SIGTERM", 0.15, lambda w, r: w.restart("host")),
    *(
        _in_turn(
            f"{role} raises, also when closed and opened",
            0.3,
            device,
            f"{role}.close",
            f"{role}.open",
            f"{role}.{begin}",
        )
        for role, begin, device in (
            ("camera", "raise", "host"),
            ("backend", "raise", "host"),
            ("roi", "break", "host"),
            ("publisher", "raise", "host"),
            ("sensor", "raise", "sensor"),
        )
    ),
    _order("roi observe", 1),
    _in_turn("filter raises, also when reset", 0.3, "host", "filter.reset", "filter.raise"),
    _at_the_end("publisher", "flush"),
    _at_the_end("filter", "close"),
    Kind("video never one", 0.1, bad_video),
    Kind("video broken in the middle", 0.15, broken_in_the_middle),
    Kind("verb raises", 0.05, broken_command),
    *(_order(f"sensor {how}", 0.3, "sensor") for how in ("raise", "stall")),
    *(_sensor(how) for how in SENSOR_FAULTS),
    Kind("SIGKILL of the sensor's", 0.05, lambda w, r: w.kill("sensor"), "sensor"),
)


def schedule(
    seed: int, sensor: bool = True, only: Collection[str] = ()
) -> Iterator[tuple[Kind, random.Random]]:
    """Kinds for ever; the same seed gives the same ones. Each kind comes once at first.

    Args:
        seed: of the choice, and of what an event chooses.
        sensor: whether there is one.
        only: names of kinds; empty for all.
    """
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS if sensor or kind.device == "host"]
    kinds = [kind for kind in kinds if not only or kind.name in only]
    first = kinds.copy()
    rng.shuffle(first)
    for kind in first:
        yield kind, random.Random(rng.random())
    weights = [kind.weight for kind in kinds]
    while True:
        yield rng.choices(kinds, weights)[0], random.Random(rng.random())


@dataclass
class Report:
    """What a run found."""

    events: int = 0
    seed: int = 0
    seconds: float = 0.0
    disk: str = ""
    violations: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, dict[str, float]] = field(default_factory=dict)
    processes: dict[str, dict[str, float]] = field(default_factory=dict)

    def table(self) -> str:
        """For people, and for docs/reliability.md."""
        processes = [
            "| Process | Starts | Longest life, s | Most memory, MB | Most growth, MB | "
            "Most late growth, MB | Most threads |",
            "| --- | --: | --: | --: | --: | --: | --: |",
        ]
        for name, row in self.processes.items():
            processes.append(
                f"| {name} | {row['starts']:.0f} | {row['longest_life_s']:.0f} | "
                f"{row['rss_mb']:.0f} | {row['growth_mb']:.1f} | {row['late_growth_mb']:.1f} | "
                f"{row['threads']:.0f} |"
            )
        lines = ["| Event | Times | Recovery, median s | Longest s | Longest gap of the loop, s |",
                 "| --- | --: | --: | --: | --: |"]  # fmt: skip
        for name, row in sorted(self.kinds.items()):
            lines.append(f"| {name} | {row['times']:.0f} | {row['median_s']:.2f} | "
                         f"{row['longest_s']:.2f} | {row['gap_s']:.2f} |")  # fmt: skip
        counts = ", ".join(f"{value} {name}" for name, value in self.counts.items())
        head = (f"{self.events} events in {self.seconds:.0f} s, seed {self.seed}, disk: "
                f"{self.disk}. {counts}. {len(self.violations)} violations.")  # fmt: skip
        return "\n".join((head, "", *processes, "", *lines))


def run(
    world: World,
    seed: int,
    enough: Callable[[int], bool],
    progress: Callable[[int], Any] = lambda events: None,
    only: Collection[str] = (),
) -> Report:
    """Goes through the schedule until it is enough, and checks all invariants."""
    began_s = time.monotonic()
    times: dict[str, list[float]] = {}
    gaps: dict[str, float] = {}
    violations = world.checker.violations
    for device in world.pipelines:
        if world.recovered(device, began_s, 60.0) is None:
            violations.append(f"start: {device} gave no message: {_log(world, device)}")
    world.gap_s()
    events = 0
    for kind, rng in schedule(seed, world.with_sensor, only):
        if enough(events) or len(violations) > 50:
            break
        known = len(violations)
        done = kind.act(world, rng)
        world.drain()  # what came before the fault ended is no recovery
        recovery_s = world.recovered(kind.device, time.monotonic())
        if done is False:
            violations.append(f"{kind.name}: event {events} did not happen")
        if recovery_s is None:
            log = _log(world, kind.device)
            violations.append(f"{kind.name}: event {events}: no recovery: {log}")
        events += 1
        gap_s = world.gap_s()
        if gap_s > (LONGEST_MENDING_S if kind.mends else LONGEST_GAP_S):
            violations.append(
                f"{kind.name}: event {events}: the loop stood still for {gap_s:.2f} s"
            )
        times.setdefault(kind.name, []).append(30.0 if recovery_s is None else recovery_s)
        gaps[kind.name] = max(gaps.get(kind.name, 0.0), gap_s)
        if events % 100 == 0:  # not all at the end: it takes its time
            world.checker.check_pixels()
        if len(violations) > known:
            print(*violations[known:], sep="\n", file=sys.stderr, flush=True)
        progress(events)
    if not world.settle():
        violations.append("spool: not empty at the end")
    world.checker.check_pixels(*world.written())
    _check_processes(world)
    return Report(
        events, seed, time.monotonic() - began_s, "tmpfs" if world.mounted else "RLIMIT_FSIZE",
        violations, {**world.checker.counts, "sessions": world.checker.sessions},
        {name: {"times": len(of), "median_s": statistics.median(of), "longest_s": max(of),
                "gap_s": gaps[name]} for name, of in times.items()},
        {device: {**pipeline.most, "starts": pipeline.starts}
         for device, pipeline in world.pipelines.items()},
    )  # fmt: skip


def _check_processes(world: World) -> None:
    bounds = {"growth_mb": MOST_GROWTH_MB, "late_growth_mb": MOST_LATE_GROWTH_MB,
              "threads": MOST_THREADS}  # fmt: skip
    for device, pipeline in world.pipelines.items():
        over = {key: pipeline.most[key] for key in bounds if pipeline.most[key] > bounds[key]}
        if over:
            world.checker.violations.append(f"bounds: {device}: {over}")


def _log(world: World, device: str) -> str:
    path: Path = world.folder / device / "log"
    process = world.pipelines[device].process
    code = process.poll() if process is not None else signal.SIGKILL
    return f"exit {code}, {path.read_text(errors='replace')[-800:]}"
