"""Feeds damaged and hostile input to everything that parses::

    python scripts/fuzz.py                              # every target, 60 s each
    python scripts/fuzz.py image shard --seconds 600 --keep out/fuzz
    python scripts/fuzz.py --jobs 2 --json

Each target of tests/fuzz/targets.py runs in a process of its own, guided by coverage where
atheris (a Python binding of libFuzzer) is installed, otherwise by random mutations of the corpus.
It prints a table in Markdown, and ends with 1 if one raised what it must not, hung, or took too
much memory; the input is shown then, or kept in --keep. Put a copy of it, made small, into
tests/fuzz/corpus/<target> when the bug is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

FUZZ = Path(__file__).resolve().parent.parent / "tests" / "fuzz"
LONGEST_S = 20
MOST_MB = 3072
LONGEST_BYTES = 150_000


def main() -> int:
    names = sorted(path.name for path in (FUZZ / "corpus").iterdir() if path.is_dir())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(names)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--keep", type=Path, help="folder that keeps new inputs, for a later run")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = sorted(set(args.targets) - set(names))
    if unknown or min(args.seconds, args.jobs) < 1:
        parser.error(
            f"no such target: {unknown[0]}" if unknown else "--seconds and --jobs: above 0"
        )
    if args.one:
        fuzz(args.targets[0], args.seconds, args.keep)
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris): random mutations, not guided by "
              "coverage", file=sys.stderr)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        keep = (args.keep or Path(scratch)).resolve()
        chosen = args.targets or names
        with ThreadPoolExecutor(args.jobs) as pool:
            runs = [pool.submit(run, name, args.seconds, keep, bool(args.keep)) for name in chosen]
            try:
                results = shown(runs, args.json)
            except KeyboardInterrupt:  # it has reached those that run now, too
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return 1 if any(result.failed for result in results) else 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a target.

    Args:
        target: its name.
        failed: whether it raised what it must not, hung, or took too much memory.
        executions: how often it was called; None if it did not live to say.
        new_inputs: inputs that reached code which none before had reached.
        took_s: seconds.
        log: the end of what it said, if it failed; "" otherwise.
        inputs: what it failed at: a path with --keep, otherwise its bytes.
    """

    target: str
    failed: bool
    executions: int | None
    new_inputs: int
    took_s: float
    log: str = ""
    inputs: tuple[str, ...] = ()


def shown(runs: list[Future[Result]], as_json: bool) -> list[Result]:
    """Prints each result as it comes."""
    if not as_json:
        print(
            "| target | result | executions | new inputs | s |\n| --- | --- | ---: | ---: | ---: |"
        )
    results = []
    for future in as_completed(runs):
        one = future.result()
        results.append(one)
        if not as_json:
            calls = "-" if one.executions is None else f"{one.executions:,}"
            print(f"| {one.target} | {'FAILED' if one.failed else 'ok'} | {calls} | "
                  f"{one.new_inputs} | {one.took_s:.0f} |", flush=True)  # fmt: skip
    if as_json:
        print(json.dumps([asdict(one) for one in results], indent=2))
        return results
    calls = sum(one.executions or 0 for one in results)
    print(f"\n{len(results)} targets, {calls:,} executions, "
          f"{sum(one.failed for one in results)} failed")  # fmt: skip
    for one in results:
        if one.failed:
            print("\n".join(["", f"{one.target}:", one.log, *(f"  {text}" for text in one.inputs)]))
    return results


def run(name: str, seconds: int, keep: Path, kept: bool) -> Result:
    """Runs a target in a process of its own."""
    folder = keep / name
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.iterdir()}
    command = [sys.executable, __file__, name, "--one", "--seconds", str(seconds)]
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            code = subprocess.run(
                [*command, "--keep", str(folder)], stdout=log, stderr=log,
                timeout=2 * seconds + 120, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = -1
        log.seek(0)
        text = log.read()
    took_s = round(time.monotonic() - began_s, 1)
    new = {path for path in folder.iterdir() if path.name not in before}
    bad = sorted(path for path in new if path.name.startswith(("crash-", "timeout-", "oom-")))
    inputs = tuple(str(path) if kept else repr(path.read_bytes()[:2000]) for path in bad)
    said = "\n".join(text.splitlines()[-40:]) if code else ""
    return Result(name, code != 0, _executions(text), len(new) - len(bad), took_s, said, inputs)


def _executions(log: str) -> int | None:
    """How often a target was called, as libFuzzer or :func:`mutate` says."""
    found = re.findall(r"(?:Done |#|executed )(\d+)", log)
    return max(map(int, found)) if found else None


def fuzz(name: str, seconds: int, keep: Path) -> None:
    """Runs one target in this process, which ends at its first bug."""
    sys.path.insert(0, str(FUZZ))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "photos").mkdir()
        shutil.copy(FUZZ / "corpus" / "image" / "small.png", folder / "photos")
        if find_spec("atheris") is None:
            mutate(name, seconds, keep, folder)
        else:
            guided(name, seconds, keep, folder)


def guided(name: str, seconds: int, keep: Path, folder: Path) -> None:
    """With atheris."""
    import atheris

    with atheris.instrument_imports(
        include=["picosam_sdk", "picosam_gaze", "picosam_mqtt", "picosam_web"]
    ):
        from targets import TARGETS
    target = TARGETS[name]
    options = [
        f"-max_total_time={seconds}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MB}",
        f"-artifact_prefix={keep}/", f"-max_len={LONGEST_BYTES}", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(
        [sys.argv[0], *options, str(keep), str(FUZZ / "corpus" / name)],
        lambda data: target(data, folder),
    )
    atheris.Fuzz()


def mutate(name: str, seconds: int, keep: Path, folder: Path) -> None:
    """Without it."""
    from mutations import mutated
    from targets import TARGETS

    seeds = [path.read_bytes() for path in sorted((FUZZ / "corpus" / name).iterdir())]
    rng = random.Random()
    signal.signal(signal.SIGALRM, _late)
    end_s = time.monotonic() + seconds
    calls = 0
    while time.monotonic() < end_s:
        calls += 1
        data = mutated(rng.choice(seeds), seeds, rng)
        signal.alarm(LONGEST_S)
        try:
            TARGETS[name](data, folder)
            used_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            assert used_mb < MOST_MB, f"it took {used_mb} MB"
        except BaseException:
            (keep / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise
        finally:
            signal.alarm(0)
    print(f"executed {calls}")


def _late(number: int, frame: object) -> None:
    raise AssertionError(f"it took more than {LONGEST_S} s")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
