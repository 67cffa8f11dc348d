"""Feeds damaged and hostile input to everything that parses::

    python scripts/fuzz.py                              # every target, 60 s each
    python scripts/fuzz.py image shard --seconds 600 --keep out/fuzz

Each target of tests/fuzz/targets.py runs in a process of its own, guided by coverage where
atheris (a Python binding of libFuzzer) is installed, otherwise by random mutations of the corpus.
It ends with 1 if one raised what it must not, hung, or took too much memory; the input is kept
then. Put a copy of it, made small, into tests/fuzz/corpus/<target> when the bug is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = sorted(set(args.targets) - set(names))
    if unknown or args.seconds < 1:
        parser.error(f"no such target: {unknown[0]}" if unknown else "--seconds must be above 0")
    if args.one:
        fuzz(args.targets[0], args.seconds, args.keep)
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed (pip install atheris): random mutations, not guided by "
              "coverage", file=sys.stderr)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        keep = (args.keep or Path(scratch)).resolve()
        chosen = args.targets or names
        results = {name: run(name, args.seconds, keep, bool(args.keep)) for name in chosen}
    return 1 if any(results.values()) else 0


def run(name: str, seconds: int, keep: Path, kept: bool) -> bool:
    """Whether a target failed, in a process of its own."""
    folder = keep / name
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.iterdir()}
    command = [sys.executable, __file__, name, "--one", "--seconds", str(seconds)]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        try:
            code = subprocess.run(
                [*command, "--keep", str(folder)], stdout=log, stderr=log,
                timeout=2 * seconds + 120, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = -1
        log.seek(0)
        lines = log.read().splitlines()
    new = len({path.name for path in folder.iterdir()} - before)
    took_s = time.monotonic() - began
    print(f"{name:<15}{'FAILED' if code else 'ok':<8}{took_s:6.0f} s  {new} new inputs", flush=True)
    if code:
        print("\n".join(lines[-40:]))
        bad = sorted(folder.glob("crash-*")) + sorted(folder.glob("timeout-*"))
        for path in bad + sorted(folder.glob("oom-*")):
            print(f"  {path}" if kept else f"  {path.read_bytes()[:2000]!r}")
    return code != 0


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

    with atheris.instrument_imports(include=["picosam_sdk", "picosam_gaze", "picosam_mqtt"]):
        from targets import TARGETS
    target = TARGETS[name]
    options = [
        f"-max_total_time={seconds}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MB}",
        f"-artifact_prefix={keep}/", f"-max_len={LONGEST_BYTES}",
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
    while time.monotonic() < end_s:
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


def _late(number: int, frame: object) -> None:
    raise AssertionError(f"it took more than {LONGEST_S} s")


if __name__ == "__main__":
    sys.exit(main())
